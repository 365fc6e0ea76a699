"""Power cuts: what the store and the mover's ledger did not sync is lost or torn, and every row is there after the next start.

LAE_CUTS sets how often; LAE_UNSYNCED takes the settings for merges away, LAE_UNCHECKED the check. Not the whole truth of a disk: names are never lost here, and what was synced is.
"""

import asyncio
import itertools
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lae_monitor.archive import Archive, Journal, Reserve

sys.path.insert(0, str(Path(__file__).parent))
CUTS = int(os.environ.get("LAE_CUTS", "10"))
HERE = Path(__file__).parent
MANY = 8  # lines that are written while the device has power
PACE = 0.1  # seconds between two lines at most
PATIENCE = 120

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or not Path("/dev/fuse").exists(), reason="NOT TESTED: power cuts need root and FUSE"),
]  # fmt: skip


class Device:
    """A mounted file system that can be cut off."""

    def __init__(self, folder: Path, mountpoint: Path):
        self._folder, self._mountpoint = folder, mountpoint
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "cutting_file_system.py"), str(folder), str(mountpoint)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        until = time.monotonic() + PATIENCE
        while not os.path.ismount(mountpoint):
            assert self._process.poll() is None and time.monotonic() < until, "not mounted"
            time.sleep(0.02)

    def cut(self, rng: random.Random) -> int:
        import cutting_file_system

        self._process.stdin.write("\n")
        self._process.stdin.flush()
        dirty = set(json.loads(self._process.stdout.readline()))
        self.end()
        return cutting_file_system.tear(self._folder, dirty, rng)

    def end(self) -> None:
        subprocess.run(["umount", "--lazy", str(self._mountpoint)], check=True)
        self._process.kill()
        self._process.communicate()


@pytest.mark.kills
@pytest.mark.timeout(120 + 30 * CUTS)
def test_no_row_is_missing_after_a_power_cut(tmp_path):
    seed = int(os.environ.get("LAE_SEED", random.randrange(2**32)))
    print("seed", seed)
    rng = random.Random(seed)
    disk, mounted = tmp_path / "disk", tmp_path / "mounted"
    for folder in (disk / "store", mounted):
        folder.mkdir(parents=True)
    (tmp_path / "store").symlink_to(mounted / "store")
    (tmp_path / "mover.db").symlink_to(mounted / "mover.db")
    acknowledged: list[str] = []
    serial = itertools.count()
    figures = {"torn": 0, "read again": 0, "broken": 0}

    async def write(journal: Journal) -> None:
        for _ in range(MANY):
            title = f"{next(serial):06}"
            await journal.write("mark", title=title, host=f"h{rng.randrange(4)}")
            acknowledged.append(title)
            await asyncio.sleep(rng.random() * PACE)

    async def one(journal: Journal, *, last: bool) -> None:
        device = Device(disk, mounted)
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(HERE / "power_driver.py"), str(tmp_path), stdout=asyncio.subprocess.PIPE, limit=2**24
        )
        try:
            line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
            assert line, "the store does not open"
            titles, again, broken = json.loads(line)
            assert sorted(titles) == acknowledged
            figures["read again"] += again
            figures["broken"] += broken
            if not last:
                await write(journal)
        finally:
            process.kill()
            await process.wait()
            figures["torn"] += device.cut(rng)

    async def cuts() -> None:
        archive = await Archive(
            [tmp_path / "archive"], "oracle", reserve=Reserve(), hints=tmp_path / "mover.sock"
        ).open()
        journal = Journal(archive)
        await write(journal)
        for number in range(CUTS + 1):
            await one(journal, last=number == CUTS)
        await archive.close()

    asyncio.run(cuts())
    print(figures)
    assert figures["torn"], "nothing was at risk: this tested nothing"
