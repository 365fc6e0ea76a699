"""Events of the same trouble are one group, whichever host they happen on; what operators decide of it holds, also in a new store."""

import asyncio
import json
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shelf import NOW, event

from lae_monitor.archive import Archive, Journal
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import DAY, HOUR, MINUTE, format_time
from lae_monitor.kinds import KINDS
from lae_monitor.mover import Mover
from lae_monitor.mover.ledger import Ledger
from lae_monitor.mover.rebuild import rebuild
from lae_monitor.query.decisions import MAX_STEPS, Decided, Decisions, chain, decided, group_id, root_of
from lae_monitor.query.group_page import group_page
from lae_monitor.query.groups import STATES, WITHIN, Asking, groups
from lae_monitor.query.parser import parse
from lae_monitor.query.planner import plan

_serial = count()


class Desk:
    """Where an operator decides: the store, and an archive with a journal."""

    def __init__(self, shelf, folder) -> None:
        self.shelf = shelf
        self.now = NOW
        self.archive = shelf.run(Archive([folder / "archive"], "desk").open())
        self.folder = folder
        clock = lambda: self.now  # noqa: E731
        self.decisions = Decisions(shelf.store, self.archive, Journal(self.archive, clock), clock)

    def decide(self, act, id_, **fields):
        return self.shelf.run(self.decisions.decide(act, id_, by="ada", **fields))

    def groups(self, place, query="", **asking):
        asking.setdefault("states", STATES)
        planned = plan(parse(f"cluster:{place} {query}"), NOW)
        return self.shelf.run(groups(self.shelf.store, planned, Asking(**asking), NOW))

    def page(self, id_, since=NOW - WITHIN):
        return self.shelf.run(group_page(self.shelf.store, id_, since, NOW))


@pytest.fixture
def desk(shelf, tmp_path):
    made = Desk(shelf, tmp_path)
    yield made
    shelf.run(made.archive.close())


@pytest.fixture
def name() -> str:
    """A group that no other test has."""
    return f"Lemmings | SIGSEGV | libjump.so+0x{next(_serial):x}"


def crash(place, group, host="h1", **fields):
    attrs = {"ProductName": "Lemmings", "Version": "1.0"} | fields.pop("attrs", {})
    return event(place, host, group=group, attrs=attrs, **fields)


def test_a_group_is_told_with_hosts_versions_first_last_and_count(desk, place, name):
    desk.shelf.put(
        crash(place, name, "h1", ago=2 * DAY, level="warning"),
        crash(place, name, "h1", ago=HOUR, attrs={"Version": "1.1"}),
        crash(
            place,
            name,
            "h2",
            ago=MINUTE,
            attrs={"Version": "1.1", "signature.why": "reason and module"},
            title="newest",
        ),
        crash(place, name + "0", "h3"),
        crash(place, "", "h3"),
    )
    found = desk.groups(place, sort="count")
    assert (found.total, [group.group for group in found.groups]) == (2, [name, name + "0"])
    group = found.groups[0]
    assert (group.id, group.kind, group.title, group.state) == (group_id("crash", name), "crash", "newest", "open")
    assert (group.events, group.places, group.hosts, group.versions) == (3, 2, ["h1", "h2"], ["1.0", "1.1"])
    assert (group.first, group.last) == (format_time(NOW - 2 * DAY), format_time(NOW - MINUTE))
    assert (group.worst, group.newest.host) == ("error", "h2")
    assert "reason and module" in group.why
    assert sum(group.hours) == 2
    assert group.hours[-1] == 2 or group.hours[-2] == 1
    assert sum(group.days) == 3


def test_what_came_twice_is_counted_apart(desk, place, name):
    twice = {"upload_file_minidump.sha256": "a" * 64, "guid": "g"}
    desk.shelf.put(
        crash(place, name, attrs=twice, id="one", ago=50),
        crash(place, name, attrs=twice, id="again", ago=40),
        crash(place, name, attrs=twice | {"guid": "another"}),
        crash(place, name),
        crash(place, name),
    )
    page = desk.page(group_id("crash", name))
    assert (page.group.events, page.group.separate) == (5, 4)
    assert page.twice == ["again"]


