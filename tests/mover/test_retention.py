"""What is older than it is to be kept goes, rows before file; what is younger, or was not moved, stays. Age is that of our
receipt, whatever names and clocks say.
"""

import os

import spine

from lae_monitor.core.time import day_path
from lae_monitor.mover.ages import Rules
from lae_monitor.mover.ledger import Ledger
from lae_monitor.mover.rebuild import rebuild
from lae_monitor.mover.retention import LAST, STOPPED, Retention, stopped
from lae_monitor.store import Store

DAY = 86400.0
NOW = 1795305600.0  # 2026-11-22
YEAR = 365 * DAY


def line(title: str) -> bytes:
    return f'{{"time":"2026-01-02T00:00:00Z","what":"mark","title":"{title}"}}\n'.encode()


class House:
    """An archive that receives files, and what is left of them."""

    def __init__(self, mover, **keep):
        self.mover = mover
        self.rules = Rules(keep={"crashes": 2 * YEAR, "incidents": 2 * YEAR, "sonar": YEAR} | keep)
        self.now = NOW

    async def receive(self, path, at=None, data=None):
        """`path` comes now, or by the kernel's clock at `at`."""
        await spine.receive(self.mover, path, data or line(path), self.now if at is None else at)

    async def retire(self, **options):
        if isinstance(self.mover.store, Store):
            await self.mover.catch_up()
        return (await Retention(self.mover, self.rules, lambda: self.now).run(**options))[0]

    @property
    def why(self):
        found = stopped(self.mover.ledger.fact(STOPPED))
        return found.why if found is not None else ""

    def left(self, kind="journal"):
        root = self.mover.archive.roots[0].name
        return sorted(
            os.path.relpath(f"{folder}/{name}", root)
            for folder, _, names in os.walk(f"{root}/{kind}")
            for name in names
        )


def in_house(folder, go, *, opened=spine.without_store, **keep):
    async def run():
        async with opened(folder) as mover:
            return await go(House(mover, **keep))

    return spine.run(run())


def test_old_files_go_with_their_rows(tmp_path):
    async def go(house):
        await house.receive("journal/2024/01/02/x.jsonl", NOW - 3 * YEAR)
        await house.receive("journal/2026/11/20/x.jsonl", NOW - 2 * DAY)
        await house.mover.catch_up()
        await house.receive("journal/2024/01/03/y.jsonl", NOW - 3 * YEAR, line("not moved yet"))
        retention = Retention(house.mover, house.rules, lambda: NOW)
        assert (await retention.run(confirmed=True))[0] == 1
        assert await spine.marks(house.mover) == ["journal/2026/11/20/x.jsonl"]
        left = house.left()
        await house.mover.catch_up()
        return left, await spine.marks(house.mover)

    left, marks = in_house(tmp_path, go, opened=spine.opened)
    assert left == ["journal/2024/01/03/y.jsonl", "journal/2026/11/20/x.jsonl"]
    assert marks == ["journal/2026/11/20/x.jsonl", "not moved yet"]


def test_names_and_times_that_clients_chose_are_no_receipt(tmp_path):
    """A node 1,000 days behind, crashes of 1970 and of 2101, one of 2016 that was imported, a sample of 2023: all came today,
    and go when their time is over.
    """
    names = [
        "crashes/20700101/0bba929f-8721-460c-8e70-00000700101.zip",
        "crashes/20010101/0bba929f-8721-460c-8e70-00000010101.zip",
        "crashes/20160102/0bba929f-8721-460c-8e70-00000160102.zip",
        "incidents/lae/incidents/node1/incident-2024-02-26--00-00-00Z-abc.flog.bz2",
        "sonar/hpc/2023/01/01/ml6.csv",
    ]

    async def go(house):
        for name in names:
            await house.receive(name)
        await house.receive("incidents/lae/incidents/node1/latest")
        assert await house.retire() == 0
        kept = [name for name in names if name in house.left("")]
        house.now += 100 * DAY
        await house.receive("journal/2027/03/02/x.jsonl")
        await house.retire(confirmed=True)
        return kept, house.left("")

    kept, left = in_house(tmp_path, go, crashes=90 * DAY, incidents=90 * DAY, sonar=90 * DAY)
    assert kept == names
    assert not {*names} & {*left}
    assert "incidents/lae/incidents/node1/latest" in left  # a cursor is no report


