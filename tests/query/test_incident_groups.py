"""Groups of incidents: real files, through the real reader and mover; what was decided holds when groups get other names."""

from itertools import count

import pytest
from shelf import NOW, event
from test_groups import Desk

from lae_monitor.core.time import DAY, HOUR, format_time
from lae_monitor.kinds import KINDS
from lae_monitor.kinds.incidents.questions import about, incidents, latest, only_incidents
from lae_monitor.kinds.incidents.wire.flog import pack
from lae_monitor.mover import Mover
from lae_monitor.mover.ledger import Ledger
from lae_monitor.query.decisions import Decided, carried, group_id
from lae_monitor.query.parser import parse
from lae_monitor.query.planner import plan
from lae_monitor.query.search import search

_serial = count()


class Grid(Desk):
    """Hosts whose incidents lie in the archive, and are moved from there."""

    def __init__(self, shelf, folder, place) -> None:
        super().__init__(shelf, folder)
        self.place = place
        self.ledger = Ledger(folder / "mover.db")
        self.mover = Mover(self.archive, shelf.store, self.ledger, folders=("incidents",), find_reader=KINDS.reader)

    def happened(self, host="node1", *, ago=HOUR, **trigger) -> str:
        """The name of an incident of `host`, which the store has when this returns."""
        at = NOW - ago
        trigger = {"num": 7, "time": at, "level": 30, "incarnation": ["00ff", None], **trigger}
        header = {"type": "incident", "trigger": trigger, "versions": {"foolscap": "24.9.0"}, "pid": 7}
        packed = pack((header, [trigger]), "z" * 32, at + 6)
        stamp = format_time(at, digits=0).replace("T", "--").replace(":", "-")
        name = f"incident-{stamp}-{next(_serial):07}"
        path = f"incidents/{self.place}/incidents/{host}/{name}.flog.bz2"

        async def move():
            await self.archive.store(path, packed.chunks)
            await self.mover.catch_up()

        self.shelf.run(move())
        return name


@pytest.fixture
def grid(shelf, tmp_path, place):
    made = Grid(shelf, tmp_path, place)
    yield made
    made.ledger.close()
    shelf.run(made.archive.close())


@pytest.mark.parametrize(
    ("one", "other", "by", "why"),
    [
        ({"umid": "UMIDx{n}", "format": "a %(b)s", "b": 1}, {"umid": "UMIDx{n}", "message": "b"}, "umid", "its umid is UMIDx{n}"),
        ({"format": "lost{n} %(s)s", "s": "a"}, {"format": "lost{n} %(s)s", "s": "b"}, "format", "have the same format"),
        ({"message": "case{n}x gone from 10.0.0.4:17"}, {"message": "case{n}x gone from 10.0.0.9:4711"}, "masked", "the same but for ids"),
    ],
)  # fmt: skip
def test_incidents_of_one_mistake_are_one_group_which_says_why(grid, one, other, by, why):
    number = "".join("abcdefghij"[int(digit)] for digit in str(next(_serial)))
    one, other = ({key: value.replace("{n}", number) if isinstance(value, str) else value for key, value in fields.items()}
                  for fields in (one, other))  # fmt: skip
    grid.happened("node1", ago=2 * DAY, **one)
    grid.happened("node2", ago=HOUR, **other)
    grid.happened("node2", ago=HOUR / 2, **other, level=40)
    (group,) = grid.groups(grid.place).groups
    assert (group.kind, group.events, group.places, group.hosts) == ("incident", 3, 2, ["node2", "node1"])
    assert (group.first, group.last) == (format_time(NOW - 2 * DAY), format_time(NOW - HOUR / 2))
    assert (group.worst, group.fingerprint, group.fingerprint_version) == ("critical", by, "2")
    assert why.replace("{n}", number) in group.why
    assert "version 2" in group.why
    page = grid.page(group.id)
    assert [host.events for host in page.hosts] == [2, 1]
    assert len(page.reports) == 3
    assert page.group.why == group.why


def test_a_closed_group_of_incidents_is_regressed_when_it_happens_again(grid):
    grid.happened(umid="Closed", ago=2 * HOUR)
    (group,) = grid.groups(grid.place).groups
    grid.now = NOW - HOUR
    grid.decide("close", group.id, note="mended")
    assert grid.groups(grid.place).groups[0].state == "closed"
    grid.happened(umid="Closed", ago=HOUR / 2)
    assert grid.groups(grid.place).groups[0].state == "regressed"
    assert grid.groups(grid.place).groups[0].note == "mended"


def test_merged_groups_of_incidents_are_counted_together(grid):
    grid.happened("node1", umid="MergeA")
    grid.happened("node2", umid="MergeB")
    a, b = group_id("incident", "MergeA"), group_id("incident", "MergeB")
    grid.decide("merge", a, into=b)
    (group,) = grid.groups(grid.place).groups
    assert (group.id, group.events, group.places, group.merged) == (b, 2, 2, [a])
    grid.decide("unmerge", a)
    assert grid.groups(grid.place).total == 2


