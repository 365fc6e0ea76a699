"""Whatever the store lost is found, read again by itself, and said; what merges removed is not taken for a loss."""

import os
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import spine

from lae_monitor.archive import Journal
from lae_monitor.mover.checking import Checks
from lae_monitor.store import StoreError
from lae_monitor.store.driver import NO_PART

DAY = "journal/2026/11/22"
FILES, LINES = 6, 20


def line(title: str, **more: str) -> bytes:
    fields = {"time": "2026-11-22T00:00:00Z", "what": "mark", "title": title, **more}
    return ("{" + ", ".join(f'"{key}": "{value}"' for key, value in fields.items()) + "}\n").encode()


def titles() -> list[str]:
    return sorted(f"{file}-{number:02}" for file in range(FILES) for number in range(LINES))


@asynccontextmanager
async def filled(folder):
    """A mover that has moved FILES files, each in a batch of its own, and its checks."""
    async with spine.opened(folder) as mover:
        for file in range(FILES):
            lines = b"".join(line(f"{file}-{number:02}") for number in range(LINES))
            await mover.archive.append(f"{DAY}/p{file}.jsonl", lines)
            await mover.catch_up()
        yield mover, Checks(mover, Journal(mover.archive))


async def parts(mover, table):
    rows = await mover.store.query(
        f"SELECT name, path FROM system.parts WHERE active AND database = 'lae' AND table = '{table}' ORDER BY name"
    )
    return [(row["name"], Path(row["path"])) for row in rows]


async def alarms(mover):
    await mover.catch_up()
    rows = await mover.store.query("SELECT attrs['rule'] AS rule FROM {lae}.events WHERE kind = 'alarm'")
    return [row["rule"] for row in rows]


async def lose(mover, table):
    while True:
        name, _ = (await parts(mover, table))[0]
        try:
            await mover.store.driver.command(f"ALTER TABLE lae.{table} DROP PART '{name}'")
        except StoreError as error:
            assert error.code == NO_PART  # it was merged meanwhile
        else:
            return


@pytest.mark.parametrize("tables", [["events"], ["moves"], ["events", "moves"]])
def test_lost_parts_are_read_again(tmp_path, tables):
    async def go():
        async with filled(tmp_path) as (mover, checks):
            for table in tables:
                await lose(mover, table)
            if "events" in tables:
                assert await spine.marks(mover) != titles()
            found = await checks.check()
            assert found.files
            await mover.catch_up()
            assert await spine.marks(mover) == titles()
            assert mover.state.read_again == len(found.files)
            assert await alarms(mover) == ["store"]
            again = await checks.check()
            assert (again.parts, again.files, again.unreadable) == ([], [], []), "it is mended"
            assert await alarms(mover) == ["store"]

    spine.run(go())


def test_equal_rows_that_were_merged_away_are_no_loss(tmp_path):
    """The same lines in two files, and twice in one: merges leave one row of each, under one of the files."""

    async def go():
        async with filled(tmp_path) as (mover, checks):
            await mover.archive.append(f"{DAY}/copy.jsonl", b"".join(line(f"0-{n:02}") for n in range(LINES)))
            await mover.archive.append(f"{DAY}/twice.jsonl", line("1-00") + line("1-00"))
            await mover.catch_up()
            await mover.store.driver.command("OPTIMIZE TABLE lae.events FINAL")
            assert await spine.marks(mover) == titles()
            assert (await checks.check()).files == []
            read = []
            bytes_of = mover.archive.read

            async def counted(span):
                read.append(span.path)
                return await bytes_of(span)

            mover.archive.read = counted
            assert (await checks.check()).files == []
            assert read == [], "what was found to be whole is not read at each check"
            # And a real loss is found among them.
            await mover.store.driver.command(
                "ALTER TABLE lae.events DELETE WHERE title = '0-07' SETTINGS mutations_sync = 2"
            )
            found = await checks.check()
            assert len(found.files) >= 1
            await mover.store.driver.command("OPTIMIZE TABLE lae.events FINAL")
            assert await spine.marks(mover) == titles()

    spine.run(go())


