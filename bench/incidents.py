"""Incidents gathered, against foolscap's own gatherer, which gets the same from the same programs.

What a gatherer costs is the CPU time of its one process, from the first connection until all is saved.
"""

import contextlib
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.figures import ROOT, Figure, at_least, at_most, sized
from bench.monitor import PROGRAM, STOP, cpu_seconds, free_ports, scratch
from bench.recorded import copies, incident, name
from lae_monitor.archive.archive import HINTS
from lae_monitor.archive.hints import listen
from lae_monitor.config import load
from lae_monitor.kinds import KINDS
from lae_monitor.net.furls.registry import Registry

LARGE = sized(1800, 40, "BENCH_EVENTS")  # events: what a busy node remembers
SMALL = 36  # events: what an idle one does
LARGE_TUBS, LARGE_COPIES = 4, sized(3, 1, "BENCH_LARGE")
SMALL_TUBS, SMALL_COPIES = sized(30, 2, "BENCH_SMALL_TUBS"), sized(5, 1)
CONNECTIONS = sized(100, 3, "BENCH_CONNECTIONS")
STORM_TUBS, STORM_COPIES = sized(50, 3, "BENCH_STORM"), 2
STORED = sized(100000, 40, "BENCH_STORED")
FURLS = sized(2000, 5, "BENCH_FURLS")
STORED_HOSTS = sized(200, 2)
TURNS = sized(3, 1)
SETTLE = sized(5.0, 0.5)  # seconds until what a connection needs is there
PATIENCE = 300.0  # seconds for anything

AIM_LARGE, AIM_SMALL = 3.0, 2.0  # times foolscap's
AIM_CONNECTION = 0.15  # MB
AIM_STORM, AIM_STORM_MEMORY, AIM_STORM_SMALL = 60.0, 300.0, 10.0  # s, MB, s
AIM_START = 2.0  # s


@dataclass
class Running:
    """A gatherer that listens. `saved` counts the incidents that it has done with; `furl` makes or names that of a host."""

    pid: int
    furl: Callable[[int], str]
    saved: Callable[[], int]
    ready_after: float


@dataclass
class Load:
    tubs: int
    copies: int
    events: int
    first: int = 0  # number of the first tub: those of two loads are different


def run() -> list[Figure]:
    figures = []
    for given, aim in (
        (Load(LARGE_TUBS, LARGE_COPIES, LARGE), AIM_LARGE),
        (Load(SMALL_TUBS, SMALL_COPIES, SMALL), AIM_SMALL),
    ):
        # by turns, so that a busy moment hits both
        pairs = [(_rate(foolscaps, given), _rate(gatherer, given)) for _ in range(TURNS)]
        theirs, ours = (statistics.median(rates) for rates in zip(*pairs, strict=True))
        ratio = statistics.median(mine / other for other, mine in pairs)
        figures += [
            Figure(
                f"incidents of {given.events} events a CPU-second, stock", theirs, "/s", note="foolscap's own gatherer"
            ),
            Figure(f"incidents of {given.events} events a CPU-second, ours", ours, "/s"),
            at_least("  times foolscap's own gatherer", ratio, aim, "x"),
        ]
    return [*figures, *_connections(), *_storm(), *_start()]


def _rate(kind: Callable[[Path], contextlib.AbstractContextManager[Running]], load: Load) -> float:
    with scratch() as folder, kind(folder) as running, publishers(folder, running, load) as go:
        before = cpu_seconds(running.pid)
        go()
        wait(lambda: running.saved() >= load.tubs * load.copies, "all saved")
        time.sleep(1.0)  # what is left to do after the last, such as receipts
        return load.tubs * load.copies / (cpu_seconds(running.pid) - before)


def _connections() -> list[Figure]:
    theirs, ours = _connection(foolscaps), _connection(gatherer)
    return [
        Figure("memory of a connection, foolscap's", theirs, "MB"),
        at_most("memory of a connection, ours", ours, AIM_CONNECTION, "MB"),
    ]


