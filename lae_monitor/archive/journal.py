"""All that is no report: refusals, receipts, marks, decisions, alarms. A JSON object a line; a file a day and process.

`store rebuild` reads it back, so an operator's decision survives the store.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from lae_monitor.archive.archive import Archive
from lae_monitor.core.ids import row_key
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Decision, Event, Receipt, Row, Span, cut_lines
from lae_monitor.core.secrets import redact
from lae_monitor.core.time import Clock, day_path, format_time, parse_time, wall_clock

FOLDER: Final = "journal"
VERSION: Final = 1  # goes up when the same lines give other rows
WHOLE: Final = False

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
            what: `receipt`, `mark`, `alarm` or `decision`.
            fields: those of core.rows.Receipt, Event or Decision; `time` (seconds) defaults to now.

        Raises:
            Full, Failed
        """
        now = self._clock()
        time = fields.pop("time", now)
        # str(): names have types of their own, which msgspec does not encode.
        entry = {
            "time": format_time(float(time), digits=6),
            "what": what,
            **{key: redact(str(value)) if isinstance(value, str) else value for key, value in fields.items()},
        }
        path = f"{FOLDER}/{day_path(now)}/{self._archive.process}.jsonl"
        return await self._archive.append(path, _encode(entry) + b"\n")


def cut(_path: str, data: bytes) -> int:
    return cut_lines(data)


def read(span: Span, data: bytes) -> Iterator[Row]:
    """The rows of journal lines.

    Raises:
        Refused: `unreadable` when a line is no entry.
    """
    offset = span.start
    for line in data.splitlines(keepends=True):
        if line.strip():
            try:
                yield _row(_decode(line), span.path, offset, len(line))
            except (msgspec.MsgspecError, KeyError, TypeError, ValueError, Refused) as error:
                raise Refused("unreadable", f"{span.path} at byte {offset}: {error}") from error
        offset += len(line)


def _row(entry: dict[str, Any], path: str, offset: int, length: int) -> Row:
    time = parse_time(entry.pop("time"))
    what = entry.pop("what")
    if what == "receipt":
        where = {"file": entry.pop("file", ""), "offset": entry.pop("start", 0)}
        end = entry.pop("end", where["offset"])
        return msgspec.convert({**entry, "time": time, **where, "length": end - where["offset"]}, Receipt)
    place = {"file": path, "offset": offset, "length": length}
    if what == "decision":
        return msgspec.convert({**entry, "time": time, **place}, Decision)
    if what not in {"mark", "alarm"}:
        raise Refused("unreadable", f"unknown entry {what!r}")
    known = {name: entry.pop(name, "") for name in ("cluster", "host", "title", "text", "group")}
    level = entry.pop("level", "warning" if what == "alarm" else "info")
    attrs = {str(key): str(value) for key, value in entry.items()}
    return Event(
        kind=what,
        time=time,
        received=time,
        id=f"{path}:{offset}",
        key=row_key("journal", path, offset),
        level=level,
        attrs=attrs,
        **known,
        **place,  # type: ignore[arg-type]
    )
