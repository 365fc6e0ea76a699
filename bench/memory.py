"""Memory and CPU of every process while the demo's fleet reports."""

import random
import socket
import time
from pathlib import Path

from bench.figures import Figure, at_most, sized
from bench.monitor import PROGRAM, await_line, cpu_seconds, memory, processes, running, scratch

MINUTES = sized(2.0, 0.02, "BENCH_MINUTES")  # the aims are those after an hour: BENCH_MINUTES=60
AIM_GATHERER = 80.0  # MB
AIM_SERVE = 450.0  # MB
AIM_SERVE_ANONYMOUS = 250.0  # MB


def run() -> list[Figure]:
    with scratch() as folder:
        state = folder / "demo"
        command = [*PROGRAM, "demo", "--state", str(state), "--port-base", str(_four_free_ports())]
        with running(command, folder / "log") as (process, ready):
            await_line(process, ready, folder / "log")
            return _measure(state / "lae-monitor.toml")


def _four_free_ports() -> int:
    """A port that is free, as are the three after it."""
    while True:
        first = random.randrange(20_000, 30_000)  # below those that the kernel gives to clients
        try:
            for number in range(first, first + 4):
                socket.create_server(("127.0.0.1", number)).close()
        except OSError:
            continue
        return first


def _measure(config: Path) -> list[Figure]:
    found = processes(config)
    before = {name: cpu_seconds(pid) for name, pid in found.items()}
    time.sleep(MINUTES * 60)
    note = f"after {MINUTES:g} min"
    figures = []
    for name, pid in sorted(found.items()):
        resident, anonymous = memory(pid)
        share = 100 * (cpu_seconds(pid) - before[name]) / (MINUTES * 60)
        if name == "serve":
            figures.append(at_most(f"{name}: resident", resident, AIM_SERVE, "MB", note))
            figures.append(at_most(f"{name}: anonymous", anonymous, AIM_SERVE_ANONYMOUS, "MB", note))
        elif name.startswith("gather"):
            figures.append(at_most(f"{name}: resident", resident, AIM_GATHERER, "MB", note))
            figures.append(Figure(f"{name}: anonymous", anonymous, "MB"))
        else:
            figures.append(Figure(f"{name}: resident", resident, "MB"))
        figures.append(Figure(f"{name}: CPU", share, "%", note="of one core, after the history"))
    return figures