def _connection(kind: Callable[[Path], contextlib.AbstractContextManager[Running]]) -> float:
    """MB that each more takes, once there are some."""
    first, rest = Load(10, 0, SMALL), Load(CONNECTIONS, 0, SMALL, 10)
    with (
        scratch() as folder,
        kind(folder) as running,
        publishers(folder, running, first) as go,
        publishers(folder, running, rest) as go_on,
    ):
        listening = sockets(running.pid)
        go()
        wait(lambda: sockets(running.pid) >= listening + first.tubs, "connected")
        time.sleep(SETTLE)
        before = status(running.pid, "VmRSS")
        go_on()
        wait(lambda: sockets(running.pid) >= listening + first.tubs + rest.tubs, "connected")
        time.sleep(SETTLE)
        return (status(running.pid, "VmRSS") - before) / rest.tubs


def _storm() -> list[Figure]:
    """Many that report much at once, and one of another host that reports little meanwhile."""
    load, late = Load(STORM_TUBS, STORM_COPIES, LARGE), Load(1, 1, SMALL, STORM_TUBS)
    wanted = load.tubs * load.copies
    with (
        scratch() as folder,
        gatherer(folder) as running,
        publishers(folder, running, load) as go,
        publishers(folder, running, late) as go_late,
    ):
        began = time.monotonic()
        go()
        wait(lambda: running.saved() >= min(5, wanted), "any saved")
        asked = time.monotonic()
        go_late()
        place = folder / "state" / "archive" / "incidents" / "lae" / "incidents" / f"host{late.first}"
        wait(lambda: any(place.glob("*.bz2")), "the small one saved")
        small, already = time.monotonic() - asked, running.saved()
        wait(lambda: running.saved() > wanted, "all saved")
        took, peak = time.monotonic() - began, status(running.pid, "VmHWM")
    return [
        at_most(f"{wanted} of {LARGE} at once: all saved after", took, AIM_STORM, "s"),
        at_most("  memory at its highest", peak, AIM_STORM_MEMORY, "MB"),
        at_most("  a small one of another host meanwhile", small, AIM_STORM_SMALL, "s", f"{already} saved by then"),
    ]


def _start() -> list[Figure]:
    with scratch() as folder:
        _store(folder / "state" / "archive" / "incidents" / "lae" / "incidents")
        with gatherer(folder) as running:
            for number in range(FURLS):
                running.furl(number)
        figures = []
        for turn in ("first", "second"):
            with gatherer(folder) as running:
                label = f"start with {STORED} stored and {FURLS} FURLs, {turn}"
                figures.append(at_most(label, running.ready_after, AIM_START, "s"))
    return figures


