"""How long the command line takes to say anything, and `run` to be ready."""

import statistics
import subprocess
import time

from bench.figures import ROOT, Figure, at_most, sized
from bench.monitor import PROGRAM, monitor, scratch

TURNS = sized(10, 1)
AIM_HELP = 150.0  # ms
AIM_RUN = 5.0  # s


def run() -> list[Figure]:
    program = ROOT / ".venv" / "bin" / "lae-monitor"
    command = [str(program)] if program.exists() else PROGRAM
    ours, bare = [], []
    for _ in range(TURNS):  # by turns, so that a busy moment hits both
        ours.append(_seconds([*command, "--help"]))
        bare.append(_seconds([PROGRAM[0], "-c", "pass"]))
    help_ms, bare_ms = statistics.median(ours) * 1000, statistics.median(bare) * 1000
    figures = [
        at_most("lae-monitor --help, median", help_ms, AIM_HELP, "ms"),
        Figure("  times python -c pass", help_ms / bare_ms, "x", note=f"python -c pass: {bare_ms:.0f} ms"),
    ]
    with scratch() as state:
        for name in ("run until ready, first start", "run until ready, second start"):
            with monitor(state) as running:
                figures.append(at_most(name, running.ready_after, AIM_RUN, "s"))
    return figures


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return time.perf_counter() - began
