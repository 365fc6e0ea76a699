"""A sweep finds all that was not moved, and does not look twice at what was: no hint is needed."""

import os
from contextlib import contextmanager

import pytest
import spine

from lae_monitor.mover import sweep
from lae_monitor.mover.sweep import Looks

DAY = "crashes/20261122"
NOW = 1_795_341_085.0  # on that day


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(sweep, "SETTLED", 0.0)


@contextmanager
def looking(archive):
    """The folders that are listed, and how many names each listing gave."""
    listed, real = {}, archive.entries

    async def entries(folder, passing=()):
        found = await real(folder, passing)
        listed[folder] = len(found)
        return found

    archive.entries = entries
    yield listed
    archive.entries = real


async def found(looks, *, full=False):
    return sorted([path async for path in looks.sweep(["crashes", "journal"], full=full)])


def in_a_folder(tmp_path, test):
    """`test(mover, looks)`, without a store: files are moved when the ledger says so."""

    async def go():
        async with spine.without_store(tmp_path) as mover:
            del mover.ledger.moved  # the real one
            await test(mover, Looks(mover.archive, mover.find_reader, lambda: mover.ledger, lambda: NOW))

    spine.run(go())


async def put(mover, name, *, moved=False):
    path = f"{DAY}/{name}.zip"
    await mover.archive.store(path, [b"zip"])
    if moved:
        mover.ledger.set_moved([(path, 3)])
    return path


@pytest.mark.parametrize("few", [0, 1000])
def test_a_folder_whose_files_were_moved_is_listed_again_when_one_comes(tmp_path, monkeypatch, few):
    monkeypatch.setattr(sweep, "FEW", few)

    async def test(mover, looks):
        old = await put(mover, "old")
        assert await found(looks) == [old]
        assert await found(looks) == [old], "it was not moved yet"
        mover.ledger.set_moved([(old, 3)])
        await found(looks)
        with looking(mover.archive) as listed:
            assert await found(looks) == []
            assert DAY not in listed
            new = await put(mover, "new")
            assert await found(looks) == [new]
            assert listed[DAY] == (1 if few == 0 else 2)
            mover.ledger.set_moved([(new, 3)])
            for _ in range(3):
                listed.clear()
                assert await found(looks) == []
            assert DAY not in listed

    in_a_folder(tmp_path, test)


@pytest.mark.parametrize("few", [0, 1000])
def test_a_file_whose_rows_were_taken_back_is_found(tmp_path, monkeypatch, few):
    monkeypatch.setattr(sweep, "FEW", few)

    async def test(mover, looks):
        old = await put(mover, "old", moved=True)
        for _ in range(3):
            assert await found(looks) == []
        mover.ledger.rewind([old])
        assert await found(looks) == [old]

    in_a_folder(tmp_path, test)


def test_a_file_that_grows_is_found_though_its_folder_does_not_change(tmp_path):
    async def test(mover, looks):
        path = "journal/2026/11/22/p.jsonl"
        span = await mover.archive.append(path, b"{}\n")
        mover.ledger.set_moved([(path, span.end)])
        for _ in range(3):
            assert await found(looks) == []
        await mover.archive.append(path, b"{}\n")
        assert await found(looks) == [path]

    in_a_folder(tmp_path, test)


def test_a_full_sweep_believes_nothing(tmp_path):
    async def test(mover, looks):
        await put(mover, "old", moved=True)
        for _ in range(3):
            await found(looks)
        folder = tmp_path / "archive" / DAY
        before = folder.stat()
        new = await put(mover, "new")
        os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a clock that was set back may leave it
        assert await found(looks) == []
        assert await found(looks, full=True) == [new]

    in_a_folder(tmp_path, test)
