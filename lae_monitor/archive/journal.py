"""All that is no report: refusals, receipts, marks, decisions, alarms. A JSON object a line; a file a day and process.

`store rebuild` reads it back, so an operator's decision survives the store.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from lae_monitor.archive.archive import Archive
from lae_monitor.core.names import row_key
from lae_monitor.core.refusals import Refused, shorten
from lae_monitor.core.rows import Decision, Event, Receipt, Row, Span, cut_lines
from lae_monitor.core.secrets import redact
from lae_monitor.core.time import EARLIEST, Clock, day_path, format_time, parse_time, wall_clock

FOLDER: Final = "journal"
Entries = Mapping[str, Callable[[dict[str, Any]], Row]]  # see Kind.entries

_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Journal:
    """Writes this process's file of the day."""

    def __init__(self, archive: Archive, clock: Clock = wall_clock) -> None:
        self._archive = archive
        self._clock = clock

    async def write(self, what: str, **fields: str | float) -> Span:
        """Adds one entry; returns when it is durable.

        Args:
            what: `receipt`, `mark`, `alarm`, `decision`, or one of a kind's `entries`.
            fields: those of core.rows.Receipt, Event or Decision, or what the kind reads; `time` (seconds) defaults to now.

        Raises:
            Full, Failed
        """
        return await self.write_all(what, [fields])

    async def write_all(self, what: str, entries: Sequence[Mapping[str, str | float]]) -> Span:
        """Adds entries of one sort together, all or none of them; otherwise as `write`."""
        now = self._clock()
        path = f"{FOLDER}/{day_path(now)}/{self._archive.process}.jsonl"
        return await self._archive.append(path, b"".join(_line(what, fields, now) for fields in entries))


def _line(what: str, fields: Mapping[str, str | float], now: float) -> bytes:
    # str(): names have types of their own, which msgspec does not encode.
    texts = {
        key: redact(str(value)) if isinstance(value, str) else value for key, value in fields.items() if key != "time"
    }
    return _encode({"time": format_time(float(fields.get("time", now)), digits=6), "what": what, **texts}) + b"\n"


class Reader:
    """Reads journals in which kinds have `entries` of their own: a core.rows.Reader."""

    LINES = 3  # goes up when the same lines give other rows
    WHOLE = False

    def __init__(self, entries: Entries) -> None:
        self.entries = entries
        self.VERSION = 10 * self.LINES + len(
            entries
        )  # what is in quarantine for the want of a kind is read once it is there

    def cut(self, _path: str, data: bytes) -> int:
        return cut_lines(data)

    def read(self, span: Span, data: bytes) -> Iterator[Row]:
        return read(span, data, self.entries)


def read(span: Span, data: bytes, entries: Entries = MappingProxyType({})) -> Iterator[Row]:
    """The rows of journal lines.

    A line that is no entry (a power cut may leave some, never acknowledged) becomes a mark that says so, and does not keep
    its neighbours from being read: they may be decisions.

    Raises:
        Refused: `unreadable`: an entry of a kind that only a later version knows.
    """
    offset = span.start
    time = _day(span.path)
    for line in data.split(b"\n"):
        if line.strip():
            place = _Place(span.path, offset, len(line) + 1)
            try:
                row = _row(_decode(line), line, place, entries)
            except _Unknown as error:
                raise Refused("unreadable", f"{span.path} at byte {offset}: unknown entry {error}") from error
            except (msgspec.MsgspecError, AttributeError, LookupError, TypeError, ValueError, Refused) as error:
                row = _unreadable(line, place, time, str(error))
            time = getattr(row, "time", time)
            yield row
        offset += len(line) + 1


class _Unknown(Exception):
    """An entry of a kind that we do not know."""


class _Place(NamedTuple):
    """Where a line is: the fields that every row has for it."""

    file: str
    offset: int
    length: int


def _row(entry: dict[str, Any], line: bytes, place: _Place, entries: Entries) -> Row:
    time = parse_time(entry.pop("time"))
    what = entry.pop("what")
    if what == "receipt":
        start = entry.pop("start", 0)
        where = {"file": entry.pop("file", ""), "offset": start, "length": entry.pop("end", start) - start}
        return msgspec.convert({**entry, "time": time, **where}, Receipt)
    if what == "decision":
        return msgspec.convert({**entry, "time": time, **place._asdict()}, Decision)
    if make := entries.get(what):
        return make({**entry, "time": time, **place._asdict()})
    if what not in {"mark", "alarm"}:
        raise _Unknown(shorten(what))
    known = {name: entry.pop(name, "") for name in ("cluster", "host", "title", "text", "group")}
    known["level"] = entry.pop("level", "warning" if what == "alarm" else "info")
    attrs = {str(key): str(value) for key, value in entry.items()}
    return msgspec.convert(_event(what, time, line, place) | known | {"attrs": attrs}, Event)


def _event(kind: str, time: float, line: bytes, place: _Place) -> dict[str, Any]:
    # The same line can be there twice: in the file where writing it failed, and where it went then. It shows once.
    key = row_key("journal", line.decode("utf-8", "backslashreplace"))
    event_id = f"{place.file}:{place.offset}"
    return {"kind": kind, "time": time, "received": time, "id": event_id, "key": key, **place._asdict()}


def _unreadable(line: bytes, place: _Place, time: float, why: str) -> Event:
    reason = Refused("unreadable", shorten(why), raw=line)
    event = _event("mark", time, line, place)
    return Event(
        cluster="", host="", level="warning", title="a line of the journal cannot be read", text=str(reason), **event
    )


def _day(path: str) -> float:
    """Midnight of the day that a journal's path names."""
    try:
        return parse_time("-".join(path.split("/")[1:4]))
    except Refused:
        return EARLIEST
