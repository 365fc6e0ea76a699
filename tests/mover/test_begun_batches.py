"""A batch that was begun ends well, whatever became of its files, its store and its tokens in the meantime."""

import json
import time

import pytest
import spine

from lae_monitor.archive import Journal
from lae_monitor.core.rows import Span
from lae_monitor.mover.ages import Rules
from lae_monitor.mover.ledger import Pending, Quarantined
from lae_monitor.mover.rebuild import SUFFIX, rebuild
from lae_monitor.mover.retention import Retention
from lae_monitor.store import Store, StoreError

DAY = "journal/2026/11/22"


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs."""


def line(title: str, what: str = "mark") -> bytes:
    return json.dumps({"time": "2026-11-22T00:00:00Z", "what": what, "title": title}).encode() + b"\n"


def dying_before_marks():
    died = []

    class Dying(Store):
        async def insert_columns(self, name, columns, token):
            if name == "moves" and not died:
                died.append(True)
                raise Killed
            await super().insert_columns(name, columns, token)

    return Dying


async def die_in_a_batch(folder, names):
    async with spine.opened(folder, dying_before_marks()) as mover:
        await mover.step()  # the first sweep is over: what follows comes by hints, in their order
        for name in names:
            await mover.archive.append(f"{DAY}/{name}.jsonl", line(name))
            mover.tell(f"{DAY}/{name}.jsonl")
        with pytest.raises(Killed):
            await mover.step()


async def come_back(folder):
    async with spine.opened(folder) as mover:
        await mover.catch_up()
        assert mover.ledger.batch() == []
        return await spine.marks(mover)


def test_files_in_any_order_are_repeated_under_the_same_token(tmp_path):
    spine.run(die_in_a_batch(tmp_path, "cab"))
    assert spine.run(come_back(tmp_path)) == ["a", "b", "c"]


def test_a_file_that_is_gone_does_not_stop_the_others(tmp_path):
    async def back_again():
        async with spine.opened(tmp_path) as mover:
            await mover.step()
            assert mover.ledger.batch() == []
            assert await spine.marks(mover) == ["a", "c"]
            (tmp_path / "b").rename(tmp_path / "archive" / DAY / "b.jsonl")  # its root answers again
            await mover.catch_up()
            return await spine.marks(mover)

    spine.run(die_in_a_batch(tmp_path, "cab"))
    (tmp_path / "archive" / DAY / "b.jsonl").rename(tmp_path / "b")
    assert spine.run(back_again()) == ["a", "b", "c"]


def test_a_batch_of_nothing_but_a_gone_file_ends(tmp_path):
    spine.run(die_in_a_batch(tmp_path, "a"))
    (tmp_path / "archive" / DAY / "a.jsonl").unlink()
    assert spine.run(come_back(tmp_path)) == []


def test_a_file_that_got_shorter_is_read_from_where_it_was(tmp_path):
    spine.run(die_in_a_batch(tmp_path, "ab"))
    (tmp_path / "archive" / DAY / "a.jsonl").write_bytes(line(""))
    assert spine.run(come_back(tmp_path)) == ["", "b"]


def test_a_killed_search_for_a_refused_span_doubles_nothing(tmp_path):
    """One by one some are in already when it dies."""

    class Refusing(Store):
        inserted = 0

        async def insert(self, table, rows, spans, token):
            if len(rows) > 1:
                raise ValueError("no")
            await super().insert(table, rows, spans, token)
            Refusing.inserted += 1
            if Refusing.inserted == 2:
                raise Killed

    async def die():
        async with spine.opened(tmp_path, Refusing) as mover:
            for name in "abc":
                await mover.archive.append(f"{DAY}/{name}.jsonl", line(name))
            with pytest.raises(Killed):
                await mover.catch_up()

    spine.run(die())
    assert spine.run(come_back(tmp_path)) == ["a", "b", "c"]


def test_a_span_that_was_read_again_and_is_gone_goes_back_to_quarantine(tmp_path):
    path = f"{DAY}/x.jsonl"

    async def go():
        async with spine.opened(tmp_path) as mover:
            span = await mover.archive.append(path, line("x"))
            await mover.catch_up()
            item = Quarantined("key", span, 1, "once unreadable")
            mover.ledger.confirm([item])
            mover.ledger.begin([Pending(span, 1, mover.ledger.next_turn())], released=["key"])  # and killed here
            (tmp_path / "archive" / path).rename(tmp_path / "x")
            await mover.step()
            assert [kept.span for kept in mover.ledger.quarantined()] == [span]
            (tmp_path / "x").rename(tmp_path / "archive" / path)
            assert await mover.retry_outdated() == 1
            assert mover.ledger.quarantined() == []
            return await spine.marks(mover)

    assert spine.run(go()) == ["x"]


def test_a_retry_of_a_file_that_is_gone_changes_nothing(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            mover.ledger.confirm([Quarantined("key", Span(f"{DAY}/gone.jsonl", 0, 10), 0, "why")])
            assert await mover.retry_outdated() == 1
            with pytest.raises(FileNotFoundError):
                await mover.retry("key")
            return mover.ledger.batch(), [item.id for item in mover.ledger.quarantined()]

    assert spine.run(go()) == ([], ["key"])


def test_a_gap_left_by_a_killed_retry_is_filled_when_the_ledger_is_lost_too(tmp_path):
    async def die():
        async with spine.opened(tmp_path) as mover:
            for number in range(3):
                span = await mover.archive.append(f"{DAY}/x.jsonl", line(str(number)))
                await mover.catch_up()
                if number == 1:
                    middle = span
            await mover.store.take_back([(middle.path, middle.start)])  # as a retry does, before it inserts

    spine.run(die())
    for file in tmp_path.glob("mover.db*"):
        file.unlink()
    assert spine.run(come_back(tmp_path)) == ["0", "1", "2"]


async def retire(mover) -> int:
    """Everything is old."""
    newest = time.time() + 1e6
    await spine.receive(mover, f"sonar/lae/2026/11/22/notes{newest}.txt", b"", newest)
    rules = Rules(keep={"crashes": 86400.0, "sonar": 86400.0})
    return (await Retention(mover, rules, lambda: newest).run(confirmed=True))[0]


def test_what_is_being_moved_is_not_retired(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            span = await mover.archive.store("journal/2024/01/02/x.jsonl", [line("x")])
            await mover.catch_up()
            mover.ledger.begin([Pending(span, 1, mover.ledger.next_turn())])
            assert await retire(mover) == 0
            await mover.step()
            assert await spine.marks(mover) == ["x"]
            mover.ledger.confirm([Quarantined("key", span, 1, "why")])
            assert await retire(mover) == 1
            assert (mover.ledger.quarantined(), await spine.marks(mover)) == ([], [])
            await mover.archive.store("journal/2024/01/02/x.jsonl", [line("x")])  # the same again: a late sender
            await mover.catch_up()
            return await spine.marks(mover)

    assert spine.run(go()) == ["x"]


def test_a_file_that_is_written_to_is_not_retired_and_its_rows_come_back(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            await mover.archive.store("journal/2024/01/02/a.jsonl", [line("a")])
            await mover.archive.append("journal/2024/01/02/b.jsonl", line("b"))
            await mover.archive.store("journal/2024/01/02/c.jsonl", [line("c")])
            await mover.catch_up()
            assert await retire(mover) == 2
            await mover.catch_up()
            return await spine.marks(mover)

    assert spine.run(go()) == ["b"]


def test_what_somebody_put_into_the_archive_by_hand_stops_nothing(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            folder = tmp_path / "archive" / DAY
            await mover.archive.store(f"{DAY}/x.jsonl", [line("x")])
            (folder / "notes (copy).txt").write_bytes(b"mine\n")
            (folder / "my folder").mkdir()
            (folder / "empty.jsonl").touch()
            mover.tell("journal/../../etc/passwd")
            await mover.catch_up()
            assert mover.state.caught_up
            assert await retire(mover) == 2
            return await spine.marks(mover), sorted(path.name for path in folder.iterdir())

    assert spine.run(go()) == ([], ["my folder", "notes (copy).txt"])


@pytest.mark.parametrize("renamed", [1, 2])
def test_a_rebuild_that_is_killed_between_its_renames_leaves_a_whole_store(tmp_path, renamed):
    async def die():
        async with spine.opened(tmp_path) as mover:
            await Journal(mover.archive).write("mark", title="one")
            await mover.catch_up()
            command = mover.store.driver.command
            count = 0

            async def dying(sql, parameters=None):
                nonlocal count
                if count == renamed:
                    raise Killed
                await command(sql, parameters)
                count += sql.startswith("RENAME")

            mover.store.driver.command = dying
            with pytest.raises(Killed):
                await rebuild(mover)

    async def look():
        async with spine.opened(tmp_path) as mover:
            before = await spine.marks(mover)
            await mover.catch_up()
            names = await mover.store.query("SELECT name FROM system.databases WHERE name LIKE 'lae%'")
            return before, await spine.marks(mover), {row["name"] for row in names} - {f"lae{SUFFIX}"}

    spine.run(die())
    assert spine.run(look()) == (["one"], ["one"], {"lae"})


def test_a_rebuild_whose_second_rename_fails_keeps_the_old_tables(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            await Journal(mover.archive).write("mark", title="one")
            await mover.catch_up()
            command = mover.store.driver.command

            async def failing(sql, parameters=None):
                if sql.startswith(f"RENAME DATABASE lae{SUFFIX}"):
                    raise StoreError("disk full")
                await command(sql, parameters)

            mover.store.driver.command = failing
            with pytest.raises(StoreError):
                await rebuild(mover)
            await Journal(mover.archive).write("mark", title="two")
            await mover.catch_up()
            return await spine.marks(mover)

    assert spine.run(go()) == ["one", "two"]


def test_a_rebuild_does_not_leave_out_a_root_that_is_silent(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            await Journal(mover.archive).write("mark", title="one")
            await mover.catch_up()
            mover.archive.roots[0].hang_after = 0.0  # also for the probe, which would find it well again
            mover.archive.roots[0].health = "hanging"
            with pytest.raises(Exception, match="does not answer"):
                await rebuild(mover)
            return await spine.marks(mover)

    assert spine.run(go()) == ["one"]


def test_a_query_between_the_renames_of_a_rebuild_is_answered(tmp_path):
    async def go():
        async with spine.opened(tmp_path) as mover:
            await Journal(mover.archive).write("mark", title="one")
            await mover.catch_up()
            command = mover.store.driver.command
            answers = []

            async def asked(sql, parameters=None):
                await command(sql, parameters)
                if sql.startswith("RENAME") and not answers:
                    answers.append(asyncio.create_task(spine.marks(mover)))
                    await asyncio.sleep(0.5)  # the query has failed by then; it must not be told to whoever asked

            mover.store.driver.command = asked
            await rebuild(mover)
            return await answers[0]

    import asyncio

    assert spine.run(go()) == ["one"]


def test_a_ledger_that_cannot_be_written_is_waited_for(tmp_path):
    """A full disk: serve must go on answering, and the mover with it when there is room."""
    import asyncio
    import sqlite3

    async def go():
        async with spine.opened(tmp_path) as mover:
            await Journal(mover.archive).write("mark", title="one")
            begin = mover.ledger.begin
            failed = []

            def full(batch, **options):
                if not failed:
                    failed.append(True)
                    raise sqlite3.OperationalError("database or disk is full")
                begin(batch, **options)

            mover.ledger.begin = full
            stop = asyncio.Event()
            running = asyncio.create_task(mover.run(stop))
            async with asyncio.timeout(60):
                while not running.done() and await spine.marks(mover) != ["one"]:
                    await asyncio.sleep(0.1)
            assert not running.done()
            stop.set()
            await running
            return mover.state.failures

    assert spine.run(go()) == 1