def _store(place: Path) -> None:
    """Files that are links to a few: what matters is that they are many."""
    place.mkdir(parents=True)
    sources = [place.parent / f"source-{number}.bz2" for number in range(1 + STORED // 30_000)]
    for number in range(STORED):
        host = place / f"host{number % STORED_HOSTS}"
        if number < STORED_HOSTS:
            host.mkdir()
        source = sources[number // 30_000]
        if not source.exists():
            source.write_bytes(b"BZh9")
        os.link(source, host / f"{name(number)}.flog.bz2")
    for source in sources:
        source.unlink(missing_ok=True)


# ---- gatherers -----------------------------------------------------------------------------------------------------


@contextmanager
def foolscaps(folder: Path) -> Iterator[Running]:
    """flogtool's incident gatherer, as its manual has it run."""
    (port,) = free_ports(1)
    place, programs = folder / "stock", Path(sys.executable).parent
    where = ["--port", f"tcp:{port}:interface=127.0.0.1", "--location", f"tcp:127.0.0.1:{port}"]
    subprocess.run([programs / "flogtool", "create-incident-gatherer", "-q", *where, place], check=True)
    furl = place / "log_gatherer.furl"

    def saved() -> int:
        return sum(path.read_text().count("\n") for path in (place / "classified").glob("*"))

    command = [programs / "twistd", "-noy", "gatherer.tac"]
    with process(command, place, "Gatherer waiting at", folder / "stock.log") as (pid, took):
        yield Running(pid, lambda _number: furl.read_text().strip(), saved, took)


@contextmanager
def gatherer(folder: Path) -> Iterator[Running]:
    """`lae-monitor gather incidents`."""
    (port,) = free_ports(1)
    config, state = folder / "lae-monitor.toml", folder / "state"
    config.write_text(
        f'[state]\npath = "{state}"\n[fleet]\nname = "lae"\n[archive]\nreserve = "64 MiB"\n[gatherers.incidents]\n'
        f'listen = "tcp:{port}:interface=127.0.0.1"\nlocation = "tcp:127.0.0.1:{port}"\n'
    )
    settings = load(config, KINDS)

    def saved() -> int:
        return sum(1 for _ in state.glob("archive/incidents/lae/incidents/*/*.flog.bz2"))

    command = [*PROGRAM, "--config", str(config), "gather", "incidents"]
    with _mover(state / HINTS), process(command, ROOT, "tub listening on", folder / "ours.log") as (pid, took):
        yield Running(
            pid,
            lambda number: Registry(settings, "incidents").register(f"host{number}", None).furl.reveal(),
            saved,
            took,
        )


@contextmanager
def _mover(path: Path) -> Iterator[None]:
    """Somebody who takes hints, as the mover does: without it each is a vain attempt to connect."""
    path.parent.mkdir(parents=True, exist_ok=True)
    listening = listen(path)
    listening.setblocking(True)

    def take() -> None:
        while listening.recv(4096):
            pass

    threading.Thread(target=take, daemon=True).start()
    try:
        yield
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


@contextmanager
def process(command: list[str | Path], folder: Path, ready: str, log: Path) -> Iterator[tuple[int, float]]:
    """Its number, and the seconds until it said that it is ready."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    began = time.monotonic()
    with log.open("w") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, env=environ)
    try:
        wait(lambda: ready in log.read_text() or child.poll() is not None, "ready")
        if child.poll() is not None:
            raise RuntimeError(log.read_text()[-2000:])
        yield child.pid, time.monotonic() - began
    finally:
        child.terminate()
        try:
            child.wait(STOP)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextmanager
def publishers(folder: Path, running: Running, load: Load) -> Iterator[Callable[[], None]]:
    """Programs that wait for the call of what is given, to connect all at once; as many as there are cores."""
    place = folder / f"publishers-{load.first}"
    place.mkdir()
    source = place / "source.flog"
    incident(source, load.events)
    tubs = []
    for number in range(load.first, load.first + load.tubs):
        incidents = copies(source, place / f"incidents-{number}", load.copies, load.events + number * load.copies)
        tubs.append({"number": number, "furl": running.furl(number), "incidents": str(incidents)})
    children = []
    try:
        count = min(os.cpu_count() or 1, load.tubs)
        for part in range(count):
            own = place / str(part)
            own.mkdir()
            (own / "tubs.json").write_text(json.dumps(tubs[part::count]))
            command = [sys.executable, "-m", "bench.publishers", str(own)]
            with (own / "log").open("w") as log:
                children.append(
                    subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=ROOT)
                )
        for child in children:
            assert child.stdout is not None
            if not select.select([child.stdout], [], [], PATIENCE)[0] or child.stdout.readline() != b"ready\n":
                raise RuntimeError("a publisher did not start")

        def go() -> None:
            for child in children:
                assert child.stdin is not None
                child.stdin.write(b"go\n")
                child.stdin.flush()

        yield go
    finally:
        for child in children:
            child.kill()
            child.communicate()


def wait(condition: Callable[[], bool], what: str) -> None:
    """
    Raises:
        RuntimeError: it took too long.
    """
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.05)


def status(pid: int, which: str) -> float:
    """MB of memory."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith(which))) * 1024 / 1e6


def sockets(pid: int) -> int:
    """How many a process has open."""
    return sum(1 for link in Path(f"/proc/{pid}/fd").iterdir() if _target(link).startswith("socket:"))


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""
