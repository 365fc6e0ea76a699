"""How far long work is, on standard error: a line that is rewritten on a terminal, now and then one elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import ceil
from typing import Final, TypeVar

import click

from lae_monitor.core.printable import one_line
from lae_monitor.core.time import format_duration
from lae_monitor.terminal.options import Invocation
from lae_monitor.terminal.table import cut, terminal_width

T = TypeVar("T")
Tell = Callable[..., None]

ON_TERMINAL: Final = 0.5  # seconds between rewrites, and before the first: quick work says nothing
ELSEWHERE: Final = 30.0  # seconds between lines in a pipe or a log
USUAL_WIDTH: Final = 80  # columns of a terminal that does not say
MIN_SHARE: Final = 0.01  # of the work done, before the time left is more than a guess


@contextmanager
def progress(
    invocation: Invocation, unit: str, total: int | None = None, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Tell]:
    """Yields `tell(count, note="", total=total)`, to be called as often as there is news; with --json it says nothing.

    Args:
        unit: of what is counted, such as `crashes`.
        total: how many there will be; None while that is not known.
    """
    is_terminal = sys.stderr.isatty()
    every = ON_TERMINAL if is_terminal else ELSEWHERE
    begun = told = clock()
    width = 0  # of the line on the terminal

    def tell(count: int, note: str = "", total: int | None = total) -> None:
        nonlocal told, width
        now = clock()
        if invocation.as_json or now - told < every:
            return
        told = now
        line = _line(count, unit, total, now - begun, note)
        if is_terminal:
            line = cut(line, (terminal_width(sys.stderr) or USUAL_WIDTH) - 1)
            click.echo(f"{line:<{width}}\r", nl=False, err=True)  # what is said next begins at the left
            width = len(line)
        else:
            click.echo(line, err=True)

    try:
        yield tell
    finally:
        if width:
            click.echo(f"{'':<{width}}\r", nl=False, err=True)


def counted(invocation: Invocation, items: Iterable[T], unit: str, total: int | None = None) -> Iterator[T]:
    """The same items; tells how many were taken."""
    with progress(invocation, unit, total) as tell:
        for number, item in enumerate(items, 1):
            yield item
            tell(number)


def _line(count: int, unit: str, total: int | None, seconds: float, note: str) -> str:
    """`120 of 480 crashes (25 %), 12/s, 30s left  note`."""
    rate = count / seconds if seconds > 0 else 0.0
    pieces = [f"{count:,} {unit}" if not total else f"{count:,} of {total:,} {unit} ({count / total:.0%})"]
    pieces.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate * 60:,.0f}/min")
    if total and total * MIN_SHARE <= count < total:
        pieces.append(f"{format_duration(ceil((total - count) / rate))} left")
    return ", ".join(pieces) + (f"  {one_line(note)}" if note else "")
