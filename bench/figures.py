"""One figure and what it aims at; the table and the file."""

import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from lae_monitor import __version__

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results.json"
SMALL = "LAE_BENCH_SMALL"


T = TypeVar("T", int, float)


def sized(full: T, small: T, name: str = "") -> T:
    """`full`, or what the environment's variable `name` says; `small` where a bench is only tried, by `--small`."""
    return type(full)(os.environ.get(name) or (small if os.environ.get(SMALL) else full))


@dataclass(frozen=True)
class Figure:
    """What was measured. `meets` is None where nothing is aimed at."""

    name: str
    value: float
    unit: str = ""
    aim: str = ""
    meets: bool | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        return {True: "meets", False: "falls short", None: ""}[self.meets]


def at_most(name: str, value: float, limit: float, unit: str, note: str = "") -> Figure:
    return Figure(name, value, unit, f"<= {limit:g} {unit}".strip(), value <= limit, note)


def at_least(name: str, value: float, limit: float, unit: str, note: str = "") -> Figure:
    return Figure(name, value, unit, f">= {limit:g} {unit}".strip(), value >= limit, note)


def show(figure: Figure) -> str:
    value = f"{figure.value:,.0f}" if abs(figure.value) >= 100 else f"{figure.value:,.3g}"
    line = f"  {figure.name:<46} {value + ' ' + figure.unit:>18}  {figure.aim:>20}  {figure.verdict:<12}"
    return (line + figure.note).rstrip()


def header() -> str:
    return f"  {'':<46} {'figure':>18}  {'aim':>20}  verdict"


def write(parts: dict[str, list[Figure]], path: Path = RESULTS) -> None:
    """Puts `parts` into the file `path`; what it has of other parts, of earlier runs, stays."""
    try:
        results = json.loads(path.read_text())
    except (OSError, ValueError):
        results = {}
    for part, figures in parts.items():
        results[part] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "version": __version__,
            "machine": {
                "cores": os.cpu_count(),
                "load": os.getloadavg()[0],
                "system": platform.platform(),
                "python": platform.python_version(),
            },
            "figures": [asdict(figure) | {"verdict": figure.verdict} for figure in figures],
        }
    path.write_text(json.dumps(results, indent=1) + "\n")