def test_two_ten_and_thirty_days_over_sixty_stop_nothing(tmp_path):
    async def go(house):
        counts = []
        for number in range(60):
            day = day_path(house.now)
            await house.receive(f"crashes/{day.replace('/', '')}/note.txt")
            await house.receive(f"incidents/lae/logs/node1/{day}.txt")
            await house.receive(f"sonar/hpc/{day}/notes.txt")
            await house.receive(f"journal/{day}/x.jsonl")
            house.now += HOURS[number % len(HOURS)]
            await house.retire()
            assert house.why == ""
            counts.append([len(house.left(kind)) for kind in ("crashes", "incidents", "sonar", "journal")])
            house.now = NOW + (number + 1) * DAY
        return counts

    counts = in_house(tmp_path, go, crashes=2 * DAY, incidents=10 * DAY, sonar=30 * DAY)
    assert counts[-1] == [2, 10, 30, 30]
    assert [max(column) for column in zip(*counts, strict=True)] == [2, 10, 30, 30]


HOURS = (3600.0, 80000.0, 0.0, 40000.0)  # a run comes at any time of the day


async def _filled(house, days=40):
    longer, house.rules = house.rules, Rules(keep={"crashes": YEAR})
    for number in range(days):
        house.now = NOW + number * DAY
        await house.receive(f"journal/{day_path(house.now)}/x.jsonl")
    await house.retire()
    house.rules = longer
    assert len(house.left()) == days


def test_a_clock_that_was_800_days_ahead_for_an_hour_takes_nothing(tmp_path):
    async def go(house):
        await _filled(house, 29)
        right = house.now
        house.now += 800 * DAY
        assert await house.retire() == 0  # nothing came yet: the newest receipt is what it was
        assert house.why == ""
        await house.receive("journal/2029/03/10/y.jsonl")
        assert await house.retire() == 0
        assert "the clock jumped" in house.why
        assert "29 of 30 files" in house.why
        house.now = right + 3600
        assert await house.retire() == 0
        assert house.why == ""
        assert len(house.left()) == 30
        written = (tmp_path / "archive/journal/2029/03/10/y.jsonl").stat().st_mtime
        assert written == right  # the receipt that could not be true is set right, should the ledger be lost
        for number in range(1, 32):
            house.now = right + number * DAY
            await house.receive(f"journal/{day_path(house.now)}/x.jsonl")
        await house.retire()
        return [path for path in house.left() if path.endswith("y.jsonl")], len(house.left())

    # It is as old as what came before it, and goes with that.
    assert in_house(tmp_path, go, crashes=30 * DAY, incidents=DAY, sonar=DAY) == ([], 30)


def test_little_goes_after_a_jump_only_once_three_days_show_that_it_was_none(tmp_path):
    async def go(house):
        await house.receive("journal/2026/10/28/old.jsonl", NOW - 25 * DAY)
        for number in range(40):
            await house.receive(f"journal/2026/11/22/x{number}.jsonl")
        assert await house.retire() == 0
        house.now += 800 * DAY  # by that clock one of 41 files is too old: less than is unusual
        gone = []
        for number in range(4):
            await house.receive(f"journal/2029/01/31/y{number}.jsonl")
            gone.append(await house.retire())
            house.now += DAY
        return gone, house.why

    assert in_house(tmp_path, go, crashes=820 * DAY, incidents=DAY, sonar=DAY) == ([0, 0, 1, 0], "")


