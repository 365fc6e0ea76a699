"""The real processes, on a state folder and ports of their own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.figures import ROOT

START = 120.0  # seconds a process may take until it is ready, on a slow day
STOP = 60.0
TREE = "LAE_BENCH_TREE"  # the folder whose lae_monitor is run, if it is not this one
PROGRAM = [sys.executable, "-m", "lae_monitor"]


@dataclass
class Monitor:
    """A running monitor."""

    config: Path
    process: subprocess.Popen[str]
    web: int
    crashes: int
    sonar: int
    ready_after: float  # seconds from exec to "ready"


def base() -> Path:
    """The folder on the disk that is measured."""
    found = Path(os.environ.get("LAE_BENCH_DIR", ROOT / ".cache" / "bench"))
    found.mkdir(parents=True, exist_ok=True)
    return found


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    made = Path(tempfile.mkdtemp(dir=base()))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on, as far as one can know."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


@contextmanager
def monitor(state: Path, *kinds: str) -> Iterator[Monitor]:
    """`lae-monitor run KIND...` on `state`, from when it says that it is ready."""
    web, crashes, sonar, incidents = free_ports(4)
    config = state / "lae-monitor.toml"
    config.write_text(f"""\
[state]
path = "{state / "state"}"
[archive]
reserve = "64 MiB"
[web]
listen = "127.0.0.1:{web}"
[gatherers.crashes]
listen = "127.0.0.1:{crashes}"
[gatherers.sonar]
listen = "127.0.0.1:{sonar}"
auth_file = ""
[gatherers.incidents]
listen = "tcp:{incidents}:interface=127.0.0.1"
location = "tcp:127.0.0.1:{incidents}"
""")
    began = time.perf_counter()
    with running([*PROGRAM, "--config", str(config), "run", *kinds], state / "log") as (process, ready):
        await_line(process, ready, state / "log")
        yield Monitor(config, process, web, crashes, sonar, time.perf_counter() - began)


@contextmanager
def running(command: list[str], log: Path) -> Iterator[tuple[subprocess.Popen[str], threading.Event]]:
    """`command`, its errors in `log`, and an event that is set when it prints that it is ready; INT ends it."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LAE_MONITOR_")}
    tree = environ.get(TREE, str(ROOT))
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, (tree, environ.get("PYTHONPATH"))))
    ready = threading.Event()
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environ, cwd=tree)

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("lae-monitor is ready"):
                ready.set()

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    try:
        yield process, ready
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        listening.join()
        assert process.stdout is not None
        process.stdout.close()


def await_line(process: subprocess.Popen[str], ready: threading.Event, log: Path) -> None:
    """
    Raises:
        RuntimeError: it ended, or did not become ready.
    """
    until = time.monotonic() + START
    while not ready.wait(0.02):
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError("not ready:\n" + "\n".join(log.read_text().splitlines()[-20:]))


def processes(config: Path) -> dict[str, int]:
    """The processes that work on `config`, by what they are: `gather sonar`, `serve`, ..."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")[:-1] if entry.name.isdecimal() else []
        except OSError:
            continue
        if str(config) in words:
            found[" ".join(words[words.index(str(config)) + 1 :])] = int(entry.name)
    return found


def memory(pid: int) -> tuple[float, float]:
    """Resident and anonymous memory of a process, in MB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    values = {line.split()[0]: int(line.split()[1]) for line in text.splitlines()[1:]}
    return values["Rss:"] * 1024 / 1e6, values["Anonymous:"] * 1024 / 1e6


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
