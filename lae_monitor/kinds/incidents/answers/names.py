"""Calls of new_incident, found where they lie whole among what has come: a node makes one for each incident of a week.

    OPEN call 0 <object> "new_incident" OPEN arguments 2 <name> OPEN dict <trigger> CLOSE CLOSE CLOSE

Foolscap takes a millisecond for each, most of it for the trigger, which nobody wants. Here it is only checked. What is not
of this form is left to Foolscap: calls that want an answer, and what is cut at the end of what has come.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from lae_monitor.kinds.incidents.answers.banana import _CONTAINERS, DICT, Decoder, Unusual, number_of

_NUMBER: Final = rb"([\x00-\x7f]{0,64}+)"
# 11 and 12 are the numbers of the words call and arguments.
_OPEN: Final = re.compile(_NUMBER + rb"\x88\x0b\x87")
_HEAD: Final = re.compile(rb"\x00?\x81" + _NUMBER + rb"\x81\x0c\x82new_incident" + _NUMBER + rb"\x88\x0c\x87\x02\x81")
_CLOSE: Final = re.compile(_NUMBER + rb"\x89")


class Named(NamedTuple):
    """An incident that was named.

    Attributes:
        target: the number of the object that is called.
        name: of ASCII.
        end: where the call ends.
        number: of the next object.
    """

    target: int
    name: str
    end: int
    number: int


class _Arguments(Decoder):
    """Decodes what follows the number of the arguments: a name and a dictionary."""

    name = ""

    def _allowed(self) -> Sequence[int]:
        if self._open:
            return _CONTAINERS
        return (DICT,) if len(self._items) == 1 else ()

    def _check_list(self, made: list[object]) -> None:
        """Any list may be in a trigger."""

    def _finish(self) -> None:
        name, trigger = self._items if len(self._items) == 2 else (None, None)
        if not isinstance(name, str) or not isinstance(trigger, dict):
            raise Unusual
        if not name.isascii() or "\\" in name:
            raise Unusual  # bytes, perhaps, that are no text
        self.name = name

    def take(self, data: bytes, at: int) -> int | None:
        """Where the arguments end that begin at `at`; None when they do not."""
        return len(data) - len(self.rest()) if self._decode(data, at) else None


def named(data: bytes, at: int, count: int, number: int, words: Sequence[bytes]) -> Named | None:
    """The call whose head ends at `at`, if it is one, and whole.

    Args:
        count: that the call's OPEN has.
        number: of the next object.
        words: the table that both sides began with.
    """
    head = _HEAD.match(data, at)
    if head is None:
        return None
    arguments = _Arguments(number_of(head[2]), number + 1, words)
    try:
        end = arguments.take(data, head.end())
    except Unusual:
        return None
    close = _CLOSE.match(data, end) if end is not None else None
    if close is None or number_of(close[1]) != count:
        return None
    return Named(number_of(head[1]), arguments.name, close.end(), arguments.number)


def next_named(data: bytes, at: int, number: int, words: Sequence[bytes]) -> Named | None:
    """The call that begins at `at`, likewise."""
    found = _OPEN.match(data, at)
    return named(data, found.end(), number_of(found[1]), number + 1, words) if found is not None else None
