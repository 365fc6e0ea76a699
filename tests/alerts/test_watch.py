"""One look after another, with a real store, archive and ledger, and a clock that the test moves."""

import json
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from msgspec.structs import replace as replaced
from shelf import NOW, Shelf, event

from lae_monitor.alerts import silence
from lae_monitor.alerts.ledger import FILE, look
from lae_monitor.alerts.watch import DEAF_AFTER, KEEP, Watch
from lae_monitor.archive import Archive, Journal, Reserve
from lae_monitor.archive import journal as journal_reader
from lae_monitor.config.settings import Alerts, Fleet, Settings, State, Webhook
from lae_monitor.core.kind import Kinds
from lae_monitor.core.rows import Span
from lae_monitor.core.time import HOUR, MINUTE
from lae_monitor.kinds import KINDS
from lae_monitor.kinds.incidents.state import State as GathererState
from lae_monitor.mover import Mover
from lae_monitor.mover.ledger import Ledger as MoverLedger
from lae_monitor.net.furls.ledger import LastContact
from lae_monitor.net.furls.registry import Registry

STEP = DEAF_AFTER  # between looks: not longer, for then nobody would be known to be silent


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    made = Shelf(tmp_path_factory.mktemp("store"))
    yield made
    made.close()


class House:
    """A state folder, and what happens in it."""

    def __init__(self, shelf, folder):
        self.shelf = shelf
        self.folder = folder
        self.now = NOW
        self.settings = Settings(
            fleet=Fleet(),
            state=State(path=folder),
            alerts=Alerts(destinations=[Webhook(url="http://127.0.0.1:1/")]),
            gatherers={},
            kinds=KINDS,
        )
        self.reserve = Reserve(size=0)

    def clock(self):
        return self.now

    @asynccontextmanager
    async def watch(self):
        archive = await Archive([self.folder / "archive"], "serve", reserve=self.reserve).open()
        journal = Journal(archive, self.clock)
        ledger = MoverLedger(self.folder / "mover.db")
        mover = Mover(
            archive, self.shelf.store, ledger, folders=KINDS.folders, find_reader=KINDS.reader,
            hints=self.folder / "mover.sock", journal=journal,
        )  # fmt: skip
        mover.state.caught_up = True
        watch = Watch(self.settings, mover, journal, self.clock)
        try:
            yield watch
        finally:
            watch._ledger.close()
            ledger.close()
            await archive.close()

    def looks(self, *waits):
        """A serve that looks once after each of these seconds."""

        async def run():
            async with self.watch() as watch:
                for wait in waits:
                    self.now += wait
                    await watch.look()

        self.shelf.run(run())

    def alarms(self, **wanted):
        return [
            one
            for one in look(self.folder / FILE).alarms
            if all(getattr(one, key) == value for key, value in wanted.items())
        ]

    def journal(self):
        return [
            json.loads(line)
            for path in sorted((self.folder / "archive" / "journal").glob("*/*/*/serve.jsonl"))
            for line in path.read_text().splitlines()
        ]


@pytest.fixture
def house(shelf, tmp_path):
    shelf.run(shelf.store.driver.command("TRUNCATE TABLE lae.events"))
    return House(shelf, tmp_path)


@pytest.fixture
def gatherer(house):
    """What a running incident gatherer holds and writes."""
    state = GathererState(house.folder / "gather-incidents.db")
    state.settle_connections()
    yield state
    state.close()


def hear(house, gatherer, host, ago=0.0):
    gatherer.note([LastContact("lae", host, house.now - ago, "tub", "10.0.0.1")])


def every(seconds, total):
    return [seconds] * int(total / seconds)


def test_silent_is_raised_once_and_ends_once(house, gatherer):
    register(house, "node1")
    hear(house, gatherer, "node1")
    house.looks(0, *every(STEP, 2 * HOUR - MINUTE))
    assert house.alarms() == []
    house.looks(*every(STEP, HOUR))
    (alarm,) = house.alarms()
    assert (alarm.rule, alarm.host, alarm.ended) == ("host silent", "node1", None)
    hear(house, gatherer, "node1")
    house.looks(*every(STEP, HOUR))
    (alarm,) = house.alarms()
    assert "heard again" in alarm.why_ended
    assert [(entry["rule"], entry["state"]) for entry in house.journal()] == [
        ("host silent", "raised"),
        ("host silent", "over"),
    ]
    assert len(look(house.folder / FILE).deliveries) == 2


def test_a_host_that_comes_and_goes_is_no_flood(house, gatherer):
    register(house, "node1")
    for _ in range(5):
        hear(house, gatherer, "node1")
        house.looks(*every(STEP, HOUR + 50 * MINUTE))
    assert house.alarms() == []


def test_nobody_is_silent_after_a_night_without_power(house, gatherer):
    register(house, "node1")
    hear(house, gatherer, "node1")
    house.looks(0)
    house.looks(12 * HOUR)  # nobody looked, and nobody is known to have been silent
    assert house.alarms() == []
    house.looks(*every(STEP, 2 * HOUR))
    assert len(house.alarms(rule="host silent")) == 1


def test_a_short_restart_changes_nothing(house, gatherer):
    register(house, "node1")
    hear(house, gatherer, "node1")
    house.looks(0)
    for _ in range(5):
        house.looks(*every(STEP, 24 * MINUTE))
    assert DEAF_AFTER > MINUTE
    assert len(house.alarms(rule="host silent")) == 1


