"""Finds what no hint told of, by looking into the archive's folders."""

import re
from collections.abc import AsyncIterator, Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Final

from lae_monitor.archive import Archive
from lae_monitor.core.time import Clock

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
        waiting += [
            f"{folder}/{entry.name}" for entry in entries if entry.folder and _worth_a_look(folder, entry.name, days)
        ]
        files = [entry for entry in entries if not entry.folder]
        if files:
            moved = moved_in(folder)
            for entry in files:
                path = f"{folder}/{entry.name}"
                if entry.size > moved.get(path, -1 if entry.size == 0 else 0):
                    yield path


def _worth_a_look(folder: str, name: str, days: set[str] | None) -> bool:
    """Whether the folder may be of one of `days`: folders that are named after no date are always."""
    if days is None or not name.isdigit():
        return True
    found = re.search(r"((?:/\d{2,4})*)$", folder)
    digits = (found[1] if found else "").replace("/", "") + name
    if len(digits) not in {4, 6, 8}:
        return True
    return any(day.startswith(digits) for day in days)
