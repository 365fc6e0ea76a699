"""The pieces that files are moved in: a whole file, or whole records of a growing one; their rows, and their quarantine."""

import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec

from lae_monitor.archive import Archive, ArchiveError, Exists, Journal
from lae_monitor.core.limits import MAX_SPAN, MiB
from lae_monitor.core.redaction import redact, redacted
from lae_monitor.core.refusals import Refused, shorten
from lae_monitor.core.rows import Reader, Row, Span
from lae_monitor.core.time import format_time
from lae_monitor.mover.ledger import Ledger, Pending, Quarantined
from lae_monitor.store import Store

log = logging.getLogger(__name__)

MAX_RECORD: Final = 16 * MiB  # a record of a growing file that has no end by then is not understood


@dataclass
class Piece:
    """A span with its bytes."""

    pending: Pending
    data: bytes = field(repr=False)


async def next_piece(archive: Archive, path: str, start: int, reader: Reader) -> Piece | None:
    """What of `path` comes next after `start`; None when nothing that is whole and durable does.

    Raises:
        FileNotFoundError: no root that answers has it.
        OSError
    """
    if reader.WHOLE and start:
        return None
    durable = await archive.settle(path)
    if durable <= start:
        return None
    if reader.WHOLE:
        end = durable
        data = await archive.read(Span(path, 0, end))
    else:
        data = await _whole_records(archive, Span(path, start, durable), reader)
        end = start + len(data)
    return Piece(Pending(Span(path, start, end), reader.VERSION, 0), data) if data else None


async def _whole_records(archive: Archive, rest: Span, reader: Reader) -> bytes:
    limit = MAX_SPAN
    while True:
        data = await archive.read(rest._replace(end=min(rest.end, rest.start + limit)))
        if (whole := reader.cut(rest.path, data)) > 0:
            return data[:whole]
        if rest.start + limit >= rest.end:
            return b""  # the last record is still being written
        if limit >= MAX_RECORD:
            return data  # not a record at all: the reader says so
        limit = MAX_RECORD


# From spans to rows. A reader's mistake costs the span it was made on, and nothing else.
#
# All rows of all kinds pass here, and lose their secrets: the store never gets them, so no page, feed or alarm can show one.
FindReader = Callable[[str], Reader | None]


def quarantine_id(span: Span) -> str:
    """The name under which a span that was not understood is kept."""
    return hashlib.blake2b(repr(tuple(span)).encode(), digest_size=8).hexdigest()


@dataclass
class Readings:
    """What was read from the spans of a batch."""

    rows: list[tuple[Row, tuple[str, int]]] = field(default_factory=list)
    failures: dict[Span, str] = field(default_factory=dict)
    counts: dict[Span, int] = field(default_factory=dict)


def read_all(pieces: list[tuple[Span, bytes]], find_reader: FindReader) -> Readings:
    """The rows of `pieces`; a span that its reader refuses, or stumbles over, is a failure with its reason."""
    result = Readings()
    for span, data in pieces:
        reader = find_reader(span.path)
        try:
            rows = [redacted(row) for row in reader.read(span, data)] if reader is not None else []
        except Refused as refused:
            result.failures[span] = redact(str(refused))
            continue
        except Exception as error:
            log.exception("reader of %s", span.path)
            result.failures[span] = f"unreadable: {type(error).__name__}: {shorten(str(error), 300)}"
            continue
        source = (span.path, span.start)
        result.rows += [(row, source) for row in rows]
        result.counts[span] = len(rows)
    return result


# A batch that was begun and not confirmed: by a crash, or a store that failed. It is repeated, and shows nothing twice.


async def pieces_again(
    archive: Archive, store: Store, ledger: Ledger, find_reader: FindReader, batch: list[Pending]
) -> list[Piece]:
    """The spans of `batch` with the same bytes, for the same readers, so that the same token means the same rows.

    Where that cannot be, it starts over; also for a batch that did so before, since its spans may have gone in singly.
    """
    pieces = []
    for item in batch:
        reader = find_reader(item.span.path)
        if item.turn or reader is None or item.parser != reader.VERSION:
            return await start_over(archive, store, ledger, find_reader, batch)
        try:
            pieces.append(Piece(item, await bytes_of(archive, item.span)))
        except FileNotFoundError:
            return await start_over(archive, store, ledger, find_reader, batch)
    return pieces


