"""Folders that are durable in their parents, and the memory of which are, so that a report costs few fsyncs.

The memory would be wrong if a folder were removed and made again by another process that has not synced its parent yet.
Therefore a folder is removed only when nothing happened in it for FOLDER_REST, and what is known is forgotten sooner.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from lae_monitor.archive.kernel import Kernel
from lae_monitor.core.time import HOUR, MINUTE, Clock

T = TypeVar("T")

KNOWN_FOR: Final = 10 * MINUTE  # after the last file that we put there
FOLDER_REST: Final = 1 * HOUR  # since its last change, before anybody may remove an empty folder
MAX_KNOWN: Final = 4096  # folders; beyond that all are forgotten, which costs a few fsyncs


def folder_of(path: str) -> str:
    return path.rpartition("/")[0]


class Folders:
    """The folders below one root."""

    def __init__(self, kernel: Kernel, clock: Clock = time.monotonic) -> None:
        self._kernel = kernel
        self._clock = clock
        self._known: dict[str, float] = {}

    def make(self, folder: str) -> None:
        """Makes `folder` and those above it, each durable in its parent."""
        now = self._clock()
        if not folder or now - self._known.get(folder, -KNOWN_FOR) < KNOWN_FOR:
            return
        parent = folder_of(folder)
        self.make(parent)
        with suppress(FileExistsError):
            self._kernel.make_folder(folder)
        # Also when it existed: whoever made it may have died before syncing its parent.
        self._kernel.sync_folder(parent)
        self._remember(folder, now)

    def with_folder(self, folder: str, call: Callable[[], T]) -> T:
        """Makes `folder` and then calls `call`, which puts a file there; all of it again if a folder went meanwhile."""
        try:
            self.make(folder)
            result = call()
        except FileNotFoundError:
            self._known.clear()
            self.make(folder)
            result = call()
        self._remember(folder, self._clock())
        return result

    def _remember(self, folder: str, now: float) -> None:
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[folder] = now

    def forget(self) -> None:
        """What is known may be of another disk."""
        self._known.clear()

    def remove_empty(self, folder: str, modified: float, now: float) -> None:
        """Removes `folder`, last changed at `modified`, if it is empty and has rested."""
        if now - modified > FOLDER_REST:
            with suppress(OSError):
                self._kernel.remove_folder(folder)
