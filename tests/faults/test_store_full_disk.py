"""The store's disk is full: the mover waits and touches nothing, and goes on by itself when there is room; the store opens again."""

import asyncio
import os
import sqlite3
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "mover"))
sys.path.insert(0, str(Path(__file__).parent))
import spine
import test_archive_full_disk as disks

from lae_monitor.archive import Journal
from lae_monitor.core.limits import MiB
from lae_monitor.store import StoreError

pytestmark = disks.pytestmark


def test_a_full_disk_deletes_nothing_and_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(disks, "SIZE", 192 * MiB)

    async def moves_until_it_fails(mover):
        failures = 0
        for number in range(12):
            await Journal(mover.archive).write("mark", title=f"{number:04}")
            try:
                await mover._sweeps.sweep(full=True)
                await mover.step()
            except (StoreError, sqlite3.Error) as error:
                assert getattr(error, "transient", True), error
                failures += 1
        assert failures, "the disk was not full"
        with pytest.raises(StoreError) as refused:
            await mover.store.forget(["journal/2026/11/22/x.jsonl"])
        assert refused.value.transient, "a DELETE on a full disk leaves files by which the store does not open"
        assert not mover.ledger.quarantined()

    async def go(disk):
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "store").symlink_to(disk / "store")
        (disk / "store").mkdir()
        async with spine.opened(tmp_path / "state") as mover:
            await mover.catch_up()
            hog = disks.fill(disk)
            await moves_until_it_fails(mover)
            assert [file for file in disk.rglob("mutation_*.txt") if file.stat().st_size == 0] == []
            hog.unlink()
            await mover.catch_up()
            assert await spine.marks(mover) == [f"{number:04}" for number in range(12)]
        async with spine.opened(tmp_path / "state") as mover:
            assert len(await spine.marks(mover)) == 12

    with disks.small_disk(tmp_path / "disk") as disk:
        asyncio.run(go(disk))


def test_an_empty_file_of_a_failed_delete_does_not_keep_the_store_shut(tmp_path):
    """As an earlier release left it."""

    async def go():
        async with spine.opened(tmp_path) as mover:
            await Journal(mover.archive).write("mark", title="one")
            await mover.catch_up()
        for version in (tmp_path / "store" / "store").rglob("format_version.txt"):
            version.with_name("mutation_5.txt").touch()
        async with spine.opened(tmp_path) as mover:
            return await spine.marks(mover)

    assert os.geteuid() == 0
    assert spine.run(go()) == ["one"]
