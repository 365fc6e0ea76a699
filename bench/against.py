"""This tree against another release, by turns in one run: `make bench ARGS='against COMMIT_OR_WHEEL [PART...]'`.

The load is the same, this tree's, and so are the packages; the processes under it are those of one and the other. The median of
TURNS ratios, of the first to the second, and their range: a rate above 1 is better, times, CPU and memory below 1.
"""

import io
import os
import statistics
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import msgspec

from bench.figures import ROOT, Figure, sized
from bench.monitor import TREE, scratch

PARTS = ("sonar", "crashes", "searchable", "memory")  # whose figures are of processes
TURNS = sized(3, 1)


def compare(other: str, parts: list[str]) -> list[Figure]:
    """
    Raises:
        RuntimeError: there is no such commit or wheel, or a run failed.
    """
    figures = []
    with scratch() as folder:
        there = folder / "there"
        _unpack(other, there)
        for part in parts or PARTS:
            runs: dict[Path, list[list[Figure]]] = {ROOT: [], there: []}
            for turn in range(TURNS):
                for tree in sorted(runs, reverse=turn % 2 == 1):  # neither is always the first
                    runs[tree].append(_figures(part, tree, folder / "figures.json"))
            figures += _ratios(runs[ROOT], runs[there])
    return figures


def _unpack(other: str, folder: Path) -> None:
    if other.endswith(".whl"):
        zipfile.ZipFile(other).extractall(folder)
        return
    packed = subprocess.run(["git", "archive", other, "lae_monitor"], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        raise RuntimeError(f"neither a wheel nor a commit: {other}: {packed.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tar:
        tar.extractall(folder, filter="data")


def _figures(part: str, tree: Path, results: Path) -> list[Figure]:
    command = [sys.executable, "-m", "bench", part, "--results", str(results)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, TREE: str(tree)}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{part} of {tree}: {done.stdout}{done.stderr}")
    found = msgspec.json.decode(results.read_bytes())[part]["figures"]
    return msgspec.convert([{key: one[key] for key in ("name", "value", "unit")} for one in found], list[Figure])


def _ratios(ours: list[list[Figure]], theirs: list[list[Figure]]) -> list[Figure]:
    """The median of each turn's ratio: what the machine did meanwhile was done to both."""
    figures = []
    for mine, other in zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True):
        ratios = [one.value / two.value for one, two in zip(mine, other, strict=True) if two.value]
        here, there = (statistics.median(one.value for one in runs) for runs in (mine, other))
        note = f"{here:,.3g} against {there:,.3g} {mine[0].unit}"
        if ratios:
            note += f"; {min(ratios):.2f} to {max(ratios):.2f} x"
        figures.append(Figure(mine[0].name, statistics.median(ratios) if ratios else float("nan"), "x", note=note))
    return figures
