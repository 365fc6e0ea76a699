"""A file that only grows, a whole line at a time, written by one process: the one that holds its lock.

Whole lines are never taken back, not even those of a write that failed: the mover may have read them already, and what is
appended after a cut would be skipped as read. So such lines can be there twice, here and where their sender was told that
they are; readers give both the same key. A torn line at the end was read by nobody and is cut off before anything follows.

After a power cut there can be garbage between the last acknowledged line and the end, where the disk had written some
blocks of an unfinished write and not others; readers pass over it, saying so.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from lae_monitor.archive.errors import InUse
from lae_monitor.archive.files import Files
from lae_monitor.archive.folders import folder_of
from lae_monitor.archive.open_file import OpenFile
from lae_monitor.archive.workers import Ticket
from lae_monitor.core.limits import KiB

TAIL: Final = 64 * KiB  # read backwards in such pieces when looking for the last whole line


class GrowingFile:
    """The file `path` below the root of `files`; all calls are made in workers, one at a time.

    Args:
        fresh: there must be no such file yet.
    """

    def __init__(self, files: Files, path: str, *, fresh: bool) -> None:
        self.path = path
        self._files = files
        self._fresh = fresh
        self._size = 0
        self._file = OpenFile(self._open, self._close)

    def append(self, parts: Sequence[bytes], ticket: Ticket, head: bytes = b"") -> int:
        """Adds `parts` at the end, synced, `head` before them if the file is empty; returns where `parts` start.

        Raises:
            Full: before a byte was written; the file is as it was.
            InUse, Abandoned, OSError: what the file has beyond its last acknowledged line is unknown.
        """
        self._files.check_space(len(head) + sum(map(len, parts)))
        with self._file.use() as fd:
            ticket.check()  # opening may have hung
            if self._size:
                head = b""
            size = len(head) + sum(map(len, parts))
            try:
                self._files.write_all(fd, [head, *parts] if head else parts)
                self._files.kernel.fdatasync(fd)
                end = self._files.size_of_own(self.path, fd)
            except FileNotFoundError as error:
                raise InUse(f"{self.path} was removed while it was written") from error
            except OSError:
                with suppress(OSError):  # else the next one who opens it cuts it
                    self._cut_torn_line(fd)
                raise
            if end != self._size + size:
                raise InUse(
                    f"{self.path} has {end} bytes where {self._size + size} were written: somebody else writes too"
                )
            start, self._size = self._size + len(head), end
            return start

    def close(self) -> None:
        """In a worker: lets go of the file and its lock; at once, or when the worker that hangs in it goes on."""
        self._file.close()

    def _open(self) -> int:
        """Opens the file to append to it, alone, its torn line cut off."""
        try:
            fd, new = self._files.folders.with_folder(
                folder_of(self.path), lambda: self._files.kernel.open_append(self.path)
            )
        except FileExistsError as error:  # between looking and making it
            raise InUse(f"{self.path} was made by somebody else") from error
        try:
            self._take_over(fd, new=new)
        except BaseException:
            self._close(fd)
            raise
        self._fresh = False
        return fd

    def _take_over(self, fd: int, *, new: bool) -> None:
        kernel = self._files.kernel
        if self._fresh and not new:
            raise InUse(f"{self.path} is there already")
        if not kernel.lock(fd):
            raise InUse(f"{self.path} is being written by another process")
        try:
            size = kernel.size(fd)
        except FileNotFoundError as error:  # brought home, between opening and locking it
            raise InUse(f"{self.path} was removed while it was opened") from error
        self._cut_torn_line(fd)
        if new or size == 0:
            kernel.sync_folder(folder_of(self.path))
        self._size = kernel.size(fd)

    def _cut_torn_line(self, fd: int) -> None:
        size = self._files.kernel.size(fd)
        end = size
        while end > 0:
            start = max(0, end - TAIL)
            found = self._files.kernel.pread(fd, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end != size:
            self._files.kernel.truncate(fd, end)

    def _close(self, fd: int) -> None:
        with suppress(OSError):
            self._files.kernel.close(fd)
