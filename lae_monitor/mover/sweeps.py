"""When the archive's folders are looked through, and that batches go on meanwhile: with many files it takes long."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from lae_monitor.archive import Archive
from lae_monitor.core.time import Clock
from lae_monitor.mover.sweep import sweep
from lae_monitor.mover.waiting import BATCH_FILES, Waiting

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
