"""A batch that was begun and not confirmed: by a crash, or a store that failed. It is repeated, and shows nothing twice."""

import logging

from lae_monitor.archive import Archive
from lae_monitor.core.rows import Span
from lae_monitor.mover.ledger import Ledger, Pending, Quarantined
from lae_monitor.mover.pieces import Piece
from lae_monitor.mover.quarantine import OLDEST
from lae_monitor.mover.reading import FindReader, quarantine_id
from lae_monitor.store import Store

log = logging.getLogger(__name__)


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
