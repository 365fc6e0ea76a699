"""The pieces that files are moved in: a whole file, or whole records of a growing one."""

from dataclasses import dataclass, field
from typing import Final

from lae_monitor.archive import Archive
from lae_monitor.core.limits import MAX_SPAN, MiB
from lae_monitor.core.rows import Reader, Span
from lae_monitor.mover.ledger import Pending

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
