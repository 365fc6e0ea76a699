"""Runs the parts, or those named; prints the table as it grows, and writes bench/results.json."""

import argparse
import contextlib
import importlib
import io
import os
import sys
from pathlib import Path
from typing import Any

from bench.figures import RESULTS, SMALL, Figure, at_least, header, show, write
from bench.monitor import base

NUMBERS: dict[tuple[str, str], tuple[str, float | None]] = {
    ("archive", "store_per_second"): ("/s", None),
    ("archive", "store_bare_per_second"): ("/s", None),
    ("archive", "store_ratio"): ("x", 0.8),
    ("archive", "store_p99_ms"): ("ms", None),
    ("archive", "append_per_second"): ("/s", 10_000.0),
    ("archive", "append_bare_per_second"): ("/s", None),
    ("archive", "append_ratio"): ("x", None),
    ("archive", "append_p99_ms"): ("ms", None),
}
OR_RATIO = {("archive", "append_per_second"): "append_ratio"}  # half of it will do where the disk is slow
PARTS = (
    "archive",
    "start",
    "sonar",
    "crashes",
    "incidents",
    "slow",
    "searchable",
    "memory",
    "walk",
    "history",
    "growth",
)
ON_HOSTS = ("deploy",)  # needs root and podman, and is run by its name only


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"{', '.join((*PARTS, *ON_HOSTS))}; or: against COMMIT_OR_WHEEL [PART ...]",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the figures are written to")
    parser.add_argument("--small", action="store_true", help="only try whether they work; writes no results")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a figure falls short")
    arguments = parser.parse_args()
    other = ""
    if arguments.parts[:1] == ["against"]:
        if len(arguments.parts) < 2:
            parser.error("against what? a commit, or a wheel")
        _, other, *arguments.parts = arguments.parts
    if unknown := set(arguments.parts) - {*PARTS, *ON_HOSTS}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join((*PARTS, *ON_HOSTS))}")
    if arguments.small:
        os.environ[SMALL] = "1"
    os.environ["LAE_BENCH_DIR"] = str(base())  # all parts write to the same disk
    if other:
        try:
            figures = importlib.import_module("bench.against").compare(other, arguments.parts)
        except RuntimeError as error:
            parser.error(str(error))
        print(*map(show, figures), sep="\n")
        if not arguments.small:
            write({f"against {other}": figures}, arguments.results)
        return 0
    measured: dict[str, list[Figure]] = {}
    failed = []
    print(header())
    for part in arguments.parts or PARTS:
        print(part, flush=True)
        try:
            module = importlib.import_module(f"bench.{part}")
            with contextlib.redirect_stdout(io.StringIO()):  # what a part prints when it is run alone
                result = module.run()
            measured[part] = _figures(part, result)
        except Exception as error:
            failed.append(part)
            print(f"  could not be measured: {type(error).__name__}: {error}", flush=True)
            continue
        print(*map(show, measured[part]), sep="\n", flush=True)
        if not arguments.small or arguments.results != RESULTS:
            write(measured, arguments.results)
    if not arguments.small:
        print(f"written to {arguments.results}")
    short = [figure for figures in measured.values() for figure in figures if figure.meets is False]
    return 1 if failed or (arguments.strict and short) else 0


def _figures(part: str, result: Any) -> list[Figure]:
    """What a part measured: figures, or numbers by name, of which NUMBERS knows units and aims."""
    if not isinstance(result, dict):
        return list(result)
    figures = []
    for name, value in result.items():
        unit, aim = NUMBERS.get((part, name), ("", None))
        label = f"{part}: {name.replace('_', ' ')}"
        if aim is None:
            figures.append(Figure(label, value, unit))
        elif value < aim and result.get(OR_RATIO.get((part, name)), 0.0) >= 0.5:
            figures.append(Figure(label, value, unit, "or half of the bare", meets=True))
        else:
            figures.append(at_least(label, value, aim, unit))
    return figures


if __name__ == "__main__":
    sys.exit(main())