def test_the_newest_decision_is_missed_although_an_older_one_is_there(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            checks = Checks(mover, Journal(mover.archive))
            for hour, value in enumerate(("old", "new")):
                entry = line("", subject="group", about="g", value=value, by="me").replace(b'"mark"', b'"decision"')
                entry = entry.replace(b'"title": "", ', b"").replace(b"T00", f"T0{hour}".encode())
                await mover.archive.append(f"{DAY}/p{hour}.jsonl", entry)
                await mover.catch_up()
            newest = "SELECT argMax(value, time) AS value FROM {lae}.decisions"
            assert await mover.store.query(newest) == [{"value": "new"}]
            await mover.store.driver.command(
                "ALTER TABLE lae.decisions DELETE WHERE value = 'new' SETTINGS mutations_sync = 2"
            )
            await checks.check()
            assert await mover.store.query(newest) == [{"value": "new"}]

    spine.run(go())


def corrupt(part: Path) -> None:
    """One block of its largest file, as a disk may return it."""
    largest = max(part.glob("*.bin"), key=lambda file: file.stat().st_size)
    with largest.open("r+b") as file:
        file.seek(largest.stat().st_size // 2)
        file.write(os.urandom(64))


def test_a_corrupt_block_is_named_and_mended_and_spoils_no_other_answer(tmp_path):
    async def go():
        async with filled(tmp_path) as (mover, checks):
            mover.store.on_damage = checks.want
            await mover.store.driver.command("OPTIMIZE TABLE lae.events FINAL")
            corrupt((await parts(mover, "events"))[0][1])
            with pytest.raises(StoreError, match=r"reads its rows from the archive again.*store rebuild"):
                await mover.store.query("SELECT * FROM {lae}.events ORDER BY ALL")
            assert checks._wanted.is_set(), "it does not wait until tomorrow"
            for _ in range(4):  # each reader: what the failed query left is in nobody's answer
                assert await mover.store.query("SELECT 1 AS one") == [{"one": 1}]
            found = await checks.check()
            assert [part.table for part in found.parts] == ["events"]
            assert await spine.marks(mover) == titles()
            assert await alarms(mover) == ["store"]

    spine.run(go())


def test_a_part_of_empty_files_is_made_good_at_the_next_start(tmp_path):
    """What a power cut left of merged parts that were never synced."""

    async def cut():
        async with filled(tmp_path) as (mover, _):
            await mover.store.driver.command("OPTIMIZE TABLE lae.events FINAL")
            await mover.store.driver.command("ALTER TABLE lae.events MODIFY SETTING old_parts_lifetime = 0")
            return [part for _, part in await parts(mover, "events")]

    for part in spine.run(cut()):
        for file in part.rglob("*"):
            if file.is_file():
                os.truncate(file, 0)

    async def come_back():
        async with spine.opened(tmp_path) as mover:
            found = await Checks(mover, Journal(mover.archive)).check()
            assert [part.reason for part in found.parts] == ["broken-on-start"]
            assert await spine.marks(mover) == titles()
            assert await mover.store.query("SELECT name FROM system.detached_parts") == [], "its rows are there again"

    spine.run(come_back())


def test_a_store_of_an_earlier_release_gets_the_settings(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            await mover.store.driver.command(
                "ALTER TABLE lae.events MODIFY SETTING old_parts_lifetime = 0, min_rows_to_fsync_after_merge = 0"
            )
        async with spine.opened(tmp_path) as mover:
            rows = await mover.store.query("SELECT name, engine_full FROM system.tables WHERE database = 'lae'")
            assert len(rows) == 9
            for row in rows:
                assert "old_parts_lifetime = 480" in row["engine_full"], row["name"]
                assert "min_rows_to_fsync_after_merge = 1" in row["engine_full"], row["name"]

    spine.run(go())


def test_files_that_cannot_be_read_stay_in_the_store_as_they_are(tmp_path):
    async def go():
        async with filled(tmp_path) as (mover, checks):
            await mover.store.driver.command(
                "ALTER TABLE lae.events DELETE WHERE title = '0-07' SETTINGS mutations_sync = 2"
            )
            (tmp_path / "archive" / DAY / "p0.jsonl").rename(tmp_path / "elsewhere")
            found = await checks.check()
            assert (found.unreadable, found.files, checks.whole) == ([f"{DAY}/p0.jsonl"], [], False)
            assert await spine.marks(mover) == [title for title in titles() if title != "0-07"]
            (tmp_path / "elsewhere").rename(tmp_path / "archive" / DAY / "p0.jsonl")
            await checks.check()
            assert checks.whole
            assert await spine.marks(mover) == titles()

    spine.run(go())


@pytest.mark.parametrize("tables", [["moves"], ["events", "moves"]])
def test_what_is_beside_a_span_in_quarantine_is_missed_too(tmp_path, tables):
    """And it is not read in one piece with that span, which would take it along into quarantine."""

    async def go():
        async with spine.opened(tmp_path) as mover:
            path = f"{DAY}/p.jsonl"
            unknown = line("two").replace(b'"mark"', b'"of a later release"')
            for entry in (line("one"), line("and"), unknown, line("three"), line("four")):
                await mover.archive.append(path, entry)
                await mover.catch_up()
            [kept] = mover.ledger.quarantined()
            for table in tables:
                await mover.store.driver.command(f"TRUNCATE TABLE lae.{table}")
            checks = Checks(mover, Journal(mover.archive))
            assert path in (await checks.check()).files
            await mover.catch_up()
            assert await spine.marks(mover) == ["and", "four", "one", "three"]
            assert [item.id for item in mover.ledger.quarantined()] == [kept.id]
            assert (await checks.check()).files == []

    spine.run(go())
