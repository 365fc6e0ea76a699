"""Finds what no hint told of, by looking into the archive's folders.

A quick sweep costs what is new: files that are read whole, and were, are not looked at again, and a folder without others
is not listed until it changes. A full sweep looks at everything.
"""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from lae_monitor.archive import Archive
from lae_monitor.archive.files import check_path
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import Clock
from lae_monitor.mover.ledger import Ledger
from lae_monitor.mover.pieces import FindReader
from lae_monitor.mover.waiting import BATCH_FILES, Waiting

log = logging.getLogger(__name__)

RECENT_DAYS: Final = 2  # a quick sweep looks into the folders of so many days


FEW: Final = 1_000  # files of a folder whose names are not kept in memory: to list them again costs little
SETTLED: Final = 2.0  # seconds; what is made so soon after another file may leave the time of its folder as it was


class _Look(NamedTuple):
    """A folder as it was listed `at` (time.monotonic()); `modified` as Archive.entries has it.

    `names`: of files that are read whole, and were. `is_done`: it has nothing else, and had not changed for a while.
    """

    modified: float
    at: float
    names: set[str]
    is_done: bool


class Looks:
    """What sweeps remember of the folders that they looked into.

    Args:
        ledger: the one that is in use; a rebuild brings another.
    """

    def __init__(self, archive: Archive, find_reader: FindReader, ledger: Callable[[], Ledger], clock: Clock) -> None:
        self._archive = archive
        self._find_reader = find_reader
        self._ledger = ledger
        self._clock = clock
        self._looks: dict[str, _Look] = {}
        self._epoch = ""

    async def sweep(self, folders: Iterable[str], *, full: bool) -> AsyncIterator[str]:
        """The files below `folders` that hold more than was moved.

        Args:
            full: look at everything, not only into the folders of the last few days and at what may have changed.
        """
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        recent = None if full else {(today + timedelta(days=1 - ago)) for ago in range(RECENT_DAYS + 1)}
        days = None if recent is None else {day.strftime("%Y%m%d") for day in recent}
        epoch = self._ledger().epoch
        if full or epoch != self._epoch:  # another epoch: cursors went back
            self._looks.clear()
        self._epoch = epoch
        waiting = [(folder, 0.0) for folder in folders]
        while waiting:
            folder, modified = waiting.pop()
            known = self._looks.get(folder)
            is_same = known is not None and known.modified == modified
            if known and is_same and known.is_done:
                continue
            now = time.monotonic()
            names = known.names if known else set()
            is_done = bool(known and is_same and now - known.at >= SETTLED)
            entries = await self._archive.entries(folder, names)
            moved = self._moved(folder, [entry.name for entry in entries if not entry.folder], names)
            for entry in entries:
                path = f"{folder}/{entry.name}"
                is_moved = not entry.folder and entry.size <= moved.get(path, 0)
                if is_moved and self._is_whole(path):
                    names.add(entry.name)
                    continue
                is_done = False
                if is_moved or not ours(path, tell=full):
                    continue
                if not entry.folder:
                    yield path
                elif _worth_a_look(folder, entry.name, days):
                    waiting.append((path, entry.modified))
            self._looks[folder] = _Look(modified, now, names if len(names) > FEW else set(), is_done)

    def _moved(self, folder: str, files: list[str], names: set[str]) -> dict[str, int]:
        ledger = self._ledger()
        if names:  # of most it is known
            return {path: ledger.moved(path) for path in (f"{folder}/{name}" for name in files)}
        return ledger.moved_in(folder) if files else {}

    def _is_whole(self, path: str) -> bool:
        reader = self._find_reader(path)
        return reader is not None and reader.WHOLE


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
        waiting: gets what is found.
        wake: set by hints, and at the end of a sweep.
    """

    def __init__(
        self,
        looks: Looks,
        folders: tuple[str, ...],
        waiting: Waiting,
        wake: asyncio.Event,
    ) -> None:
        self._looks = looks
        self._folders = folders
        self._waiting = waiting
        self._wake = wake
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
        async for path in self._looks.sweep(self._folders, full=full):
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
