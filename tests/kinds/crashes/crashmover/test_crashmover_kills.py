"""kill -9 of the crashmover at random moments: every crash is at every destination in the end, once, and nothing half is.

LAE_KILLS sets how often.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

KILLS = int(os.environ.get("LAE_KILLS", "15"))
DRIVER = Path(__file__).parent / "crashmover_driver.py"
DESTINATIONS = ("antenna", "socorro", "new", "tar", "parts")


class Movers:
    """Crashmovers, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, DRIVER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self) -> int:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline().split()[1])

    def end(self, pid: int, number: int) -> int:
        os.kill(pid, number)
        return int(self.process.stdout.readline().split()[1])

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


def whole_so_far(world):
    """What any reader may see at any moment: no file but whole ones."""
    by_id = {crash.id: crash for crash in world.crashes}
    for path in (world.folder / "antenna").glob("*/*/*"):
        crash = by_id[path.stem]
        if path.parent.name == "raw_crash":
            assert json.loads(path.read_bytes()) == crash.document
            for name in ["dump_names", *crash.dumps]:
                suffix = ".json" if name == "dump_names" else ""
                assert (path.parent.parent / name / f"{crash.id}{suffix}").is_file(), "the raw crash came first"
        elif path.parent.name == "dump_names":
            assert json.loads(path.read_bytes()) == sorted(crash.dumps)
        else:
            assert path.read_bytes() == crash.dumps[path.parent.name]
    for style in ("legacy", "new"):
        for link in (world.folder / style).glob("*/date/*/*/*"):
            assert (link / f"{link.name}.json").is_file(), "a link leads to no crash"


def everything(world):
    """In the end."""
    whole_so_far(world)
    ids = sorted(crash.id for crash in world.crashes)
    assert sorted(path.stem for path in (world.folder / "antenna").glob("*/raw_crash/*")) == ids
    for style, back in (("legacy", "{}"), ("new", "date_root")):
        links = list((world.folder / style).glob("*/date/*/*/*"))
        assert sorted(link.name for link in links) == ids, "once each"
        for link in links:
            assert (link / back.format(link.name)).resolve() == link.parent.resolve()
    for folder in ("tar", "parts"):
        names = []
        for path in (world.folder / folder).iterdir():
            with tarfile.open(path) as tar:
                for info in tar:
                    names.append(info.name)
                    data = tar.extractfile(info).read()
                    crash = next(crash for crash in world.crashes if crash.id == info.name[:36])
                    wanted = {
                        f"{crash.id}.json": json.dumps(crash.document, sort_keys=True).encode(),
                        f"{crash.id}.dump": crash.dumps["upload_file_minidump"],
                        f"{crash.id}.memory_report.dump": crash.dumps["memory_report"],
                    }
                    assert data == wanted[info.name]
        assert sorted(names) == sorted(
            f"{crash_id}{rest}" for crash_id in ids for rest in (".json", ".dump", ".memory_report.dump")
        )
    for name in ("antenna", "legacy", "new", "tar", "parts"):
        assert not list((world.folder / name).rglob(".*")), "something temporary was left"


@pytest.mark.kills
@pytest.mark.timeout(120 + 3 * KILLS)
def test_killed_at_any_moment_nothing_is_lost_doubled_or_half(world):
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    movers = Movers(world.folder)
    try:
        for _ in range(KILLS):
            for _ in range(3):
                size = chance.choice((10, 2000, 300_000))
                world.put(
                    digit=chance.randrange(5),
                    day=chance.choice(("261121", "261122")),
                    dumps={"upload_file_minidump": chance.randbytes(size), "memory_report": chance.randbytes(500)},
                )
            pid = movers.start()
            threading.Event().wait(chance.random() * 0.2)  # the moment of the kill is what is tried
            assert movers.end(pid, signal.SIGKILL) == -signal.SIGKILL
            whole_so_far(world)
        pid = movers.start()
        deadline = time.monotonic() + 120
        while any(world.sent(name) < len(world.crashes) for name in DESTINATIONS) and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        assert movers.end(pid, signal.SIGTERM) == 0
    finally:
        movers.close()
    assert {name: world.sent(name) for name in DESTINATIONS} == dict.fromkeys(DESTINATIONS, len(world.crashes))
    assert world.dead() == []
    everything(world)
    assert all(crash.path.exists() for crash in world.crashes), "the archive keeps everything"


def test_a_signal_lets_it_finish_what_it_has_begun(world):
    movers = Movers(world.folder)

    def written():
        return {path.stem for path in (world.folder / "antenna").glob("*/raw_crash/*")}

    try:
        for _ in range(5):
            for _ in range(20):
                world.put(digit=1)
            before = written()
            pid = movers.start()
            deadline = time.monotonic() + 120
            while written() == before and time.monotonic() < deadline:
                threading.Event().wait(0.005)
            assert movers.end(pid, signal.SIGTERM) == 0
            assert world.sent("antenna") == len(written()), "what was written is known to be"
    finally:
        movers.close()
