"""Which groups are news: with a real store, and a ledger."""

import pytest
from shelf import NOW, Shelf, event

from lae_monitor.alerts.ledger import Ledger
from lae_monitor.alerts.newness import LATE, NEWS, news
from lae_monitor.archive import Archive, Journal
from lae_monitor.core.time import DAY, HOUR
from lae_monitor.query.decisions import Decisions, group_id

BEGUN = NOW - 30 * DAY


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    made = Shelf(tmp_path_factory.mktemp("store"))
    yield made
    made.close()


class Looker:
    """Looks as the watch does, and knows from then on what it saw. Everything in the shelf's thread."""

    def __init__(self, shelf, path):
        self.shelf = shelf
        self.path = path

    def __call__(self, *, level="warning", fresh=BEGUN, now=NOW):
        async def look():
            ledger = Ledger(self.path)
            try:
                seen = await news(self.shelf.store, ledger, level, fresh, now)
                with ledger.transaction():
                    ledger.know_groups(seen.known)
            finally:
                ledger.close()
            return seen.new

        return self.shelf.run(look())


@pytest.fixture
def look(shelf, tmp_path):
    shelf.run(shelf.store.driver.command("TRUNCATE TABLE lae.events"))
    return Looker(shelf, tmp_path / "alerts.db")


def test_a_group_is_new_once(shelf, look):
    shelf.put(
        event("c", "host1", group="A | b", id="one"), event("c", "host2", group="A | b", ago=30), event("c", group="")
    )
    (found,) = look()
    assert (found.about, found.host, found.attrs["report"]) == (group_id("crash", "A | b"), "host1", "one")
    assert "2 of them already, on 2 hosts" in found.text
    assert not found.lasting
    shelf.put(event("c", "host3", group="A | b", ago=1))
    assert look() == []
    shelf.put(event("c", "host3", group="other", ago=1), event("c", "host3", group="A | b", kind="incident", ago=1))
    assert {one.about for one in look()} == {group_id("crash", "other"), group_id("incident", "A | b")}


def test_what_was_there_before_is_none(shelf, look):
    shelf.put(event("c", group="old", ago=HOUR), event("c", group="old", ago=5), event("c", group="young", ago=5))
    assert [one.about for one in look(fresh=NOW - 60)] == [group_id("crash", "young")]
    assert look() == []  # and stays known, whatever is asked for later


def test_what_an_import_brings_is_none(shelf, look):
    """Received just now, and happened long ago."""
    shelf.put(event("c", group="history", time=NOW - NEWS - DAY, received=NOW - 1))
    assert look() == []


def test_what_came_late_into_the_store_is_news_all_the_same(shelf, look):
    shelf.put(event("c", group="first", ago=60))
    assert len(look()) == 1
    shelf.put(event("c", group="came home", ago=LATE - HOUR))
    assert len(look(fresh=NOW - LATE)) == 1


def test_a_group_with_another_name_since_an_update_is_none(shelf, look):
    rows = [event("c", group="version 1", ago=60), event("c", group="version 1", ago=50)]
    shelf.put(*rows)
    assert len(look()) == 1
    shelf.run(shelf.store.driver.command("TRUNCATE TABLE lae.events"))
    for row in rows:
        row.group = "version 2"
    shelf.put(*rows)
    assert look() == []


@pytest.mark.parametrize(("level", "count"), [("info", 3), ("warning", 2), ("error", 1), ("critical", 0), ("never", 0)])
def test_below_the_level_is_none(shelf, look, level, count):
    shelf.put(*(event("c", group=name, level=name) for name in ("info", "warning", "error")))
    assert len(look(level=level)) == count


def test_a_group_that_gets_worse_is_new_when_it_reaches_the_level(shelf, look):
    shelf.put(event("c", group="A", level="info", ago=60))
    assert look() == []
    shelf.put(event("c", group="A", level="error", ago=5))
    assert [one.level for one in look()] == ["error"]


def test_alarms_and_marks_are_none(shelf, look):
    shelf.put(event("c", group="A", kind="alarm"), event("c", group="A", kind="mark"))
    assert look() == []


def test_what_an_operator_decided_of_is_none(shelf, look, tmp_path):
    archive = shelf.run(Archive([tmp_path / "archive"], "desk").open())
    shelf.put(event("c", group="A"))
    decisions = Decisions(shelf.store, archive, Journal(archive, lambda: NOW), lambda: NOW)
    shelf.run(decisions.decide("close", group_id("crash", "A"), by="ada"))
    assert look() == []
    shelf.run(archive.close())


def test_a_closed_group_that_happens_again_is_told_once_for_each_closing(shelf, look, tmp_path):
    archive = shelf.run(Archive([tmp_path / "archive"], "desk").open())
    now = [NOW - 2 * HOUR]
    decisions = Decisions(shelf.store, archive, Journal(archive, lambda: now[0]), lambda: now[0])
    a, b = group_id("crash", "closed A"), group_id("crash", "merged B")
    shelf.put(event("c", group="closed A", ago=3 * HOUR), event("c", group="merged B", ago=3 * HOUR))
    assert len(look()) == 2
    shelf.run(decisions.decide("merge", b, into=a, by="ada"))
    shelf.run(decisions.decide("close", a, by="ada", note="mended in 1.2"))
    assert look() == []
    shelf.put(event("c", "host4", group="merged B", ago=60, level="info"))
    assert look() == []  # below the level
    shelf.put(event("c", "host5", group="merged B", ago=50, id="again"), event("c", "host6", group="closed A", ago=40))
    (found,) = look()
    assert (found.rule, found.about, found.lasting) == ("group regressed", a, False)
    assert "mended in 1.2" in found.text
    shelf.put(event("c", group="closed A", ago=30))
    assert look() == []
    now[0] = NOW - 20
    shelf.run(decisions.decide("close", a, by="ada"))
    assert look() == []
    shelf.put(event("c", group="closed A", ago=10))
    assert [one.rule for one in look()] == ["group regressed"]
    shelf.run(archive.close())


def test_hostile_names_are_told_on_one_line(shelf, look):
    from lae_monitor.alerts.alarm import raised

    title = "boom\r\nBcc: everybody@example.org\x1b[31m " + "x" * 5000 + " URI:CHK:aaaaaaaaaaaaaaaaaaaaaaaaaa:bbbbbbbb"
    shelf.put(event("c", group="A\nB", title=title))
    alarm = raised(look()[0], NOW)
    assert "\n" not in alarm.title and "\x1b" not in alarm.title
    assert len(alarm.title) <= 200