def test_groups_can_be_narrowed_sorted_and_paged(desk, place, name):
    desk.shelf.put(*[crash(place, f"{name}{number}", f"h{number}", ago=number * HOUR + 1) for number in range(5)])
    desk.shelf.put(
        event(place, "h1", kind="incident", group="abc", level="critical", ago=3 * DAY, attrs={"umid": "abc"})
    )
    assert desk.groups(place, product="Lemmings").total == 5
    assert desk.groups(place, product="Lem").total == 0
    assert desk.groups(place, sort="level").groups[0].kind == "incident"
    assert "umid" in desk.groups(place, "kind:incident").groups[0].why
    assert desk.groups(place, "since:90m").total == 2
    assert desk.groups(place, "host:h3").total == 1
    first, second = desk.groups(place, limit=4), desk.groups(place, limit=4, offset=4)
    assert (first.total, len(first.groups), len(second.groups)) == (6, 4, 2)
    assert len({group.id for group in first.groups + second.groups}) == 6


def test_what_is_older_than_asked_for_is_not_looked_at(desk, place, name):
    desk.shelf.put(crash(place, name, ago=100 * DAY))
    assert desk.groups(place).total == 0
    assert desk.groups(place, "since:200d").total == 1


def test_a_closed_group_is_seen_at_once_and_comes_back_when_it_happens_again(desk, place, name):
    desk.shelf.put(crash(place, name))
    id_ = group_id("crash", name)
    desk.decide("close", id_, note="fixed in 1.2")
    assert desk.groups(place, states=("open", "regressed")).total == 0
    (group,) = desk.groups(place, states=("closed",)).groups
    assert (group.state, group.note) == ("closed", "fixed in 1.2")
    desk.shelf.put(crash(place, name, time=NOW + 60))
    assert desk.groups(place, states=("open", "regressed")).groups[0].state == "regressed"
    desk.now += 120
    desk.decide("close", id_)
    assert desk.groups(place).groups[0].state == "closed"
    desk.decide("reopen", id_)
    assert desk.groups(place).groups[0].state == "open"
    assert [step.act for step in desk.page(id_).decisions] == ["close", "close", "reopen"]
    assert desk.page(id_).group.note == "fixed in 1.2"


def test_merged_groups_are_counted_where_they_were_merged_into(desk, place, name):
    one, other, third = (name + letter for letter in "abc")
    desk.shelf.put(*[crash(place, group, host) for group, host in ((one, "h1"), (other, "h2"), (third, "h3"))])
    ids = [group_id("crash", group) for group in (one, other, third)]
    desk.decide("merge", ids[0], into=ids[1])
    desk.decide("merge", ids[1], into=ids[2])
    (group,) = desk.groups(place).groups
    assert (group.id, group.events, group.places, group.merged) == (ids[2], 3, 3, sorted(ids[:2]))
    page = desk.page(ids[2])
    assert {member.group for member in page.members} == {one, other, third}
    assert {host.host for host in page.hosts} == {"h1", "h2", "h3"}
    assert desk.page(ids[1]).group.events == 2
    assert desk.page(ids[1]).group.into == ids[2]
    desk.decide("unmerge", ids[1])
    assert {group.id for group in desk.groups(place).groups} == {ids[1], ids[2]}


def test_groups_are_never_merged_in_a_circle(desk, name):
    a, b, c = (group_id("crash", name + letter) for letter in "abc")
    desk.decide("merge", a, into=b)
    desk.decide("merge", b, into=c)
    for one, into in ((a, a), (c, a), (c, b)):
        with pytest.raises(Refused) as refused:
            desk.decide("merge", one, into=into)
        assert refused.value.code == "bad_parameters"
    with pytest.raises(Refused):
        desk.decide("unmerge", c)
    with pytest.raises(Refused):
        desk.decide("note", c, note="x" * 5000)


def test_an_id_may_be_shortened_until_it_could_be_another(desk, place, name):
    desk.shelf.put(*[crash(place, f"{name}{number}") for number in range(40)])
    ids = [group_id("crash", f"{name}{number}") for number in range(40)]
    assert desk.page(ids[0][:11]).group.id == ids[0]
    assert desk.page(ids[0].upper()).group.id == ids[0]
    alike = next(id_[0] for id_ in ids if sum(other[0] == id_[0] for other in ids) > 1)
    for wrong, code in ((alike, "bad_parameters"), ("0" * 12, "not_found"), ("xyz", "not_found"), ("", "not_found")):
        with pytest.raises(Refused) as refused:
            desk.page(wrong)
        assert refused.value.code == code


