"""Runs the parts, or those named; prints the table as it grows, and writes bench/results.json."""

import argparse
import importlib
import sys
from typing import Any

from bench.figures import RESULTS, Figure, header, show, write

PARTS = ("archive", "start", "sonar", "crashes", "searchable", "memory")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--strict", action="store_true", help="exit 1 when a figure falls short")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    measured: dict[str, list[Figure]] = {}
    failed = []
    print(header())
    for part in arguments.parts or PARTS:
        print(part, flush=True)
        try:
            measured[part] = _figures(importlib.import_module(f"bench.{part}").run())
        except Exception as error:
            failed.append(part)
            print(f"  could not be measured: {type(error).__name__}: {error}", flush=True)
            continue
        print(*map(show, measured[part]), sep="\n", flush=True)
        write(measured)
    print(f"written to {RESULTS}")
    short = [figure for figures in measured.values() for figure in figures if figure.meets is False]
    return 1 if failed or (arguments.strict and short) else 0


def _figures(result: Any) -> list[Figure]:
    """What a part measured: figures, or a dictionary of numbers, or of a figure's fields, by name."""
    if not isinstance(result, dict):
        return list(result)
    return [
        Figure(name, **value) if isinstance(value, dict) else Figure(name, float(value))
        for name, value in result.items()
    ]


sys.exit(main())
