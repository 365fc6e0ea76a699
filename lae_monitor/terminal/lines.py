"""Events and hosts as lines for a terminal: no character of what a host sent does anything there."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from lae_monitor.core.printable import one_line
from lae_monitor.core.rows import LEVELS

STYLES: Final[Mapping[str, dict[str, Any]]] = {
    "debug": {"dim": True},
    "info": {},
    "warning": {"fg": "yellow"},
    "error": {"fg": "red"},
    "critical": {"fg": "magenta", "bold": True},
}
BARS: Final = " ▁▂▃▄▅▆▇█"
MAX_TITLE: Final = 200  # characters


def painted(text: str, level: str = "", **style: Any) -> str:
    """`text` in the colour of `level`; plain when NO_COLOR is set. click removes colours where no terminal is."""
    if os.environ.get("NO_COLOR"):
        return text
    return click.style(text, **(style or STYLES.get(level, {})))


def when(time: str | None) -> str:
    """`2026-11-22 09:44:34Z`."""
    return f"{time[:10]} {time[11:19]}Z" if time else "never"


def event_line(row: Mapping[str, Any], *, with_host: bool = True) -> str:
    """One event: time, level, kind, host, title, id."""
    level = one_line(row["level"])
    host = f"{one_line(row['host'], 40) or '-':<24} " if with_host else ""
    return (
        f"{painted(when(row['time']), dim=True)}  {painted(f'{level:<8}', level)}  {one_line(row['kind'], 12):<8}  "
        f"{host}{painted(one_line(row['title'], MAX_TITLE), level)}  {painted(one_line(row['id']), dim=True)}"
    )


def sparkline(counts: Sequence[int], worst: Sequence[str]) -> str:
    """A bar for each count, in the colour of the worst level there."""
    most = max(counts, default=0)
    return "".join(
        painted(BARS[round((count / most) ** 0.5 * 8) or 1] if count else BARS[0], level)
        for count, level in zip(counts, worst, strict=True)
    )


def worse(one: str, other: str) -> str:
    """The worse of two levels; "" is none."""
    return max(one, other, key=lambda level: LEVELS.index(level) if level in LEVELS else -1)
