"""Finds what no hint told of, by looking into the archive's folders."""

import logging
import re
from collections.abc import AsyncIterator, Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Final

from lae_monitor.archive import Archive
from lae_monitor.archive.files import check_path
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import Clock

log = logging.getLogger(__name__)

RECENT_DAYS: Final = 2  # a quick sweep looks into the folders of so many days


async def sweep(
    archive: Archive, folders: Collection[str], moved_in: Callable[[str], dict[str, int]], clock: Clock, *, full: bool
) -> AsyncIterator[str]:
    """The files below `folders` that hold more than was moved.

    Args:
        moved_in: the cursors of the files below a folder.
        full: look into the folders of all days, not only the last few.
    """
    today = datetime.fromtimestamp(clock(), UTC).date()
    recent = None if full else {(today + timedelta(days=1 - ago)) for ago in range(RECENT_DAYS + 1)}
    days = None if recent is None else {day.strftime("%Y%m%d") for day in recent}
    waiting = list(folders)
    while waiting:
        folder = waiting.pop()
        entries = await archive.entries(folder)
        folders_below = [entry.name for entry in entries if entry.folder and _worth_a_look(folder, entry.name, days)]
        waiting += [path for name in folders_below if ours(path := f"{folder}/{name}", tell=full)]
        files = [entry for entry in entries if not entry.folder]
        if files:
            moved = moved_in(folder)
            for entry in files:
                path = f"{folder}/{entry.name}"
                if entry.size > moved.get(path, 0) and ours(path, tell=full):
                    yield path


def ours(path: str, *, tell: bool = False) -> bool:
    """Whether `path` may be the archive's; what somebody put there by hand is left alone, and must not stop the rest."""
    try:
        check_path(path, stored=True)
    except Refused:
        if tell:
            log.warning("%r is no file of the archive: it is not moved", path)
        return False
    return True


def _worth_a_look(folder: str, name: str, days: set[str] | None) -> bool:
    """Whether the folder may be of one of `days`: folders that are named after no date are always."""
    if days is None or not name.isdigit():
        return True
    found = re.search(r"((?:/\d{2,4})*)$", folder)
    digits = (found[1] if found else "").replace("/", "") + name
    if len(digits) not in {4, 6, 8}:
        return True
    return any(day.startswith(digits) for day in days)