def test_what_came_by_a_clock_that_was_behind_is_as_young_as_it_is(tmp_path):
    async def go(house):
        await _filled(house)
        right = house.now
        house.now = 3600.0  # 1970: a board without a battery
        await house.receive("journal/1970/01/01/x.jsonl")
        assert await house.retire() == 0
        assert "set the clock right" in house.why
        house.now = right + DAY
        await house.receive("journal/2027/01/01/z.jsonl")
        assert await house.retire() == 0
        assert house.why == ""
        first = "journal/1970/01/01/x.jsonl" in house.left()
        return first, (tmp_path / "archive/journal/1970/01/01/x.jsonl").stat().st_mtime == house.now

    assert in_house(tmp_path, go, crashes=60 * DAY, incidents=DAY, sonar=DAY) == (True, True)


def test_a_monitor_that_was_off_goes_on_once_a_few_days_show_it_or_after_a_confirmation(tmp_path):
    async def go(house):
        await _filled(house)
        house.now += 15 * DAY  # of 40 days, all are younger than 60
        gone = []
        for _ in range(4):
            await house.receive(f"journal/{day_path(house.now)}/x.jsonl")
            gone.append(await house.retire())
            house.now += DAY
        assert house.why == ""
        last = house.mover.ledger.fact(LAST)
        house.now += 100 * DAY
        await house.receive(f"journal/{day_path(house.now)}/x.jsonl")
        assert await house.retire() == 0
        assert "the monitor was off" in house.why
        assert '"newest"' in last
        gone.append(await house.retire(confirmed=True))
        return gone, house.why, len(house.left())

    assert in_house(tmp_path, go, crashes=60 * DAY, incidents=DAY, sonar=DAY) == ([0, 0, 0, 0, 44], "", 1)


def test_a_quiet_month_with_the_monitor_on_is_no_jump(tmp_path):
    async def go(house):
        for number in range(20):
            house.now = NOW + number * DAY
            await house.receive(f"journal/{day_path(house.now)}/x.jsonl")
            await house.retire()
        for _ in range(25):
            house.now += DAY
            await house.retire()
        await house.receive(f"journal/{day_path(house.now)}/x.jsonl")
        await house.retire()
        return house.why, len(house.left())

    assert in_house(tmp_path, go, crashes=30 * DAY, incidents=DAY, sonar=DAY) == ("", 6)


def test_an_archive_that_began_empty_retires_without_a_question(tmp_path):
    async def go(house):
        await house.retire()
        for number in range(0, 28, 7):  # a report a week
            house.now = NOW + number * DAY
            await house.receive(f"journal/{day_path(house.now)}/x.jsonl")
            for _ in range(7):
                await house.retire()
                assert house.why == ""
                house.now += DAY
        return len(house.left())

    assert in_house(tmp_path, go, crashes=10 * DAY, incidents=DAY, sonar=DAY) == 2


def test_a_shorter_retention_waits_for_a_confirmation_if_it_takes_much(tmp_path):
    async def go(house):
        await _filled(house)
        await house.retire()
        longer = house.rules
        house.rules = Rules(keep=longer.keep | {"crashes": 90.0})
        assert await house.retire() == 0
        assert "retention.crashes from 60d to 1m 30s" in house.why
        assert "39 of 40 files" in house.why
        house.rules = longer
        await house.retire()
        assert house.why == ""
        house.rules = Rules(keep=longer.keep | {"crashes": 38 * DAY})  # takes two of forty
        assert await house.retire() == 2
        return house.why

    assert in_house(tmp_path, go, crashes=60 * DAY, incidents=DAY, sonar=DAY) == ""


def test_the_first_run_that_is_known_takes_no_more_than_the_release_before_left(tmp_path):
    """After an upgrade, or without the ledger, nobody knows whether a retention is shorter than it was."""

    async def go(house):
        for number in range(10):
            house.now = NOW + number * DAY
            await house.receive(f"journal/{day_path(house.now)}/x.jsonl")
        shorter, house.rules = house.rules, Rules(keep={"crashes": 8 * DAY})
        usual = (await Retention(house.mover, house.rules, lambda: house.now).plan()).why
        house.rules = shorter
        return usual, await house.retire(), "no earlier run is known" in house.why, await house.retire(confirmed=True)

    assert in_house(tmp_path, go, crashes=2 * DAY, incidents=DAY, sonar=DAY) == ("", 0, True, 8)


