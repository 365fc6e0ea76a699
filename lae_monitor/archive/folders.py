"""Folders that are durable in their parents, and the memory of which are, so that a report costs few fsyncs.

The memory would be wrong if a folder were removed and made again by another process that has not synced its parent yet.
Therefore a folder is removed only when nothing happened in it for FOLDER_REST, and what is known is forgotten sooner.
"""

import errno
import itertools
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from lae_monitor.archive.kernel import Kernel
from lae_monitor.archive.workers import Abandoned
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
        # Also when it existed: the process that made it may have died before syncing its parent.
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


# Files that have no final name yet: a folder of them for each process, below each root.
#
# A process holds its folder's lock as long as it lives. At its start it empties the folders without a lock: what is there
# was never acknowledged.
TEMPORARY: Final = ".tmp"  # below each root
LOCK: Final = "lock"  # in a process's folder


class TemporaryFolder:
    """Where the process `process` writes files until they are whole; taken at the first use."""

    def __init__(self, kernel: Kernel, folders: Folders, process: str) -> None:
        self._kernel = kernel
        self._folders = folders
        self._process = process
        self._folder = ""
        self._lock: int | None = None
        self._taking = threading.Lock()
        self._released = False
        self._serials = itertools.count(1)

    def create(self) -> tuple[str, int]:
        """A new file: its path, and a descriptor to write it."""
        for _ in range(2):
            name = f"{self._taken()}/{next(self._serials)}"
            try:
                return name, self._kernel.create(name)
            except FileNotFoundError:  # the root was emptied, or mounted anew
                self._folder = ""
        raise FileNotFoundError(errno.ENOENT, "the temporary folder goes as often as it is made", TEMPORARY)

    def remove(self, name: str) -> None:
        """Removes the file, as far as possible; the next start tries again."""
        with suppress(OSError):
            self._kernel.remove(name)

    def leave(self) -> None:
        """Gives up the folder; another one is taken at the next use."""
        with self._taking:
            self._folder = ""
            self._unlock()

    def release(self) -> None:
        """Gives up the folder, for good."""
        with self._taking:
            self._released = True
            self._unlock()

    def _taken(self) -> str:
        with self._taking:
            if self._released:
                raise Abandoned
            if not self._folder:
                self._take()
            return self._folder

    def _take(self) -> None:
        """Makes the root and takes the folder; removes what processes that are gone left half done."""
        self._kernel.prepare()
        self._unlock()
        folder, self._lock = self._claim()
        self._empty(folder)
        for entry in self._kernel.entries(TEMPORARY):
            other = f"{TEMPORARY}/{entry.name}"
            if entry.folder and other != folder:
                with suppress(OSError):
                    self._empty_if_left(other)
        self._folder = folder

    def _unlock(self) -> None:
        fd, self._lock = self._lock, None
        if fd is not None:
            with suppress(OSError):
                self._kernel.close(fd)

    def _claim(self) -> tuple[str, int]:
        """A folder that no living process has: a second process of the same name must not empty the first one's."""
        for number in itertools.count(1):
            folder = f"{TEMPORARY}/{self._process}" + (f"~{number}" if number > 1 else "")
            if (fd := self._lock_folder(folder)) is not None:
                return folder, fd
        raise AssertionError

    def _lock_folder(self, folder: str) -> int | None:
        fd, _ = self._folders.with_folder(folder, lambda: self._kernel.open_append(f"{folder}/{LOCK}"))
        try:
            if self._kernel.lock(fd):
                return fd
        except BaseException:
            self._kernel.close(fd)
            raise
        self._kernel.close(fd)
        return None

    def _empty_if_left(self, folder: str) -> None:
        fd = self._lock_folder(folder)
        if fd is not None:
            try:
                self._empty(folder)
            finally:
                self._kernel.close(fd)

    def _empty(self, folder: str) -> None:
        for entry in self._kernel.entries(folder):
            if not entry.folder and entry.name != LOCK:
                self._kernel.remove(f"{folder}/{entry.name}")
