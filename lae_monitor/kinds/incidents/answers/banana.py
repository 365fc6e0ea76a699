r"""Answers to get_incident, decoded as their bytes come: whole buffers at once, without an object for each token.

    OPEN answer <request> OPEN tuple OPEN dict <header> CLOSE OPEN list OPEN dict <event> CLOSE ... CLOSE CLOSE CLOSE

What comes out is what JSON can hold: bytes are text (where they are no UTF-8 it shows `\xff`), tuples and sets are lists.
Only what nodes send is decoded. At all else `Unusual` is raised, and the caller has Foolscap decode the bytes, so
that there is one place only that says what is wrong, and how the connection goes on.

Source of the format: Foolscap's specification of Banana, and its slicers (MIT); see docs/incidents.md. A token is a number
of seven-bit digits, the lowest first, and a byte that says what it is. Objects are numbered as they open.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

MAX_DEPTH: Final = 50  # containers within containers; incidents need 5, a tub takes some more
MAX_LONG: Final = 128  # bytes of a number; on longer ones Foolscap and our gatherer have limits of their own
CONTAINER: Final = 64  # bytes of memory, about
ITEM: Final = 32  # bytes of a value, or of a key, without its text

MAX_MEMORY: Final = (
    64 * 1024 * 1024
)  # bytes that the values of one answer may take; those of 20,000 events take half of it

LONGEST_WORD: Final = 16  # of the table; its number is shorter

DICT, LIST, TUPLE = 3, 4, 5  # numbers of types in the table of words; 6 and 7 are sets
_CONTAINERS: Final = range(3, 8)
_FREE: Final = 3  # containers around what may be of any type
Match = re.Match[bytes]

# One of these at a time; the commonest come first. Bodies of strings and of long numbers follow, the rest is whole.
_NEXT: Final = re.compile(
    rb"""([\x00-\x7f]{0,64}+) (?:
      \x88 \x08\x87 (?P<text>[\x00-\x7f]{0,64}+) \x82
    | (?P<integer>\x81)
    | (?P<close>\x89)
    | \x88 (?P<container>[\x03-\x07])\x87
    | \x84 (?P<float>.{8})
    | \x88 \x00?\x87 \1(?P<none>\x89)
    | \x88 \x01\x87 (?P<boolean>[\x00\x01]?)\x81 \1\x89
    | (?P<string>\x82)
    | (?P<negative>\x83)
    | (?P<long>[\x85\x86])
    | (?P<symbol>\x87)
    | \x88 \x08\x87 (?P<word>[\x00-\x18]?)\x87 \1\x89
    | \x88 \x02\x87 (?P<reference>[\x00-\x7f]{0,64}+)\x81 \1\x89
    )""",
    re.DOTALL | re.VERBOSE,
)
_TEXT: Final = _NEXT.groupindex["text"]
_INTEGER: Final = _NEXT.groupindex["integer"]

# What may become one of these when more has come.
_BEGUN: Final = re.compile(
    rb"""[\x00-\x7f]{0,64}+ (?:
      \x84 .{0,7}
    | \x88 (?: [\x00-\x08]? | [\x00-\x08]?\x87[\x00-\x7f]{0,64} | [\x01\x02]\x87[\x00-\x7f]{0,64}\x81[\x00-\x7f]{0,64}
             | \x08\x87[\x00-\x7f]?\x87[\x00-\x7f]{0,64} )
    )?""",
    re.DOTALL | re.VERBOSE,
)
_REQUEST: Final = re.compile(rb"([\x00-\x7f]{0,64}+)\x81")
_SMALL: Final = {bytes([digit]): digit for digit in range(128)} | {b"": 0}
_DOUBLE: Final = struct.Struct("!d")


class Unusual(Exception):
    """Not for us: something that nodes do not send, or that breaks a rule."""


class TooMuch(Unusual):
    """The values take more memory than any incident's."""


@dataclass(frozen=True, slots=True)
class Incident:
    """What get_incident was answered, of values that JSON holds.

    Attributes:
        memory: bytes that the values take, at most; None where that is not known, because values refer to others, so that
            written out they may be larger than any disk.
    """

    header: dict[str, Any]
    events: list[dict[str, Any]]
    memory: int | None