def test_ages_survive_a_rebuild_and_the_loss_of_the_ledger(tmp_path):
    async def ages(house):
        await house.mover.catch_up()
        plan = await Retention(house.mover, house.rules, lambda: house.now).plan()
        return {file.path for file in plan.due}

    async def go(house):
        await _filled(house)
        house.now += DAY
        # Restored with the time of the copy: the ledger knows better.
        os.utime(tmp_path / "archive/journal/2026/11/22/x.jsonl", (house.now, house.now))
        await house.receive("journal/2027/01/02/x.jsonl")
        house.rules = Rules(keep=house.rules.keep | {"crashes": 39 * DAY})
        before = await ages(house), house.mover.ledger.fact(LAST)
        await rebuild(house.mover)
        return before, (await ages(house), house.mover.ledger.fact(LAST))

    before, after = in_house(tmp_path, go, opened=spine.opened, crashes=60 * DAY, incidents=DAY, sonar=DAY)
    assert before == after
    assert before[0] == {"journal/2026/11/22/x.jsonl", "journal/2026/11/23/x.jsonl"}
    os.utime(tmp_path / "archive/journal/2026/11/22/x.jsonl", (NOW, NOW))
    for path in tmp_path.glob("mover.db*"):
        path.unlink()

    async def again(house):
        house.now = NOW + 40 * DAY
        return await ages(house)

    assert in_house(tmp_path, again, crashes=39 * DAY, incidents=DAY, sonar=DAY) == before[0]


def test_a_file_that_grows_counts_from_its_last_byte(tmp_path):
    async def go(house):
        await house.receive("journal/2026/11/22/x.jsonl")
        await house.retire()
        house.now += 20 * DAY
        await house.mover.archive.append("journal/2026/11/22/x.jsonl", line("more"))
        os.utime(tmp_path / "archive/journal/2026/11/22/x.jsonl", (house.now, house.now))
        assert await house.retire(confirmed=True) == 0
        house.now += 5 * DAY
        await house.receive("journal/2026/12/17/x.jsonl")
        return await house.retire(confirmed=True)

    assert in_house(tmp_path, go, crashes=10 * DAY, incidents=DAY, sonar=DAY) == 0


def test_a_decision_stays_as_long_as_it_is_in_force(tmp_path):
    decision = b'{"time":"%s","what":"decision","subject":"group","about":"g1","value":"{}"}\n'

    async def go(house):
        await house.receive("journal/2026/11/22/serve.jsonl", data=decision % b"2026-11-22T00:00:00Z")
        await house.receive("journal/2026/11/22/other.jsonl")
        house.now += 100 * DAY
        await house.receive("journal/2027/03/02/x.jsonl")
        await house.retire(confirmed=True)
        first = house.left()
        await house.receive("journal/2027/03/02/serve.jsonl", data=decision % b"2027-03-02T00:00:00Z")
        house.now += DAY
        await house.retire(confirmed=True)
        return first, house.left()

    first, then = in_house(tmp_path, go, opened=spine.opened, crashes=10 * DAY, incidents=DAY, sonar=DAY)
    assert first == ["journal/2026/11/22/serve.jsonl", "journal/2027/03/02/x.jsonl"]
    assert then == ["journal/2027/03/02/serve.jsonl", "journal/2027/03/02/x.jsonl"]


def test_the_release_before_can_use_the_ledger(tmp_path):
    """It writes rows of `files` with two values, and drops what it knows."""
    ledger = Ledger(tmp_path / "mover.db")
    ledger.set_moved([("a", 1)])
    assert [row[1] for row in ledger._db.execute("PRAGMA table_info(files)")] == ["path", "moved"]
    ledger.close()
