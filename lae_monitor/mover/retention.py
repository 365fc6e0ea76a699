"""What is older than it is to be kept goes: its rows first, then its file. Nothing goes that was not moved.

A file's age is the day in its path: that of its receipt or, for samples, that of the record.
"""

import logging
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Final

from lae_monitor.archive import Archive
from lae_monitor.core.time import DAY
from lae_monitor.mover.mover import Mover

log = logging.getLogger(__name__)

# The day of a file, by the first folder of its path; docs/archive.md has the layout.
_DAYS: Final = {
    "crashes": re.compile(r"crashes/(\d{4})(\d\d)(\d\d)/"),
    "incidents": re.compile(r"incidents/[^/]+/incidents/[^/]+/incident-(\d{4})-(\d\d)-(\d\d)-"),
    "sonar": re.compile(r"sonar/[^/]+/(\d{4})/(\d\d)/(\d\d)/"),
    "journal": re.compile(r"journal/(\d{4})/(\d\d)/(\d\d)/"),
}


def day_of(path: str) -> float | None:
    """The beginning of the day that `path` belongs to, in seconds; None for a path without one."""
    pattern = _DAYS.get(path.partition("/")[0])
    found = pattern.match(path) if pattern is not None else None
    if found is None:
        return None
    try:
        return datetime(int(found[1]), int(found[2]), int(found[3]), tzinfo=UTC).timestamp()
    except ValueError:
        return None


async def retire(mover: Mover, keep: Mapping[str, float], now: float) -> int:
    """Removes what is older than `keep` says, in seconds by kind; the journal is kept as long as the longest.

    Returns:
        How many files went.
    """
    limits = {**keep, "journal": max(keep.values())}
    gone = 0
    for kind, seconds in limits.items():
        if kind not in _DAYS:
            continue
        async for path, size in _files(mover.archive, kind):
            day = day_of(path)
            if day is None or day + DAY > now - seconds:
                continue
            if mover.ledger.moved(path) < size:
                log.warning("%s is older than it is to be kept, but was not moved yet: it stays", path)
                continue
            async with mover.paused():
                await mover.store.take_back(path, 0)
                await mover.archive.remove(path)
                mover.ledger.drop(path)
            gone += 1
    return gone


async def _files(archive: Archive, folder: str) -> AsyncIterator[tuple[str, int]]:
    for entry in await archive.entries(folder):
        path = f"{folder}/{entry.name}"
        if entry.folder:
            async for inner in _files(archive, path):
                yield inner
        else:
            yield path, entry.size
