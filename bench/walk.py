"""How many of our files one thing takes that a monitor does, and how often it goes from one file to another.

A profiler in the gatherer's process, or in that of `serve`, sees each call. What one of them takes that comes after others is
the least of several, so that what goes on beside it does not count.
"""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from bench.crashes import MEDIA, report
from bench.figures import ROOT, Figure, sized
from bench.incidents import wait
from bench.monitor import free_ports, scratch
from lae_monitor.core.time import format_time

TIMES = sized(5, 1)  # each is done; the least counts
OURS = str(ROOT / "lae_monitor") + "/"
REST = 0.3  # seconds for what follows a reply: receipts, hints


class Walk:
    """Which files a process of ours was in since `begin`."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.changes = 0
        self._at: dict[int, str] = {}  # by thread

    def call(self, frame: FrameType, event: str, _argument: Any) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(OURS):
            self.files.add(file)
            thread = threading.get_ident()
            self.changes += self._at.get(thread) != file
            self._at[thread] = file

    def answer(self) -> None:
        """Prints what there was since the line of standard input before, for each line."""
        for _ in sys.stdin:
            files, changes = self.files, self.changes
            self.files, self.changes = set(), 0
            print(json.dumps({"files": sorted(files), "changes": changes}), flush=True)


def drive() -> None:
    """`lae-monitor`, with the profiler."""
    walk = Walk()
    threading.Thread(target=walk.answer, daemon=True).start()
    threading.setprofile(walk.call)
    sys.setprofile(walk.call)
    from lae_monitor.cli import main  # noqa: PLC0415 - seen by the profiler

    main()


@contextmanager
def walked(config: Path, port: int, *arguments: str) -> Iterator[Callable[[Callable[[], Any]], tuple[int, int]]]:
    """A process of ours; gives what measures something that it does."""
    command = [sys.executable, "-m", "bench.walk", "--config", str(config), *arguments]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )

    def ask() -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        print(file=process.stdin, flush=True)
        found: dict[str, Any] = json.loads(process.stdout.readline())
        return found

    def measure(act: Callable[[], Any]) -> tuple[int, int]:
        seen = []
        for _ in range(TIMES):
            ask()
            act()
            time.sleep(REST)
            seen.append(ask())
        least = min(seen, key=lambda one: one["changes"])
        return len(least["files"]), least["changes"]

    try:
        wait(lambda: _answers(port), "an answer")
        yield measure
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/__lbheartbeat__").close()
    except OSError:
        return False
    return True


def _post(url: str, body: bytes, media: str) -> None:
    urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": media})).read()


def run() -> list[Figure]:
    figures: list[Figure] = []

    def note(name: str, found: tuple[int, int]) -> None:
        files, changes = found
        figures.append(Figure(f"{name}: files", files, "", f"{changes} changes of file"))

    with scratch() as state:
        web, crashes, sonar = free_ports(3)
        config = state / "lae-monitor.toml"
        config.write_text(
            f'[state]\npath = "{state / "state"}"\n[archive]\nreserve = "64 MiB"\n[web]\nlisten = "127.0.0.1:{web}"\n'
            f'[gatherers.crashes]\nlisten = "127.0.0.1:{crashes}"\n'
            f'[gatherers.sonar]\nlisten = "127.0.0.1:{sonar}"\nauth_file = ""\n'
        )
        line = f"v=0.8.0,host=ml1,user=u,cmd=c,job=1,cores=8,time={format_time(time.time())}\n".encode()
        samples = f"http://127.0.0.1:{sonar}/sonar-freecsv?cluster=hpc"
        with walked(config, crashes, "gather", "crashes") as measure:
            note("a crash", measure(lambda: _post(f"http://127.0.0.1:{crashes}/submit", report(20_000), MEDIA)))
        with walked(config, sonar, "gather", "sonar") as measure:
            note("a line of Sonar", measure(lambda: _post(samples, line, "text/csv")))
        with walked(config, web, "serve") as measure:
            page = f"http://127.0.0.1:{web}/host/hpc/ml1"
            wait(lambda: _page(page), "the host's page")
            note("a host's page", measure(lambda: _page(page)))
    return figures


def _page(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url).read())
    except OSError:
        return False


if __name__ == "__main__":
    drive()
