"""Finds what no hint told of, by looking into the archive's folders."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Final

from lae_monitor.archive import Archive
from lae_monitor.archive.files import check_path
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import Clock
from lae_monitor.mover.waiting import BATCH_FILES, Waiting

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


# When the archive's folders are looked through, and that batches go on meanwhile: with many files it takes long.
QUICK_SWEEP: Final = 10.0  # seconds between sweeps of the last days
FULL_SWEEP: Final = 3600.0  # seconds between sweeps of everything


class Sweeps:
    """
    Args:
        moved_in: the cursors of the files below a folder.
        waiting: gets what is found.
        wake: set by hints, and at the end of a sweep.
    """

    def __init__(
        self,
        archive: Archive,
        folders: tuple[str, ...],
        moved_in: Callable[[str], dict[str, int]],
        waiting: Waiting,
        wake: asyncio.Event,
        clock: Clock,
    ) -> None:
        self._archive = archive
        self._folders = folders
        self._moved_in = moved_in
        self._waiting = waiting
        self._wake = wake
        self._clock = clock
        self._swept = {True: -FULL_SWEEP, False: -QUICK_SWEEP}
        self._is_first = True
        self.task: asyncio.Task[None] | None = None  # the one that runs

    async def if_due(self) -> None:
        """Begins a sweep when it is time. Waits for it only when nothing else is to be done, and no longer than to the
        next hint.

        Raises:
            OSError, ArchiveError, sqlite3.Error: of the sweep.
        """
        if self.task is None:
            now = time.monotonic()
            full = now - self._swept[True] >= FULL_SWEEP
            if not full and now - self._swept[False] < QUICK_SWEEP:
                return
            self.task = asyncio.create_task(self.sweep(full=full))
        if not len(self._waiting):
            hinted = asyncio.create_task(self._wake.wait())
            await asyncio.wait([self.task, hinted], return_when=asyncio.FIRST_COMPLETED)
            hinted.cancel()
        if self.task.done():
            done, self.task = self.task, None
            done.result()

    async def sweep(self, *, full: bool) -> None:
        """Looks through the folders of the last days, or all."""
        lost_hints = 0 if full or self._is_first else BATCH_FILES  # more than so many are a backlog
        async for path in sweep(self._archive, self._folders, self._moved_in, self._clock, full=full):
            self._waiting.find(path, fresh=len(self._waiting.fresh) < lost_hints)
        now = time.monotonic()
        self._swept[False] = now
        if full:
            self._swept[True] = now
            self._is_first = False
        self._wake.set()

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