def number_of(digits: bytes) -> int:
    """A number of seven-bit digits, the lowest first."""
    number = 0
    for digit in reversed(digits):
        number = number << 7 | digit
    return number


class Decoder:
    """Decodes one answer, from what follows the word "answer" on.

    Args:
        count: the number that its OPEN has, and its CLOSE has to have.
        number: of the first object within it, as they are counted here.
        words: the table that both sides began with.
    """

    def __init__(self, count: int, number: int, words: Sequence[bytes]) -> None:
        self.number = number  # of the next object
        self.request: int | None = None
        self.incident: Incident | None = None
        self._is_whole = False
        self._count = count
        self._words = words
        self._pieces: list[bytes] = []  # not decoded yet
        self._lacking = 0  # bytes that have to come before it is worth a look
        self._open: list[tuple[int, bytes, int, list[Any]]] = []  # type, count, number, and the items around it
        self._items: list[Any] = []  # of the innermost container; of a dictionary by turns its keys and values
        self._objects: dict[int, Any] = {}  # those that may be referred to
        self._memory = 0
        self._is_plain = True

    @property
    def depth(self) -> int:
        """How many objects are open, with the answer itself."""
        return len(self._open) + 1

    def rest(self) -> bytes:
        """What came and is not decoded; it is forgotten here."""
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def feed(self, chunk: bytes) -> bool:
        """Decodes what has come; returns whether the answer is whole.

        Raises:
            Unusual: this decoder is of no more use.
            TooMuch: nor is the answer.
        """
        self._pieces.append(chunk)
        self._memory += len(chunk)
        self._lacking -= len(chunk)
        if self._lacking > 0:
            return False
        data = self.rest()
        if self.request is not None:
            return self._decode(data, 0)
        found = _REQUEST.match(data)
        if found is None:
            return self._wait(data, 0)
        self.request = number_of(found[1])
        return self._decode(data, found.end())

    def _decode(self, data: bytes, at: int) -> bool:
        """The loop over all that has come."""
        match, small, append = _NEXT.match, _SMALL, self._items.append
        texts = 0  # since self.number was right
        while not self._is_whole:
            found = match(data, at)
            if found is None:
                self.number += texts
                return self._wait(data, at)
            kind = found.lastindex or 0  # never 0: each has a group of its own
            if kind == _TEXT:  # most of what comes: nothing is called for it that need not be
                count, length = found.group(1, _TEXT)
                begin = found.end()
                end = begin + (small[length] if length in small else number_of(length))
                after = end + len(count) + 1
                if data[end:after] != count + b"\x89":
                    self.number += texts
                    return self._wait_for_end(data, at, data[end:after], count + b"\x89", after)
                append(_text(data[begin:end]))
                texts += 1
                at = after
            elif kind == _INTEGER:
                digits = found[1]
                append(small[digits] if digits in small else number_of(digits))
                at = found.end()
            else:
                self.number += texts
                texts = 0
                after = _TAKE[kind](self, found, data)
                if after > len(data):
                    return self._wait_for_end(data, at, b"", b"", after)
                append = self._items.append
                at = after
        self._pieces = [data[at:]]
        return True

    def _wait(self, data: bytes, at: int) -> bool:
        if not _BEGUN.fullmatch(data, at):
            raise Unusual
        return self._wait_for_end(data, at, b"", b"", len(data) + 1)

    def _wait_for_end(self, data: bytes, at: int, came: bytes, wanted: bytes, end: int) -> bool:
        """Goes on at `at` once there is data up to `end`; what already came of its end has to be as it is wanted."""
        if end <= len(data) or not wanted.startswith(came):
            raise Unusual
        self._pieces = [data[at:]]
        self._lacking = end - len(data)
        return False

    # ---- what may come: each returns where it ends; beyond the data, when that is not all there ---------------------

    def _float(self, found: Match, _data: bytes) -> int:
        self._items.append(_DOUBLE.unpack(found["float"])[0])
        return found.end()

    def _none(self, found: Match, _data: bytes) -> int:
        self.number += 1
        self._items.append(None)
        return found.end()

    def _boolean(self, found: Match, _data: bytes) -> int:
        self.number += 1
        self._items.append(found["boolean"] == b"\x01")
        return found.end()

    def _negative(self, found: Match, _data: bytes) -> int:
        self._items.append(-number_of(found[1]))
        return found.end()

    def _string(self, found: Match, data: bytes) -> int:
        end = found.end() + number_of(found[1])
        if end <= len(data):
            self._items.append(data[found.end() : end].decode("utf-8", "backslashreplace"))
            self._memory += 3 * (end - found.end())
        return end

    def _long(self, found: Match, data: bytes) -> int:
        length = number_of(found[1])
        if length > MAX_LONG:
            raise Unusual
        end = found.end() + length
        if end <= len(data):
            number = int.from_bytes(data[found.end() : end], "big")
            self._items.append(number if found["long"] == b"\x85" else -number)
        return end

    def _word(self, found: Match, _data: bytes) -> int:
        """A text that happens to be one of the words."""
        self.number += 1
        return self._symbol(found, _data, found["word"])

    def _symbol(self, found: Match, _data: bytes, digits: bytes | None = None) -> int:
        """Bytes that are one."""
        number = number_of(found[1] if digits is None else digits)
        if number >= len(self._words):
            raise Unusual
        self._items.append(self._words[number].decode())
        self._memory += LONGEST_WORD
        return found.end()

    def _reference(self, found: Match, _data: bytes) -> int:
        number = number_of(found["reference"])
        if number not in self._objects or len(self._open) < _FREE:
            raise Unusual  # it refers to nothing, to something around it, or to an event as a whole
        self.number += 1
        self._items.append(self._objects[number])
        self._is_plain = False
        return found.end()

    def _container(self, found: Match, data: bytes) -> int:
        kind = found["container"][0]
        depth = len(self._open)
        if depth >= MAX_DEPTH or (depth < _FREE and kind not in self._allowed()):
            raise Unusual
        self._memory += CONTAINER
        if self._memory > MAX_MEMORY:
            self._pieces = [data[found.start() :]]  # to be discarded from here on
            raise TooMuch
        self._open.append((kind, found[1], self.number, self._items))
        self._items = []
        self.number += 1
        return found.end()

    def _allowed(self) -> Sequence[int]:
        """The types that Foolscap's schema lets stand next: of a pair of a dictionary and a list of dictionaries."""
        if not self._open:
            return (TUPLE,)
        if len(self._open) == 1:
            return (LIST,) if self._items else (DICT,)
        return (DICT,) if self._open[-1][0] == LIST else _CONTAINERS

    def _close(self, found: Match, _data: bytes) -> int:
        if not self._open:
            if number_of(found[1]) != self._count:
                raise Unusual
            self._finish()
            self._is_whole = True
            return found.end()
        kind, count, number, around = self._open.pop()
        if found[1] != count:
            raise Unusual
        made: Any = self._items
        if kind == DICT:
            made = self._dictionary()
        elif len(self._open) == 1:
            self._check_list(made)
        self._memory += ITEM * len(self._items)
        around.append(made)
        self._objects[number] = made
        self._items = around
        return found.end()

    def _dictionary(self) -> dict[str, Any]:
        keys, values = self._items[::2], self._items[1::2]
        if len(keys) != len(values) or not {*map(type, keys)} <= {str}:
            raise Unusual
        made = dict(zip(keys, values, strict=True))
        if len(made) != len(keys):
            raise Unusual
        return made

    def _check_list(self, made: list[Any]) -> None:
        """Whether that of the events may hold what it does."""
        if not {*map(type, made)} <= {dict}:
            raise Unusual

    def _finish(self) -> None:
        pair = self._items[0] if len(self._items) == 1 else None
        if not isinstance(pair, list) or [*map(type, pair)] != [dict, list]:
            raise Unusual
        header, events = pair
        self.incident = Incident(header, events, self._memory if self._is_plain else None)


def _text(data: bytes) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise Unusual from None


_TAKE: Final = {
    number: getattr(Decoder, f"_{name}") for name, number in _NEXT.groupindex.items() if number not in {_TEXT, _INTEGER}
}
