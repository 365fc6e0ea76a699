"""A full disk: refused at once with the reason, never half-stored, and all is well again when there is space."""

import asyncio
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from lae_monitor.archive import Archive, Full, Journal, Reserve
from lae_monitor.archive.files import ROOM
from lae_monitor.archive.homecoming import bring_home
from lae_monitor.core.limits import KiB, MiB
from lae_monitor.core.rows import Span

sys.path.insert(0, str(Path(__file__).parent.parent / "archive"))
from archive_oracle import Oracle, on_disk

PATIENCE = 60.0
SIZE = 8 * MiB

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: a full disk. Mounting a small file system needs root"),
]


@contextmanager
def small_disk(path: Path):
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@asynccontextmanager
async def opened(*roots: Path, reserve: int = 0):
    archive = await Archive(roots, "p", reserve=Reserve(size=reserve)).open()
    try:
        yield archive
    finally:
        await archive.close()


def fill(disk: Path) -> Path:
    """Somebody else takes all there is."""
    hog = disk / "hog"
    with hog.open("wb", buffering=0) as file:
        for piece in (bytes(64 * KiB), b"0"):
            with suppress(OSError):
                while True:
                    file.write(piece)
    return hog


async def until(condition, what: str):
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)
    assert condition(), what


def ok(archive: Archive, number: int = 0):
    return lambda: archive.health()[number]["health"] == "ok"


def test_refused_with_the_reason_and_well_again_by_itself(tmp_path):
    async def main(disk):
        oracle = Oracle()
        async with opened(disk / "root") as archive:
            assert await oracle.store(archive, "crashes/20261122/before.zip", 100 * KiB)
            assert await oracle.append(archive, "sonar/c/2026/11/22/h.csv", 1000)
            hog = fill(disk)
            begun = time.monotonic()
            for attempt in (
                archive.store("crashes/20261122/a.zip", [bytes(100 * KiB)]),
                archive.append("sonar/c/2026/11/22/h.csv", bytes(50 * KiB) + b"\n"),
                upload(archive, "crashes/20261122/b.zip", 500 * KiB),
            ):
                with pytest.raises(Full) as refused:
                    await asyncio.wait_for(attempt, PATIENCE)
                assert refused.value.status == 503
                assert str(disk / "root") in refused.value.detail
            print(f"three refusals in {time.monotonic() - begun:.3f} s")
            assert archive.health()[0]["health"] == "full"
            assert [name for name in on_disk(disk / "root") if "before" not in name] == ["sonar/c/2026/11/22/h.csv"]
            hog.unlink()
            await until(ok(archive), "it recovers by itself")
            assert await oracle.store(archive, "crashes/20261122/a.zip", 100 * KiB)
            assert await oracle.append(archive, "sonar/c/2026/11/22/h.csv", 1000)
            assert await oracle.upload(archive, "crashes/20261122/b.zip", 500 * KiB)
        oracle.check(on_disk(disk / "root"))
        assert [name for name in os.listdir(disk / "root/.tmp/p") if name != "lock"] == []

    with small_disk(tmp_path / "disk") as disk:
        asyncio.run(main(disk))


async def upload(archive: Archive, path: str, size: int) -> Span:
    async with archive.upload() as file:
        for _ in range(0, size, 64 * KiB):
            await file.write(bytes(64 * KiB))
        return await file.commit(path)


def test_it_opens_on_a_full_disk_and_takes_reports_when_there_is_space(tmp_path):
    async def main(disk):
        hog = fill(disk)
        async with opened(disk / "root") as archive:
            with pytest.raises(Full):
                await archive.store("crashes/20261122/a.zip", [b"x"])
            hog.unlink()
            await until(ok(archive), "it recovers by itself")
            await archive.store("crashes/20261122/a.zip", [b"x"])

    with small_disk(tmp_path / "disk") as disk:
        asyncio.run(main(disk))


def test_the_reserve_stays_free(tmp_path):
    reserve = 3 * MiB

    async def main(disk):
        oracle = Oracle()
        async with opened(disk / "root", reserve=reserve) as archive:
            number = 0
            while await oracle.store(archive, f"crashes/20261122/{number}.zip", 100 * KiB):
                number += 1
            assert free(disk) >= reserve
            assert free(disk) < reserve + ROOM + 200 * KiB, "refused long before the reserve"
            # What is too large for what is left is refused; what fits is not.
            for path in list((disk / "root/crashes/20261122").iterdir())[:15]:
                path.unlink()
            await until(ok(archive), "there is room again")
            with pytest.raises(Full):
                await archive.store("crashes/20261122/large.zip", [bytes(4 * MiB)])
            assert archive.health()[0]["health"] == "ok", "one large report stops everybody's"
            await archive.store("crashes/20261122/small.zip", [bytes(50 * KiB)])
            with pytest.raises(Full):
                await upload(archive, "crashes/20261122/large.zip", 4 * MiB)
            assert free(disk) >= reserve

    with small_disk(tmp_path / "disk") as disk:
        asyncio.run(main(disk))


def free(disk: Path) -> int:
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


def test_a_fallback_root_takes_over_and_the_sender_never_knows(tmp_path):
    async def main(disk):
        oracle = Oracle()
        away = tmp_path / "away"
        async with opened(disk / "root", away) as archive:
            journal = Journal(archive)
            await oracle.append(archive, "sonar/c/2026/11/22/h.csv", 1000)
            hog = fill(disk)
            for round_ in range(3):
                assert await oracle.store(archive, f"crashes/20261122/{round_}.zip", 100 * KiB)
                assert await oracle.append(archive, "sonar/c/2026/11/22/h.csv", 50 * KiB)
                assert await oracle.upload(archive, f"crashes/20261122/upload-{round_}.zip", 300 * KiB)
                span = await journal.write("mark", text="while home is full")
                assert b"while home is full" in await archive.read(span)
            oracle.check(on_disk(disk / "root"), on_disk(away))
            hog.unlink()
            await until(ok(archive), "home recovers by itself")
            assert await oracle.store(archive, "crashes/20261122/home.zip", 1000)
            assert (disk / "root/crashes/20261122/home.zip").exists(), "home takes what comes next"
            assert await oracle.append(archive, "sonar/c/2026/11/22/h.csv", 1000)
            assert oracle.acknowledged[-1][0].path in on_disk(disk / "root")
        async with opened(disk / "root", away) as archive:
            assert await bring_home(archive) > 0
        oracle.check(on_disk(disk / "root"))
        assert on_disk(away) == {}

    with small_disk(tmp_path / "disk") as disk:
        asyncio.run(main(disk))
