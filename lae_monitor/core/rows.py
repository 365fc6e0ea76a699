"""The rows that readers make and the store keeps: one struct a table. Times are seconds since the epoch, UTC. Kinds may have
more of their own.

A reader (`kinds/<kind>/read.py`) turns bytes of the archive into these and does no I/O. `file`, `offset` and `length`
lead from every row back to the bytes it was read from.
"""

from collections.abc import Iterator
from typing import ClassVar, NamedTuple, Protocol

import msgspec

LEVELS = ("debug", "info", "warning", "error", "critical")  # rising


class Span(NamedTuple):
    """A piece of an archive file: bytes `start` to `end` of `path` (relative to the archive's roots)."""

    path: str
    start: int
    end: int


class Row(msgspec.Struct, kw_only=True):
    """What all rows have: the place in the archive they were read from."""

    table: ClassVar[str] = ""
    file: str = ""
    offset: int = 0
    length: int = 0


class Event(Row, kw_only=True):
    """A mark on a host's timeline."""

    table: ClassVar[str] = "events"
    kind: str  # crash, incident, sonar, log, alarm, mark
    cluster: str
    host: str
    time: float  # when it happened, by the sender's clock
    received: float  # when we had it, by ours; 0 where only a receipt knows
    id: str  # crash id, incident name, else "<archive path>:<offset>"
    key: bytes  # 16 bytes, core.names.row_key(): equal for what is stored twice
    level: str  # one of LEVELS
    title: str
    text: str = ""
    group: str = ""
    attrs: dict[str, str] = {}


class Receipt(Row, kw_only=True):
    """What was accepted or refused, and why. `file`, `offset`, `length`: where it lies if it was accepted."""

    table: ClassVar[str] = "receipts"
    kind: str
    cluster: str
    host: str
    time: float
    peer: str
    verdict: str  # accepted, refused, quarantined
    reason: str = ""  # a code of core.refusals
    detail: str = ""
    id: str = ""
    size: int = 0  # bytes as they came


class Decision(Row, kw_only=True):
    """What an operator decided: the newest decision of a (subject, about) holds."""

    table: ClassVar[str] = "decisions"
    subject: str  # what is decided: "group", "trust", "silence", "host"
    about: str  # of which: a group's id, a host's name, ...
    time: float
    value: str  # JSON
    by: str = ""


class Reader(Protocol):
    """What a kind's `read.py` is to the mover; modules satisfy it.

    `WHOLE` kinds are read a file at a time; the others a piece at a time, each piece ending where `cut` says.
    `VERSION` goes up when the same bytes give other rows.
    """

    VERSION: int
    WHOLE: bool

    def cut(self, path: str, data: bytes) -> int:
        """How many bytes of `data` (the unread tail of `path`, or its beginning) are whole records."""
        ...

    def read(self, span: Span, data: bytes) -> Iterator[Row]:
        """The rows in `data`, which are the bytes of `span`.

        Raises:
            Refused: `unreadable`; the span goes to quarantine with the reason.
        """
        ...


def cut_lines(data: bytes) -> int:
    """How many bytes of `data` are whole lines."""
    return data.rfind(b"\n") + 1