async def start_over(
    archive: Archive, store: Store, ledger: Ledger, find_reader: FindReader, batch: list[Pending]
) -> list[Piece]:
    """Takes back what may be in the store of `batch`, and prepares it under tokens that were never used.

    A span whose file is gone, or on a root that does not answer, is left out: its cursor stays where it was, so a sweep
    finds it when the file is there again. One that was read again goes back to quarantine, for its cursor is past it.
    """
    await store.take_back((item.span.path, item.span.start) for item in batch)
    turn = ledger.next_turn()
    pieces: list[Piece] = []
    back: list[Quarantined] = []
    for item in batch:
        reader = find_reader(item.span.path)
        if reader is None:
            continue
        try:
            data = await bytes_of(archive, item.span)
        except FileNotFoundError as error:
            log.warning("bytes %d to %d are left out for now: %s", item.span.start, item.span.end, error)
            if item.span.end <= ledger.moved(item.span.path):
                back.append(Quarantined(quarantine_id(item.span), item.span, OLDEST, f"unreadable: {error}"))
            continue
        pieces.append(Piece(Pending(item.span, reader.VERSION, turn), data))
    ledger.rewrite((piece.pending for piece in pieces), back)
    return pieces


async def bytes_of(archive: Archive, span: Span) -> bytes:
    """
    Raises:
        FileNotFoundError: no root that answers has all of `span`.
    """
    data = await archive.read(span)
    if len(data) < span.end - span.start:
        raise FileNotFoundError(f"{span.path}: ends before byte {span.end}")
    return data


# What no reader understood is kept, with the reason beside it, and said on the timeline.
FOLDER: Final = "quarantine"
OLDEST: Final = 0  # a reader's version below all: it is read again at the next start
MAX_COPY: Final = 1 * MiB  # the archive has the whole; this is for looking at


async def keep(
    archive: Archive, journal: Journal, key: str, span: Span, data: bytes, reason: str, now: float, cluster: str
) -> None:
    """Writes `quarantine/<kind>/<key>.json` (the reason) and `<key>.raw` (the bytes), and an alarm into the journal.

    Best effort: the ledger knows of it too, and the bytes are in the archive.
    """
    kind = span.path.partition("/")[0]
    note = {"path": span.path, "start": span.start, "end": span.end, "reason": reason, "time": format_time(now)}
    with suppress(ArchiveError):
        with suppress(Exists):
            await archive.store(f"{FOLDER}/{kind}/{key}.raw", [data[:MAX_COPY]])
        try:
            await archive.store(f"{FOLDER}/{kind}/{key}.json", [msgspec.json.format(msgspec.json.encode(note)), b"\n"])
        except Exists:
            return  # told already
        await journal.write(
            "alarm",
            rule="unreadable",
            cluster=cluster,
            host="",
            title=f"A piece of {kind} could not be read",
            text=f"{span.path}, bytes {span.start} to {span.end}: {reason}",
            level="error",
            quarantine=key,
            next=f"lae-monitor report retry {key}",
        )


async def recall(archive: Archive, store: Store) -> list[Quarantined]:
    """What is in quarantine, by the notes in the archive and the marks in the store: of a ledger that was lost. It is read
    again at the next occasion, for the reader's version is in neither.
    """
    found = []
    for folder in await archive.entries(FOLDER):
        for entry in await archive.entries(f"{FOLDER}/{folder.name}") if folder.folder else ():
            if entry.name.endswith(".json"):
                path = f"{FOLDER}/{folder.name}/{entry.name}"
                note = msgspec.json.decode(await archive.read(Span(path, 0, entry.size)), type=_Note)
                span = Span(note.path, note.start, note.end)
                marks = await store.query(
                    "SELECT rows FROM {lae}.moves WHERE source = {path:String} AND source_at = {start:UInt64} "
                    "ORDER BY time DESC LIMIT 1",
                    {"path": span.path, "start": span.start},
                )
                if marks == [{"rows": 0}]:
                    found.append(Quarantined(entry.name.removesuffix(".json"), span, OLDEST, note.reason))
    return found


class _Note(msgspec.Struct):
    path: str
    start: int
    end: int
    reason: str
