"""A root that does not answer any more, as a dead network mount: the next one takes over, nothing else is delayed, and when it
answers again all is as before."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lae_monitor.archive import Archive, ArchiveError, Failed, Reserve
from lae_monitor.archive.homecoming import bring_home

sys.path.insert(0, str(Path(__file__).parent.parent / "archive"))
from archive_oracle import Oracle, on_disk

PATIENCE = 60.0
HANG_AFTER = 0.5

missing = [
    what
    for what, there in {
        "/dev/fuse": os.path.exists("/dev/fuse"),
        "fusermount3 (Debian: fuse3)": shutil.which("fusermount3") is not None,
        "root": os.geteuid() == 0,
    }.items()
    if not there
]
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing), reason=f"NOT TESTED: a root that hangs. Needs {', '.join(missing)}"),
]


class Mount:
    def __init__(self, folder: Path, path: Path):
        self.folder, self.path = folder, path
        folder.mkdir()
        path.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "hanging_file_system.py"), str(folder), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        end = time.monotonic() + PATIENCE
        while not os.path.ismount(path):
            assert self.process.poll() is None and time.monotonic() < end, "it did not mount"
            time.sleep(0.02)

    def _say(self, command: str, answer: str) -> None:
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        while (line := self.process.stdout.readline()) != answer + "\n":
            assert line, f"the file system ended: {self.process.wait(PATIENCE)}"

    def hang(self, *names: str) -> None:
        self._say(" ".join(("hang", *names)), "hanging")

    def go(self) -> None:
        self._say("go", "going")

    def stop(self) -> None:
        """Nobody serves it any more. Unlike a call that is being served, which nothing can interrupt, one that waits for
        that can be killed, as on a network mount whose server is gone."""
        self.process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.process.pid}/task")
        end = time.monotonic() + PATIENCE
        while {(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks.iterdir()} != {"T"}:
            assert time.monotonic() < end, "it does not stop"
            time.sleep(0.01)

    def close(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.go()
        subprocess.run(["fusermount3", "-u", "-z", str(self.path)], check=False)
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def mount(tmp_path):
    mount = Mount(tmp_path / "behind", tmp_path / "mount")
    try:
        yield mount
    finally:
        mount.close()


@contextlib.asynccontextmanager
async def opened(*roots: Path):
    archive = await Archive(roots, "p", reserve=Reserve(size=0), hang_after=HANG_AFTER).open()
    try:
        yield archive
    finally:
        await archive.close()


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("operation", ["fsync", "write", "all"])
def test_the_next_root_takes_over_and_the_first_one_comes_back(mount, tmp_path, operation):
    async def main():
        oracle = Oracle()
        away = tmp_path / "away"
        async with opened(mount.path / "root", away) as archive:
            assert await oracle.store(archive, "crashes/20261122/before.zip", 5000)
            assert await oracle.append(archive, "sonar/c/2026/11/22/h.csv", 100)
            mount.hang(operation)
            results = await asyncio.wait_for(
                asyncio.gather(
                    *(oracle.store(archive, f"crashes/20261122/{number}.zip", 5000) for number in range(20)),
                    *(oracle.append(archive, "sonar/c/2026/11/22/h.csv", 100) for _ in range(20)),
                    oracle.journal(archive, "while it hangs"),
                ),
                PATIENCE,
            )
            assert all(results), "refused, although another root works"
            assert archive.health()[0]["health"] == "hanging"
            assert await oracle.upload(archive, "crashes/20261122/upload.zip", 5000)
            oracle.check(on_disk(mount.folder / "root"), on_disk(away))
            mount.go()
            await until(lambda: archive.health()[0]["health"] == "ok")
            assert await oracle.store(archive, "crashes/20261122/after.zip", 5000)
            assert "crashes/20261122/after.zip" in on_disk(mount.folder / "root"), "home takes what comes next"
            assert await oracle.append(archive, "sonar/c/2026/11/22/h.csv", 100)
        twice = [
            path for path in on_disk(mount.folder / "root") if path in on_disk(away) and path.startswith("crashes/")
        ]
        print(operation, "finished at home after it had gone to the fallback:", twice)
        async with opened(mount.path / "root", away) as archive:
            await bring_home(archive)
        oracle.check(on_disk(mount.folder / "root"))
        assert on_disk(away) == {}
        assert [name for name in os.listdir(mount.folder / "root/.tmp/p") if name != "lock"] == []

    asyncio.run(main())


def test_what_hung_before_it_had_a_name_gets_none_when_it_goes_on(mount, tmp_path):
    async def main():
        async with opened(mount.path / "root", tmp_path / "away") as archive:
            mount.hang("fsync")
            await asyncio.gather(
                *(archive.store(f"crashes/20261122/{number}.zip", [b"x" * 5000]) for number in range(8))
            )
            mount.go()
            await until(lambda: archive.health()[0]["health"] == "ok")
            await archive.store("crashes/20261122/after.zip", [b"x"])
        assert sorted(on_disk(mount.folder / "root")) == ["crashes/20261122/after.zip"]
        assert len(on_disk(tmp_path / "away")) == 8

    asyncio.run(main())


def test_the_other_root_is_not_delayed(mount, tmp_path):
    """Stores on the good root finish while the other one still hangs, and readers are answered."""

    async def main():
        async with opened(tmp_path / "home", mount.path / "root") as archive:
            await archive.store("crashes/20261122/x.zip", [b"x"])
            mount.hang("all")
            await asyncio.wait_for(archive.roots[1].probe(), PATIENCE)
            assert archive.health()[1]["health"] == "hanging"
            for number in range(50):
                await asyncio.wait_for(archive.store(f"crashes/20261122/{number}.zip", [b"x"]), PATIENCE)
                await asyncio.wait_for(archive.append("journal/x.jsonl", b"{}\n"), PATIENCE)
            assert len(await asyncio.wait_for(archive.entries("crashes/20261122"), PATIENCE)) == 51
            with pytest.raises(FileNotFoundError, match="hangs"):
                await asyncio.wait_for(archive.settle("crashes/20261122/none.zip"), PATIENCE)
            assert "hanging" in archive.describe()
            assert archive.health()[1]["health"] == "hanging"

    asyncio.run(main())


def test_it_opens_although_its_only_root_hangs_and_works_when_that_answers(mount):
    async def main():
        mount.hang("all")
        async with opened(mount.path / "root") as archive:
            with pytest.raises(Failed) as refused:
                await asyncio.wait_for(archive.store("crashes/20261122/x.zip", [b"x"]), PATIENCE)
            assert "hanging" in refused.value.detail
            mount.go()
            await until(lambda: archive.health()[0]["health"] == "ok")
            await archive.store("crashes/20261122/x.zip", [b"x"])

    asyncio.run(main())


def test_an_upload_on_a_root_that_hangs_is_refused_and_leaves_nothing(mount, tmp_path):
    async def main():
        async with opened(mount.path / "root", tmp_path / "away") as archive:
            async with archive.upload() as upload:
                await upload.write(b"x" * 5000)
                mount.hang("all")
                with pytest.raises(ArchiveError):
                    await asyncio.wait_for(upload.commit("crashes/20261122/x.zip"), PATIENCE)
            async with archive.upload() as upload:
                await upload.write(b"z" * 5000)
                await upload.commit("crashes/20261122/x.zip")
            mount.go()
            await until(lambda: archive.health()[0]["health"] == "ok")
            await until(lambda: not any(name.isdigit() for name in os.listdir(mount.folder / "root/.tmp/p")))
        assert on_disk(mount.folder / "root") == {}
        assert on_disk(tmp_path / "away") == {"crashes/20261122/x.zip": b"z" * 5000}

    asyncio.run(main())


PROGRAM = """
import asyncio, sys
from lae_monitor.archive import Archive, ArchiveError, Reserve
async def main():
    archive = await Archive([sys.argv[1]], "exiting", reserve=Reserve(size=0), hang_after=0.3).open()
    await archive.store("crashes/20261122/x.zip", [b"x"])
    print("stored", flush=True)
    sys.stdin.readline()
    try:
        await asyncio.gather(*(archive.store(f"crashes/20261122/{n}.zip", [b"x" * 5000]) for n in range(20)))
    except ArchiveError as error:
        print(error.code, flush=True)
    await archive.close()
    print("closed", flush=True)
asyncio.run(main())
"""


def test_the_process_can_end_while_a_root_hangs(mount):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(mount.path / "root")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        assert process.stdout.readline() == "stored\n"
        mount.stop()
        out, _ = process.communicate("go\n", timeout=PATIENCE)
        assert out.split() == ["archive_failed", "closed"]
        assert process.returncode == 0
    finally:
        mount.process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(PATIENCE)
