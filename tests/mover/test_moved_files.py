"""A file that a gatherer moved shows once, at its new place; nothing is taken back that is still there."""

import json

import pytest
import spine

from lae_monitor.mover.moved_files import SETTLED, MovedFiles

OLD, NEW = "journal/2026/11/20/old.jsonl", "journal/2026/11/20/new.jsonl"


def line(title: str) -> bytes:
    return f'{{"time":"2026-11-20T00:00:00Z","what":"mark","title":"{title}"}}\n'.encode()


async def decide(mover, path=OLD):
    """As a gatherer's journal says it."""
    value = json.dumps({"to": NEW, "why": "claimed"})
    entry = {"what": "decision", "time": "2026-11-21T00:00:00Z", "subject": "moved file", "about": path, "value": value}
    await mover.archive.append("journal/2026/11/21/gather-incidents.jsonl", json.dumps(entry).encode() + b"\n")


def moved(tmp_path, steps):
    async def go():
        async with spine.opened(tmp_path) as mover:
            await mover.archive.store(OLD, [line("it")])
            await mover.archive.store("journal/2026/11/20/other.jsonl", [line("other")])
            await mover.catch_up()
            return await steps(mover)

    return spine.run(go())


def test_what_was_read_from_the_old_place_is_taken_back_once(tmp_path):
    async def steps(mover):
        await mover.archive.store(NEW, [line("it")])
        await decide(mover)
        await mover.archive.remove(OLD)
        await mover.catch_up()
        files = MovedFiles(mover)
        before = await spine.marks(mover)
        taken = [await files.take_back(), await files.take_back()]
        again = await MovedFiles(mover).take_back()
        return before, taken, again, await spine.marks(mover), mover.ledger.moved(OLD)

    before, taken, again, after, cursor = moved(tmp_path, steps)
    assert before == ["it", "it", "other"]
    assert (taken, again) == ([1, 0], 0)
    assert after == ["it", "other"]
    assert cursor == 0


@pytest.mark.parametrize("later", [0.0, 10 * SETTLED])
def test_nothing_is_taken_back_while_the_old_file_is_there(tmp_path, later):
    """It is not yet removed, or came back after the claim was taken back."""

    async def steps(mover):
        await decide(mover)
        await mover.catch_up()
        files = MovedFiles(mover, lambda: 1795219200.0 + later)  # 2026-11-21
        first = await files.take_back()
        await mover.archive.remove(OLD)
        return first, await files.take_back(), await spine.marks(mover)

    first, second, marks = moved(tmp_path, steps)
    assert first == 0
    assert second == (1 if later < SETTLED else 0)
    assert marks == (["other"] if second else ["it", "other"])


def test_a_root_that_hangs_says_nothing_of_what_is_on_it(tmp_path):
    async def steps(mover):
        await decide(mover)
        await mover.catch_up()
        (tmp_path / "archive" / OLD).rename(tmp_path / "aside")
        (root,) = mover.archive.roots
        for task in mover.archive._tasks:
            task.cancel()  # no probe finds out that it is well
        root.health = "hanging"
        return await MovedFiles(mover).take_back(), await spine.marks(mover)

    assert moved(tmp_path, steps) == (0, ["it", "other"])
