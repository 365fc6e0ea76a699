"""Files that have no final name yet: a folder of them for each process, below each root.

A process holds its folder's lock as long as it lives. Whoever starts empties the folders that nobody holds: what is there
was never acknowledged.
"""

import errno
import itertools
import threading
from contextlib import suppress
from typing import Final

from lae_monitor.archive.folders import Folders
from lae_monitor.archive.kernel import Kernel
from lae_monitor.archive.workers import Abandoned

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
