"""Tables without lines between columns, each column as wide as its cells are on the terminal.

On a terminal the widest columns that may be cut are, until a row fits; elsewhere nothing is cut. Cells may come from a host:
no character of them does anything. rich knows how wide characters are; its own tables cut and pad what goes into a pipe, and
take seconds for a long search.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TextIO

import click
from rich.cells import cell_len, set_cell_size

from lae_monitor.core.printable import one_line
from lae_monitor.terminal.lines import Drawn, painted

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
