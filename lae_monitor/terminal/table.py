"""Tables without lines between columns, each column as wide as its cells are on the terminal.

On a terminal the widest columns that may be cut are, until a row fits; elsewhere nothing is cut. Cells may come from a host:
no character of them does anything. rich knows how wide characters are; its own tables cut and pad what goes into a pipe, and
take seconds for a long search.
"""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TextIO

import click
from rich.cells import cell_len, set_cell_size

from lae_monitor.core.printable import one_line

# Colours, times and bars for a terminal.
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


GAP: Final = "  "


class Column(NamedTuple):
    """
    Args:
        head: above the column; without any there is no line of heads.
        spare: cells may be cut to so many characters on a terminal; 0: never, for names and ids that are typed again.
        least: the width where all cells are shorter.
        right: aligned there, as columns of whole numbers are anyway.
    """

    head: str = ""
    spare: int = 0
    least: int = 0
    right: bool = False


class Painted(NamedTuple):
    """A cell in the colour of a level."""

    content: str | int
    level: str


Cell = str | int | Painted


def table(columns: Sequence[Column | str], rows: Iterable[Sequence[Cell]]) -> list[str]:
    """A line for each row, after one of heads. Whole numbers get commas."""
    known = [Column(column) if isinstance(column, str) else column for column in columns]
    heads = [column.head for column in known]
    shown: list[Sequence[Cell]] = [*([heads] if any(heads) else []), *rows]
    texts = [[_plain(cell) for cell in row] for row in shown]
    widths = [max([column.least, *(cell_len(row[at]) for row in texts)]) for at, column in enumerate(known)]
    if room := terminal_width(sys.stdout):
        _fit(widths, known, room)
    right = [column.right or any(_is_number(row[at]) for row in shown) for at, column in enumerate(known)]
    return [
        GAP.join(map(_aligned, row, plain, widths, right)).rstrip() for row, plain in zip(shown, texts, strict=True)
    ]


def terminal_width(stream: TextIO) -> int:
    """Columns of the terminal that `stream` is; 0 where it is none, or does not know."""
    return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0


def cut(text: str, width: int) -> str:
    """`text`, with an ellipsis for its end where it is wider than `width`."""
    return text if cell_len(text) <= width else set_cell_size(text, max(width - 1, 0)).rstrip() + "…"


def _plain(cell: Cell) -> str:
    content = cell.content if isinstance(cell, Painted) else cell
    if isinstance(content, Drawn):
        return click.unstyle(content)
    return f"{content:,}" if isinstance(content, int) else one_line(content)


def _is_number(cell: Cell) -> bool:
    return isinstance(cell.content if isinstance(cell, Painted) else cell, int)


def _fit(widths: list[int], columns: Sequence[Column], room: int) -> None:
    """Narrows the widest column that can be, again and again, until the row fits or none can be."""
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - room
    for _ in range(excess):
        can = [at for at, column in enumerate(columns) if column.spare and widths[at] > column.spare]
        if not can:
            return
        widths[max(can, key=widths.__getitem__)] -= 1


def _aligned(cell: Cell, plain: str, width: int, right: bool) -> str:
    text = cut(plain, width)
    shown = painted(text, cell.level) if isinstance(cell, Painted) else cell if isinstance(cell, Drawn) else text
    space = " " * (width - cell_len(text))
    return space + shown if right else shown + space


# Events as lines for a terminal.
_HOST: Final = Column(least=24)
_COLUMNS: Final = (Column(), Column(least=8), Column(least=8), _HOST, Column(spare=40), Column())


def event_lines(rows: Iterable[Mapping[str, Any]], *, with_host: bool = True) -> list[str]:
    """One for each: time, level, kind, host, title, id."""

    def cells(row: Mapping[str, Any]) -> list[Cell]:
        level = row["level"]
        host = [row["host"] or "-"] if with_host else []
        return [
            Painted(when(row["time"]), "debug"), Painted(level, level), row["kind"], *host,
            Painted(row["title"], level), Painted(row["id"], "debug"),
        ]  # fmt: skip

    return table([column for column in _COLUMNS if with_host or column is not _HOST], map(cells, rows))
