"""What the archive does with files, one blocking job each; they run in a root's workers.

A stored file is whole from the moment it has its name. A growing file only ever grows, and ends in a whole line whenever
nobody writes to it.
"""

import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from lae_monitor.archive.errors import Exists, Full
from lae_monitor.archive.kernel import MAX_PARTS, Entry, Kernel
from lae_monitor.core.limits import KiB
from lae_monitor.core.names import MAX_NAME
from lae_monitor.core.refusals import Refused

TEMPORARY: Final = ".tmp"  # below each root; one folder a process, emptied when that process starts
TAIL: Final = 64 * KiB  # read backwards in such pieces when looking for the last whole line
_ALLOWED: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+:~")


def check_path(path: str) -> str:
    """`path` when it is relative, plain and stays below a root.

    Raises:
        Refused: `bad_archive_path`.
    """
    parts = path.split("/")
    if len(parts) > 12 or any(
        not part or part[0] == "." or len(part) > MAX_NAME + 40 or not _ALLOWED.issuperset(part) for part in parts
    ):
        raise Refused("bad_archive_path", raw=path)
    return path


def folder_of(path: str) -> str:
    return path.rpartition("/")[0]


class Abandoned(Exception):
    """Whoever asked for the job has given up waiting, and went to another root."""


class Ticket:
    """Lets a job that hung find out, when it goes on, that nobody wants its result any more."""

    def __init__(self) -> None:
        self._abandoned = threading.Event()

    def abandon(self) -> None:
        self._abandoned.set()

    def check(self) -> None:
        if self._abandoned.is_set():
            raise Abandoned