def test_what_was_decided_holds_when_a_new_version_names_the_group_otherwise(grid):
    """Version 1 called it by its numbers; the operator closed that, and its rows are gone after a rebuild."""
    words = "carried over from"
    was = group_id("incident", f"{words} <n>.<n>.<n>.<n>:<n>")
    grid.now = NOW - 2 * HOUR
    grid.decide("close", was, note="the switch was mended")
    grid.happened(message=f"{words} 10.0.0.4:51234", ago=3 * HOUR)
    (group,) = grid.groups(grid.place).groups
    assert group.group == f"{words} <address>"
    assert (group.state, group.note) == ("closed", "the switch was mended")
    assert [step.act for step in grid.page(group.id).decisions] == ["close"]
    assert grid.page(was).group.id == group.id
    grid.happened(message=f"{words} 10.0.0.7:1", ago=HOUR)
    assert grid.groups(grid.place).groups[0].state == "regressed"
    grid.decide("reopen", group.id)
    assert grid.groups(grid.place).groups[0].state == "open"
    assert [step.act for step in grid.page(group.id).decisions] == ["close", "reopen"]


def test_rows_of_the_former_version_are_counted_with_those_of_the_new(grid):
    words = "still there from"
    former = f"{words} <n>.<n>.<n>.<n>:<n>"
    grid.shelf.put(event(grid.place, "node9", kind="incident", group=former, ago=5 * HOUR))
    grid.decide("note", group_id("incident", former), note="known")
    grid.happened(message=f"{words} 10.0.0.4:51234")
    (group,) = grid.groups(grid.place).groups
    assert (group.events, group.hosts, group.note) == (2, ["node1", "node9"], "known")


def test_a_group_that_became_several_gives_all_of_them_what_was_decided():
    known = {"old": Decided(closed="2026-11-01T00:00:00Z", at=5), "other": Decided(into="old", at=7)}
    found = carried(known, {"old": ["new1", "new2"], "other": ["new3"]})
    assert found["new1"].closed == found["new2"].closed == "2026-11-01T00:00:00Z"
    assert found["old"].into == ""
    assert found["new3"].into == "new1"
    assert found["other"].into == "new3"
    again = carried(found, {"old": ["new1"], "new1": ["old"]})
    assert again["old"].into == "new1"
    assert again["new1"].into == ""


def test_what_was_decided_of_the_new_name_is_stronger():
    known = {"old": Decided(closed="x", at=5), "new": Decided(note="mine", at=6)}
    assert carried(known, {"old": ["new"]})["new"] == known["new"]


def test_the_list_of_incidents_has_pages_counts_and_what_the_same_is_elsewhere(grid):
    names = [grid.happened(f"node{number % 3}", umid="Listed", ago=number * 60 + 60) for number in range(7)]
    grid.happened("node1", message="another", level=40, ago=30)
    planned = only_incidents(plan(parse(f"cluster:{grid.place}"), NOW), NOW)

    def listed(**more):
        given = {"before": "", "limit": 5, "now": NOW} | more
        return grid.shelf.run(incidents(grid.shelf.store, planned, planned, **given))

    first = listed()
    second = listed(before=first.older)
    assert (first.matched, len(first.incidents), len(second.incidents), second.older) == (8, 5, 3, "")
    assert [one.id for one in first.incidents + second.incidents][1:] == names
    assert first.incidents[0].level == "critical"
    assert {one.umid for one in second.incidents} == {"Listed"}
    assert [(one.category, one.incidents) for one in first.categories] == [("", 8)]
    assert [one.id for one in grid.shelf.run(latest(grid.shelf.store, planned, 2))][1:] == names[:1]
    (row,) = grid.shelf.run(search(grid.shelf.store, f"id:{names[0]}", 1, NOW)).rows
    found = grid.shelf.run(about(grid.shelf.store, row, NOW))
    assert (found.answer, found.hosts, found.incidents) == (None, 2, 7)
    assert [(other.host, other.incidents) for other in found.elsewhere] == [("node1", 2), ("node2", 2)]


def test_a_secret_is_not_found_by_searching_for_it(grid):
    swissnum = "zkafmbtiyvsgtbtkwsykqhmbkdbnklay"
    grid.happened(message=f"Tub.connectTo(b'pb://{'x' * 32}@tcp:h:1/{swissnum}')")
    assert grid.shelf.run(search(grid.shelf.store, f"cluster:{grid.place} connectTo", 5, NOW)).matched == 1
    for text in (swissnum, swissnum[:8] + "*", f'"{swissnum}"'):
        assert grid.shelf.run(search(grid.shelf.store, f"cluster:{grid.place} {text}", 5, NOW)).matched == 0
