"""Colours, times and bars for a terminal."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

STYLES: Final[Mapping[str, dict[str, Any]]] = {
    "debug": {"dim": True},
    "info": {},
    "warning": {"fg": "yellow"},
    "error": {"fg": "red"},
    "critical": {"fg": "magenta", "bold": True},
    "good": {"fg": "green"},
}
BARS: Final = " ▁▂▃▄▅▆▇█"


class Drawn(str):
    """In colours already, and of our own making: in a table it stays as it is, blanks and all."""

    __slots__ = ()


def painted(text: str, level: str = "", **style: Any) -> str:
    """`text` in the colour of `level`; plain when NO_COLOR is set. click removes colours where no terminal is."""
    style = style or STYLES.get(level, {})
    return click.style(text, **style) if text and style and not os.environ.get("NO_COLOR") else text


def when(time: str | None) -> str:
    """`2026-11-22 09:44:34Z`."""
    return f"{time[:10]} {time[11:19]}Z" if time else "never"


def sparkline(counts: Sequence[int], worst: Sequence[str]) -> Drawn:
    """A bar for each count, in the colour of the worst level there."""
    most = max(counts, default=0)
    return Drawn(
        "".join(
            painted(BARS[round((count / most) ** 0.5 * 8) or 1] if count else BARS[0], level)
            for count, level in zip(counts, worst, strict=True)
        )
    )


def worse(one: str, other: str) -> str:
    """The worse of two levels; "" is none."""
    from lae_monitor.core.rows import LEVELS

    return max(one, other, key=lambda level: LEVELS.index(level) if level in LEVELS else -1)
