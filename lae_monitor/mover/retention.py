"""What is older than it is to be kept goes: its rows first, then its file. Nothing goes that was not moved.

A file's age is the day in its path: that of its receipt or, for samples, that of the record.
"""

import logging
import re
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import UTC, datetime
from typing import Final

from lae_monitor.archive import Archive, ArchiveError
from lae_monitor.archive.kernel import Entry
from lae_monitor.core.time import DAY
from lae_monitor.mover.mover import Mover
from lae_monitor.mover.sweep import ours
from lae_monitor.store.store import DELETED_AT_ONCE

log = logging.getLogger(__name__)

# The day of a file, by the first folder of its path; docs/archive.md has the layout.
_DAYS: Final = {
    "crashes": re.compile(r"crashes/(\d{4})(\d\d)(\d\d)/"),
    "incidents": re.compile(
        r"incidents/[^/]+/(?:incidents/[^/]+/incident-(\d{4})-(\d\d)-(\d\d)-|logs/[^/]+/(\d{4})/(\d\d)/(\d\d)\.)"
    ),
    "sonar": re.compile(r"sonar/[^/]+/(\d{4})/(\d\d)/(\d\d)/"),
    "journal": re.compile(r"journal/(\d{4})/(\d\d)/(\d\d)/"),
}


def day_of(path: str) -> float | None:
    """The beginning of the day that `path` belongs to, in seconds; None for a path without one."""
    pattern = _DAYS.get(path.partition("/")[0])
    found = pattern.match(path) if pattern is not None else None
    if found is None:
        return None
    year, month, day = (int(number) for number in found.groups() if number is not None)
    try:
        return datetime(year, month, day, tzinfo=UTC).timestamp()
    except ValueError:
        return None


async def retire(mover: Mover, keep: Mapping[str, float], now: float, spared: Collection[str] = ()) -> int:
    """Removes what is older than `keep` says, in seconds by kind; the journal is kept as long as the longest.

    Args:
        spared: files that stay nevertheless.

    Returns:
        How many files went.
    """
    limits = {**keep, "journal": max(keep.values())}
    gone = 0
    for kind, seconds in limits.items():
        if kind not in _DAYS:
            continue
        old: list[str] = []
        async for path, _ in files(mover.archive, kind):
            day = day_of(path)
            if day is None or day + DAY > now - seconds or path in spared:
                continue
            old.append(path)
            if len(old) == DELETED_AT_ONCE:
                gone += await remove(mover, old)
                old = []
        gone += await remove(mover, old)
    return gone


async def remove(mover: Mover, old: list[str]) -> int:
    """Removes those of the files `old` that were moved to their end; none while a batch is waiting to be repeated."""
    gone = 0
    async with mover.paused():
        if mover.ledger.batch():
            log.warning("nothing is retired while a batch is waiting to be repeated")
            return 0
        paths = [path for path in old if await _is_moved(mover, path)]
        await mover.store.forget(paths)
        for path in paths:
            try:
                await mover.archive.remove(path)
                gone += 1
            except ArchiveError as error:  # somebody writes to it: it is moved anew
                log.warning("%s stays for now: %s", path, error)
        mover.ledger.drop(paths)
    return gone


async def _is_moved(mover: Mover, path: str) -> bool:
    try:
        if mover.ledger.moved(path) >= await mover.archive.settle(path):
            return True
    except FileNotFoundError as error:
        log.warning("%s", error)
        return False
    log.warning("%s is older than it is to be kept, but was not moved yet: it stays", path)
    return False


async def files(archive: Archive, folder: str) -> AsyncIterator[tuple[str, Entry]]:
    """The files of ours below `folder`, each with what its folder says of it."""
    for entry in await archive.entries(folder):
        path = f"{folder}/{entry.name}"
        if not ours(path):
            continue
        if entry.folder:
            async for inner in files(archive, path):
                yield inner
        else:
            yield path, entry
