"""Fresh reports and a backlog share each batch: what is shown is the order in which rows arrive, never the time it takes."""

import asyncio
import errno
import os

import pytest
import spine

from lae_monitor.archive import Journal
from lae_monitor.mover import mover as module
from lae_monitor.mover import sweep, waiting
from lae_monitor.store import Store

LINE = b'{"time":"2026-11-22T00:00:00Z","what":"mark","title":"fresh"}\n'
BACKLOG = 120
BATCH = 20


class Recording(Store):
    """Remembers the titles of each batch, in the order of arrival."""

    batches: list

    async def insert(self, table, rows, spans, token):
        if table == "events":
            self.batches.append([row.title for row in rows])
        await super().insert(table, rows, spans, token)


def recording():
    return type("Recording", (Recording,), {"batches": []})


async def write_backlog(mover, day: str) -> None:
    for number in range(BACKLOG):
        line = f'{{"time":"2026-11-22T00:00:00Z","what":"mark","title":"old {number:03}"}}\n'
        await mover.archive.append(f"journal/{day}/p{number}.jsonl", line.encode())


def batches_with_hints(tmp_path, monkeypatch, send_fresh):
    """The batches of a mover that has BACKLOG files of another day before it when three fresh files are written."""
    monkeypatch.setattr(waiting, "BATCH_FILES", BATCH)
    monkeypatch.setattr(module, "BATCH_SECONDS", 1000)  # on a slow machine batches get smaller
    store_class = recording()

    async def go():
        async with spine.opened(tmp_path, store_class) as mover:
            await write_backlog(mover, "2026/11/22")
            await mover._sweeps.sweep(full=True)
            await mover.step()
            await send_fresh(mover)
            while await mover.step():
                pass
            assert len(mover._waiting) == 0
        return store_class.batches

    return spine.run(go())


async def three_fresh(mover):
    for number in range(3):
        span = await Journal(mover.archive).write("mark", title=f"fresh {number}")
        mover.tell(span.path)


def test_a_hint_is_in_the_next_batch_and_the_backlog_goes_on(tmp_path, monkeypatch):
    batches = batches_with_hints(tmp_path, monkeypatch, three_fresh)
    assert all(title.startswith("old") for title in batches[0])
    assert {title for title in batches[1] if title.startswith("fresh")} == {"fresh 0", "fresh 1", "fresh 2"}
    assert sum(title.startswith("old") for title in batches[1]) >= BATCH // 2, "the backlog has its half too"
    arrived = [title for batch in batches for title in batch]
    assert len(arrived) == len({*arrived}) == BACKLOG + 3


def test_many_hints_leave_the_backlog_its_half(tmp_path, monkeypatch):
    async def flood(mover):
        for number in range(2 * BATCH):
            path = f"journal/{module.time.strftime('%Y/%m/%d')}/f{number}.jsonl"
            line = f'{{"time":"2026-11-22T00:00:00Z","what":"mark","title":"fresh {number}"}}\n'
            await mover.archive.append(path, line.encode())
            mover.tell(path)

    batches = batches_with_hints(tmp_path, monkeypatch, flood)
    for batch in batches[1:3]:
        assert abs(sum(title.startswith("old") for title in batch) - BATCH // 2) <= waiting.AT_ONCE


def test_hints_of_an_import_are_backlog(tmp_path, monkeypatch):
    """An import of 100,000 old reports sends as many hints; a fresh report must not wait behind them."""

    async def imported_then_fresh(mover):
        for number in range(2 * BATCH):
            path = f"journal/2016/01/02/p{number}.jsonl"
            line = f'{{"time":"2016-01-02T00:00:00Z","what":"mark","title":"imported {number}"}}\n'
            await mover.archive.append(path, line.encode())
            mover.tell(path)
        await three_fresh(mover)

    batches = batches_with_hints(tmp_path, monkeypatch, imported_then_fresh)
    assert sum(title.startswith("fresh") for title in batches[1]) == 3


def test_a_growing_file_of_the_backlog_is_in_a_batch_once(tmp_path):
    """Its hint comes while its piece is being read."""

    async def go():
        async with spine.opened(tmp_path) as mover:
            span = await Journal(mover.archive).write("mark", title="one")
            await mover._sweeps.sweep(full=True)

            async def hinted_meanwhile(path):
                mover.tell(path)
                return await mover._next(path)

            pieces = await mover._waiting.collect(hinted_meanwhile, 100)
            assert [piece.pending.span for piece in pieces] == [span]

    spine.run(go())


@pytest.mark.parametrize("word", ["hint", "nothing"])
def test_a_sweep_does_not_hold_hints_up(tmp_path, monkeypatch, word):
    """A first sweep of a large archive takes long: what a hint names is moved meanwhile."""

    async def go():
        async with spine.opened(tmp_path) as mover:
            span = await Journal(mover.archive).write("mark", title="fresh")
            swept, go_on = asyncio.Event(), asyncio.Event()

            async def slow(*_args, **_options):
                swept.set()
                await go_on.wait()
                return
                yield

            monkeypatch.setattr(sweep.Looks, "sweep", slow)
            step = asyncio.create_task(mover.step())
            await swept.wait()
            if word == "hint":
                mover.tell(span.path)
                assert await asyncio.wait_for(step, 60)
                assert await spine.marks(mover) == ["fresh"]
                assert not mover.state.caught_up
            go_on.set()
            if word == "nothing":
                assert not await asyncio.wait_for(step, 60)
                assert mover.state.caught_up

    spine.run(go())


def test_a_file_that_cannot_be_read_holds_nothing_up(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FIRST_BACKOFF", 3600)  # nothing but a hint ends the wait
    monkeypatch.setattr(module, "MAX_BACKOFF", 3600)

    async def go():
        async with spine.opened(tmp_path) as mover:
            bad = (await Journal(mover.archive).write("mark", title="on a bad sector")).path
            settle = mover.archive.settle

            async def failing(path):
                if path == bad:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                return await settle(path)

            monkeypatch.setattr(mover.archive, "settle", failing)
            moved, stop = asyncio.Event(), asyncio.Event()
            mover.on_moved = moved.set
            task = asyncio.create_task(mover.run(stop))
            while not mover.state.failures:
                await asyncio.sleep(0.01)
            assert mover.state.caught_up, "alarms and retention go on"
            await mover.archive.append("journal/2026/11/22/other.jsonl", LINE)
            await asyncio.wait_for(moved.wait(), 60)
            stop.set()
            await task
            return await spine.marks(mover)

    assert spine.run(go()) == ["fresh"]