def test_a_clock_that_was_set_back_undoes_nothing(desk, place, name):
    desk.shelf.put(crash(place, name))
    desk.decide("close", group_id("crash", name))
    desk.now -= DAY
    desk.decide("reopen", group_id("crash", name))
    assert desk.groups(place).groups[0].state == "open"


def test_only_so_many_steps_are_kept(desk, name):
    for number in range(MAX_STEPS + 3):
        found = desk.decide("note", group_id("crash", name), note=str(number))
    assert (len(found.steps), found.note) == (MAX_STEPS, str(MAX_STEPS + 2))


def test_decisions_made_at_the_same_time_are_all_kept(desk, name):
    id_ = group_id("crash", name)

    async def both():
        await asyncio.gather(*(desk.decisions.decide("note", id_, by="ada", note=str(number)) for number in range(8)))

    desk.shelf.run(both())
    assert len(desk.shelf.run(decided(desk.shelf.store))[id_].steps) == 8


def test_a_decision_is_in_the_journal_and_outlives_the_store(desk, name):
    """The journal alone fills a new store, by the real mover; what was decided holds as before."""
    id_, other = group_id("crash", name), group_id("crash", name + "x")
    desk.decide("close", id_, note="fixed")
    desk.decide("merge", other, into=id_)
    desk.decide("note", id_, note="fixed in 1.2")
    lines = [
        json.loads(line)
        for path in (desk.folder / "archive/journal").rglob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert [(line["what"], line["subject"], line["about"]) for line in lines] == [
        ("decision", "group", about) for about in (id_, other, id_)
    ]
    before = desk.shelf.run(decided(desk.shelf.store))

    async def again():
        mover = Mover(
            desk.archive,
            desk.shelf.store,
            Ledger(desk.folder / "mover.db"),
            folders=("journal",),
            find_reader=KINDS.reader,
        )
        await mover.recover()
        await mover.catch_up()
        moved = await decided(desk.shelf.store)
        await rebuild(mover)
        mover.ledger.close()
        return moved, await decided(desk.shelf.store)

    moved, rebuilt = desk.shelf.run(again())
    for found in (moved, rebuilt):
        assert (found[id_], found[other]) == (before[id_], before[other])
    assert rebuilt[id_].note == "fixed in 1.2"
    assert rebuilt[id_].closed
    assert desk.shelf.run(desk.shelf.store.query("SELECT count() AS rows FROM {lae}.decisions"))[0]["rows"] >= 2


def test_a_decision_that_a_later_release_wrote_is_no_trouble(desk, place, name):
    desk.shelf.put(crash(place, name))
    id_ = group_id("crash", name)
    journal = Journal(desk.archive, lambda: NOW)
    span = desk.shelf.run(journal.write("decision", subject="group", about=id_, value='{"steps": 7}', by="x"))
    rows = list(KINDS.reader(span.path).read(span, desk.shelf.run(desk.archive.read(span))))
    desk.shelf.put(*rows)
    assert desk.groups(place).groups[0].state == "open"
    desk.decide("close", id_)
    assert desk.groups(place).groups[0].state == "closed"


@given(kind=st.text(max_size=8), group=st.text(max_size=40))
@settings(max_examples=25, deadline=None)
def test_the_store_makes_the_same_ids(shelf, kind, group):
    from lae_monitor.query.groups import GROUP_ID

    sql = f"SELECT {GROUP_ID} AS id FROM (SELECT {{kind:String}} AS kind, {{group:String}} AS `group`)"
    kind, group = (text.encode("utf-8", "replace").decode().replace("\0", "") for text in (kind, group))
    assert shelf.run(shelf.store.query(sql, {"kind": kind, "group": group}))[0]["id"] == group_id(kind, group)


@given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("abcdef"), max_size=6), st.sampled_from("abcdef"))
def test_following_merges_ends_even_if_there_is_a_circle(merges, start):
    known = {id_: Decided(into=into) for id_, into in merges.items()}
    followed = chain(start, known)
    assert len(set(followed)) == len(followed)
    assert root_of(start, known) == followed[-1]
