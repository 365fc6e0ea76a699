"""Regular expressions of operators, which search values that come from outside: neither can take for ever.

`re` cannot be stopped: `(.*)(.*)(.*)x` takes it more than 6 s for 256 characters. `regex` ends a search in time, and a
pattern for which it would take too much memory is refused. See docs/throttling.md#rules.
"""

import re
from collections.abc import Callable
from time import thread_time
from typing import TYPE_CHECKING, Final

from lae_monitor.core.refusals import shorten

if TYPE_CHECKING:
    import regex

MAX_PATTERN: Final = 20_000  # pieces of a pattern with its repeats written out; they take 25 MiB for a moment

_PIECE: Final = re.compile(r"\\N\{[^}]*\}|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{[0-9]*,?[0-9]*\}|\(\?|.", re.DOTALL)


class TooSlow(Exception):
    """The searches of a report or an incident took longer than they may."""


class Searches:
    """The searches of one report or incident.

    Args:
        seconds: of this thread's processor time, for all of them together.
        characters: of a value that are searched.
        begin: called before each search.
    """

    def __init__(self, seconds: float, characters: int, begin: Callable[[], None] | None = None) -> None:
        self._seconds = self._left = seconds
        self._characters = characters
        self._begin = begin

    def find(self, pattern: "regex.Pattern[str]", text: str) -> bool:
        """
        Raises:
            TooSlow
        """
        if self._begin is not None:
            self._begin()
        began = thread_time()
        try:
            if self._left > 0:
                return pattern.search(text[: self._characters], timeout=self._left) is not None
        except TimeoutError:
            self._left = 0.0  # the time of `regex` is that of the whole process, so some of ours may be left
        finally:
            self._left -= thread_time() - began
        raise TooSlow(f"took longer than {self._seconds:g} s")


def compiled(text: str) -> "regex.Pattern[str]":
    """A pattern of Python's language that Searches can stop.

    Raises:
        ValueError: it is none, or too large.
    """
    import regex  # noqa: PLC0415 - 3 MiB and 25 ms, for files with patterns only

    try:
        re.compile(text)
        pieces = _PIECE.findall(text)
        if _written_out(pieces) > MAX_PATTERN:
            raise ValueError(f"is too large with its repeats written out: {shorten(text)}")
        # For `regex`, x{e} is an x with an error: a brace that repeats nothing is one of the text.
        return regex.compile("".join("\\{" if piece == "{" else piece for piece in pieces), regex.VERSION0)
    except (re.error, regex.error, RecursionError, OverflowError) as error:
        raise ValueError(f"is no regular expression: {error}: {shorten(text)}") from error


def _written_out(pieces: list[str]) -> int:
    """About how many pieces `regex` makes: a repeat stands as often as it must, and a group that repeats three times."""
    sizes, last, is_group = [0], 0, False
    for piece in pieces:
        times = _times(piece)
        if times and last:
            sizes[-1] += last * (max(times, 3 if is_group else 1) - 1)
            last = 0
        elif piece in {"(", "(?"}:
            sizes.append(1)
            last = 0
        else:
            is_group = piece == ")" and len(sizes) > 1
            last = sizes.pop() if is_group else 1
            sizes[-1] += last
    return sum(sizes)


def _times(piece: str) -> int:
    """How often what stands before has to repeat, at least 1; 0 when `piece` is no repeat."""
    if piece in {"*", "+", "?"}:
        return 1
    return int(piece[1:-1].partition(",")[0] or 1) or 1 if piece[0] == "{" and len(piece) > 2 else 0