class Files:
    """The files below one root.

    Args:
        kernel: the calls into the operating system.
        process: names this process's temporary folder.
        reserve: bytes that stay free, as a function of the file system's size.
    """

    def __init__(self, kernel: Kernel, process: str, reserve: "Reserve") -> None:
        self.kernel = kernel
        self.reserve = reserve
        self._temporary = f"{TEMPORARY}/{process}"
        self._serial = 0
        self._serial_lock = threading.Lock()
        self._known_folders: set[str] = set()

    def repair(self) -> int:
        """Removes what an earlier run of this process left half done; returns how many files."""
        self.make_folders(self._temporary)
        stale = [entry.name for entry in self.kernel.entries(self._temporary) if not entry.folder]
        for name in stale:
            self.kernel.remove(f"{self._temporary}/{name}")
        return len(stale)

    def check_space(self, size: int) -> None:
        """Raises Full when `size` more bytes would go below the reserve."""
        space = self.kernel.space()
        if space.available - size < self.reserve.of(space.total):
            raise Full(f"{space.available} bytes free, reserve {self.reserve.of(space.total)}")

    def temporary(self) -> str:
        with self._serial_lock:
            self._serial += 1
            return f"{self._temporary}/{self._serial}"

    def write_all(self, fd: int, parts: Iterable[bytes]) -> int:
        """Writes every part, however short the kernel's writes; returns the bytes written."""
        total = 0
        for group in batched_parts(parts):
            pending = group
            while pending:
                written = self.kernel.writev(fd, pending)
                if written <= 0:
                    raise OSError("write made no progress")
                total += written
                pending = _after(pending, written)
        return total

    def store(self, path: str, parts: Sequence[bytes], ticket: Ticket) -> int:
        """A new file at `path`, durable: temporary file, fsync, rename, fsync of the folder. Returns its size.

        Raises:
            Exists, Full, Abandoned, OSError: nothing has the name `path` then, unless only the last fsync failed.
        """
        self.check_space(sum(map(len, parts)))
        name = self.temporary()
        fd = self._create(name)
        try:
            try:
                size = self.write_all(fd, parts)
                self.kernel.fsync(fd)
            finally:
                self.kernel.close(fd)
            self.publish(name, path, ticket)
        except BaseException:
            with suppress(OSError):
                self.kernel.remove(name)
            raise
        return size

    def publish(self, temporary: str, path: str, ticket: Ticket) -> None:
        """Gives a written and synced temporary file its final name, durably."""
        folder = folder_of(path)
        self.make_folders(folder)
        ticket.check()
        try:
            try:
                self.kernel.rename(temporary, path)
            except FileNotFoundError:  # the folder went meanwhile: retention removes empty ones
                self.forget_folders()
                self.make_folders(folder)
                self.kernel.rename(temporary, path)
        except FileExistsError:
            raise Exists(path) from None
        try:
            self.kernel.sync_folder(folder)
        except OSError:
            # Whole, but perhaps not durable under its name, and nobody will be told that it is there.
            with suppress(OSError):
                self.kernel.remove(path)
            raise

    def make_folders(self, folder: str) -> None:
        """Makes `folder` and those above it, each durable in its parent."""
        if folder in self._known_folders or not folder:
            return
        parent = folder_of(folder)
        self.make_folders(parent)
        with suppress(FileExistsError):
            self.kernel.make_folder(folder)
        # Also when it existed: whoever made it may have died before syncing its parent.
        self.kernel.sync_folder(parent)
        self._known_folders.add(folder)

    def forget_folders(self) -> None:
        self._known_folders.clear()

    def open_growing(self, path: str) -> tuple[int, int]:
        """Opens `path` to append to it, alone; returns the descriptor and the size, torn tail cut off and synced.

        Raises:
            BlockingIOError: another process is writing to it.
        """
        folder = folder_of(path)
        self.make_folders(folder)
        try:
            fd, new = self.kernel.open_append(path)
        except FileNotFoundError:
            self.forget_folders()
            self.make_folders(folder)
            fd, new = self.kernel.open_append(path)
        try:
            if not self.kernel.lock(fd):
                raise BlockingIOError(f"{path} is being written by another process")
            size = self.kernel.size(fd)
            whole = self._last_whole_line(fd, size)
            if whole != size:
                self.kernel.truncate(fd, whole)
            # What an earlier run wrote without reaching its fsync may be read from now on: make it true.
            self.kernel.fsync(fd)
            if new or size == 0:
                self.kernel.sync_folder(folder)
        except BaseException:
            self.kernel.close(fd)
            raise
        return fd, whole

    def _last_whole_line(self, fd: int, size: int) -> int:
        end = size
        while end > 0:
            start = max(0, end - TAIL)
            found = self.kernel.pread(fd, end - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0

    def settle(self, path: str) -> int:
        """Syncs `path` and returns how many of its bytes are durable."""
        fd = self.kernel.open_read(path)
        try:
            size = self.kernel.size(fd)
            self.kernel.fdatasync(fd)
        finally:
            self.kernel.close(fd)
        return size

    def read(self, path: str, start: int, size: int) -> bytes:
        fd = self.kernel.open_read(path)
        try:
            pieces = []
            while size > 0 and (piece := self.kernel.pread(fd, size, start)):
                pieces.append(piece)
                start += len(piece)
                size -= len(piece)
        finally:
            self.kernel.close(fd)
        return b"".join(pieces)

    def entries(self, folder: str) -> list[Entry]:
        """What is in `folder`; nothing when there is no such folder."""
        try:
            return [entry for entry in self.kernel.entries(folder) if entry.name[0] != "."]
        except FileNotFoundError:
            return []

    def remove(self, path: str) -> None:
        self.kernel.remove(path)
        self.kernel.sync_folder(folder_of(path))

    def probe(self, ticket: Ticket) -> None:
        """Writes, syncs and removes a file: what a report would need, and no more."""
        ticket.check()
        self.kernel.space()
        self.make_folders(self._temporary)
        name = self.temporary()
        try:
            fd = self._create(name)
        except FileNotFoundError:
            self.forget_folders()
            raise
        try:
            self.write_all(fd, [b"probe\n"])
            self.kernel.fsync(fd)
        finally:
            self.kernel.close(fd)
            self.kernel.remove(name)
        self.check_space(0)

    def _create(self, name: str) -> int:
        try:
            return self.kernel.create(name)
        except FileNotFoundError:  # the root was emptied, or mounted anew
            self.forget_folders()
            self.make_folders(self._temporary)
            return self.kernel.create(name)


class Reserve:
    """Free space that the archive leaves to the host: a share of the file system, or bytes."""

    def __init__(self, *, share: float = 0.0, size: int = 0) -> None:
        self._share = share
        self._size = size

    def of(self, total: int) -> int:
        return self._size + int(total * self._share)


def batched_parts(parts: Iterable[bytes]) -> Iterable[list[bytes]]:
    """Groups that one writev takes."""
    group: list[bytes] = []
    for part in parts:
        if part:
            group.append(part)
            if len(group) == MAX_PARTS:
                yield group
                group = []
    if group:
        yield group


def _after(parts: list[bytes], written: int) -> list[bytes]:
    """What is left of `parts` when the first `written` bytes have been written."""
    for index, part in enumerate(parts):
        if written < len(part):
            return [part[written:], *parts[index + 1 :]]
        written -= len(part)
    return []