def test_a_gatherer_that_does_not_run_is_the_alarm_and_its_hosts_are_none(house):
    for number in range(30):
        register(house, f"node{number}")
    house.looks(0, *every(STEP, 6 * HOUR))
    (alarm,) = house.alarms()
    assert (alarm.rule, alarm.about, alarm.level) == ("gatherer down", "incidents", "critical")
    assert "30 hosts cannot report" in alarm.text
    state = GathererState(house.folder / "gather-incidents.db")
    state.settle_connections()
    house.looks(*every(STEP, 10 * MINUTE))
    (alarm,) = house.alarms()
    assert alarm.why_ended == "it runs again"
    state.close()


def test_that_a_gatherer_stops_ends_no_silence(house, gatherer):
    register(house, "node1")
    hear(house, gatherer, "node1")
    house.looks(0, *every(STEP, 2 * HOUR))
    gatherer.close()
    house.looks(*every(STEP, HOUR))
    assert [alarm.ended for alarm in house.alarms(rule="host silent")] == [None]


def test_a_host_that_is_unregistered_is_no_longer_silent(house, gatherer):
    register(house, "node1")
    house.looks(0, *every(STEP, 3 * HOUR))
    (house.settings.credentials / "incidents" / "lae" / "node1.furl").unlink()
    house.looks(MINUTE)
    (alarm,) = house.alarms()
    assert alarm.why_ended == "it is no longer expected"


def test_what_the_journal_does_not_take_now_it_gets_later_and_shows_once(house, gatherer):
    register(house, "node1")
    house.reserve = Reserve(share=1.0)  # nothing is left that may be written to
    house.looks(0, *every(STEP, 3 * HOUR))
    assert len(house.alarms()) == 1
    assert house.journal() == []
    assert len(look(house.folder / FILE).deliveries) == 1  # people are told all the same
    house.reserve = Reserve(size=0)

    async def killed_after_writing():
        async with house.watch() as watch:
            await watch._journal.write_all("alarm", [fields for _, fields in watch._ledger.entries()])

    house.shelf.run(killed_after_writing())
    house.looks(MINUTE)
    lines = [(json.dumps(entry) + "\n").encode() for entry in house.journal()]
    assert len(lines) == 2
    keys = {
        row.key
        for line in lines
        for row in journal_reader.read(Span("journal/2026/01/01/serve.jsonl", 0, len(line)), line)
    }
    assert len(keys) == 1


def test_a_damaged_ledger_is_put_aside(house, gatherer):
    register(house, "node1")
    (house.folder / FILE).write_bytes(b"no database at all" * 500)
    house.looks(0)
    assert len(list(house.folder.glob("alerts.db.aside-*"))) == 1
    assert look(house.folder / FILE).hosts[0].host == "node1"


def test_what_is_over_for_long_is_forgotten(house):
    house.looks(0)
    house.shelf.put(event("c", group="A", time=NOW, ago=0))
    house.looks(MINUTE)
    assert len(house.alarms(rule="new group")) == 1
    house.looks(KEEP + HOUR)
    assert house.alarms() == []
    house.looks(MINUTE)
    assert house.alarms() == []  # and is not new again


def register(house, host):
    Registry(_with_incidents(house.settings), "incidents").register(host, None)


def _with_incidents(settings):
    import msgspec

    incidents = KINDS.named("incidents").part("config:Settings")
    return msgspec.structs.replace(settings, gatherers={"incidents": incidents()})


def test_kinds_are_those_that_hosts_are_expected_by():
    assert set(silence.needed(KINDS)) <= set(KINDS.names)


def test_a_gpu_that_failed_is_an_alarm_until_a_run_says_that_it_works(house):
    """What was wrong with a host that is silent since is not known to be over."""

    def run(host, failed, ago=0.0):
        house.shelf.put(
            event("hpc", host, kind="sonar", level="info", time=house.now - ago, attrs={"gpu_failed": failed})
        )

    house.looks(0)
    run("ml1", "no")
    run("ml2", "no", ago=600)
    run("ml2", "yes")
    house.looks(MINUTE)
    (alarm,) = house.alarms(rule="host in trouble")
    assert (alarm.host, alarm.title, alarm.level, alarm.ended) == ("ml2", "a GPU of ml2 has failed", "error", None)
    house.looks(*every(MINUTE, 3 * HOUR))
    assert len(house.alarms(rule="host in trouble", ended=None)) == 1
    run("ml2", "no")
    house.looks(MINUTE)
    (alarm,) = house.alarms(rule="host in trouble")
    assert alarm.why_ended.startswith("all its GPUs worked at ")


def test_a_kind_that_cannot_say_what_is_wrong_keeps_no_other_from_it(house):
    broken = replace(KINDS[0], troubles="lae_monitor.no.such:thing")
    house.settings = replaced(house.settings, kinds=Kinds((broken, *KINDS[1:])))
    house.looks(0)
    house.shelf.put(event("hpc", "ml1", kind="sonar", time=house.now, attrs={"gpu_failed": "yes"}))
    house.looks(MINUTE)
    assert [alarm.host for alarm in house.alarms(rule="host in trouble")] == ["ml1"]
