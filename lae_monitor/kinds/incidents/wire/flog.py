"""The file format of flogtool: a magic line, then JSON lines, the first of them the header; as a whole, bzip2.

Source of the format: Foolscap's flogfile.py (MIT); see docs/incidents.md. Both directions have limits: what nodes send, and
what lies in a file, may be made to harm its reader.
"""

import bz2
import json
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from lae_monitor.core.limits import MiB
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.incidents.answers.banana import Incident
from lae_monitor.kinds.incidents.wire.plain import Plain

MAGIC: Final = b"# foolscap flogfile v1\n"
MAX_EVENTS: Final = 20_000  # of one incident; a node keeps 100 of each facility and level, typically 1,800
MAX_INCIDENT: Final = 8 * MiB  # of JSON; typically 0.7 MiB
MAX_MEMORY: Final = 24 * MiB  # of the values it is made of, while they are converted
MAX_INFLATED: Final = 64 * MiB  # read from one file; more than MAX_INCIDENT, for files that other programs wrote
MAX_LINE: Final = 4 * MiB  # one event; parsed, it may take twenty times as much memory
MAX_STREAMS: Final = 100  # compressed pieces of one file; flogtool writes one
LEVEL: Final = 3  # of compression: 1 % larger files than at 9, in nine tenths of the time
_CHUNK: Final = 256 * 1024  # bytes inflated at a time


class Packed(NamedTuple):
    """An incident as a compressed file: its pieces, how many events, and the bytes before compression."""

    chunks: list[bytes]
    events: int
    size: int


def pack(answer: Any, tub_id: str, rx_time: float) -> Packed:
    """What a node answered to get_incident, as the file that flogtool's gatherer would write.

    Args:
        answer: an Incident, or header and events of whatever types the wire gave.
        tub_id: from whom.
        rx_time: when we had it.

    Raises:
        Refused: `incident_malformed`, `incident_too_large`.
    """
    if isinstance(answer, Incident):
        header, events = answer.header, answer.events
        is_plain = answer.memory is not None and answer.memory <= MAX_MEMORY
    elif isinstance(answer, tuple | list) and len(answer) == 2 and isinstance(answer[1], list):
        (header, events), is_plain = answer, False
    else:
        raise Refused("incident_malformed", "not a header and a list of events")
    if len(events) > MAX_EVENTS:
        raise Refused("incident_too_large", f"{len(events)} events, limit {MAX_EVENTS}")
    make = _same if is_plain else Plain(MAX_MEMORY).of
    header = make(header)
    if not isinstance(header, dict) or header.get("type") != "incident" or not isinstance(header.get("trigger"), dict):
        raise Refused("incident_malformed", "the header is not that of an incident")
    if not events:
        raise Refused("incident_malformed", "no events")
    lines = [MAGIC]
    size = len(MAGIC)
    for line in _lines(header, events, make, {"from": tub_id, "rx_time": rx_time}):
        size += len(line)
        if size > MAX_INCIDENT:
            raise Refused("incident_too_large", f"more than {MAX_INCIDENT} bytes")
        lines.append(line)
    return Packed([bz2.compress(b"".join(lines), LEVEL)], len(events), size)


def _same(value: Any) -> Any:
    return value


def _lines(header: Any, events: list[Any], make: Callable[[Any], Any], envelope: dict[str, Any]) -> Iterator[bytes]:
    yield _json({"header": header})
    for event in events:
        made = make(event)
        if not isinstance(made, dict):
            raise Refused("incident_malformed", "an event that is no dictionary")
        yield _json({**envelope, "d": made})


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode("ascii") + b"\n"


def unpack(data: bytes) -> Iterator[dict[str, Any] | None]:
    """The JSON objects of a file, header first; None for a line of more than MAX_LINE bytes. Takes plain files, too.

    Raises:
        Refused: `unreadable`.
    """
    lines = _split(_inflate(data) if data.startswith(b"BZ") else iter([data]))
    magic = next(lines, b"") or b""
    if magic.startswith(b"(dp0"):
        raise Refused("unreadable", "a pickle of an old flogtool, which could run anything: never read")
    if magic != MAGIC:
        raise Refused("unreadable", "does not begin as a flog file does")
    for line in lines:
        if line is None:
            yield None
            continue
        try:
            value = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise Refused("unreadable", f"a line that is not JSON: {str(error)[:100]}") from error
        if not isinstance(value, dict):
            raise Refused("unreadable", "a line that is no JSON object")
        yield value


def _split(pieces: Iterator[bytes]) -> Iterator[bytes | None]:
    """Lines with their newline; None in place of one that is longer than MAX_LINE."""
    rest = b""
    skipping = False
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield None if skipping or len(line) > MAX_LINE else line + b"\n"
            skipping = False
        if len(rest) > MAX_LINE:
            rest, skipping = b"", True
    if rest or skipping:
        raise Refused("unreadable", "cut short: the last line does not end")


def _inflate(data: bytes) -> Iterator[bytes]:
    total = 0
    for _ in range(MAX_STREAMS):
        if not data:
            return
        decompressor = bz2.BZ2Decompressor()
        waiting = data
        while not decompressor.eof:
            try:
                piece = decompressor.decompress(waiting, _CHUNK)
            except OSError as error:
                raise Refused("unreadable", "not bzip2") from error
            waiting = b""
            total += len(piece)
            if total > MAX_INFLATED:
                raise Refused("unreadable", f"inflates to more than {MAX_INFLATED} bytes")
            if not piece and decompressor.needs_input:
                raise Refused("unreadable", "cut short: the compressed data does not end")
            yield piece
        data = decompressor.unused_data
    raise Refused("unreadable", f"more than {MAX_STREAMS} compressed streams in one file")
