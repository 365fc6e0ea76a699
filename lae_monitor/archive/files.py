"""What the archive does with files, one blocking job each; they run in a root's workers.

A stored file is whole from the moment it has its name, and nothing here takes the name away again: when only the last fsync
fails, the file stays, unacknowledged, since another sender of the same may have been told that it is there.
"""

import errno
import re
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Final

from lae_monitor.archive.folders import Folders, TemporaryFolder, folder_of
from lae_monitor.archive.identity import Place
from lae_monitor.archive.kernel import MAX_PARTS, NOWHERE, Entry, Kernel, Space
from lae_monitor.archive.workers import Ticket
from lae_monitor.core.limits import MiB, Reserve, format_size
from lae_monitor.core.names import MAX_NAME
from lae_monitor.core.refusals import Refused

ROOM: Final = 1 * MiB  # above the reserve; a root with less counts as full, although something small would still fit
MAX_DEPTH: Final = 12  # folders and file of a path
MAX_PART: Final = MAX_NAME + 30  # characters of a component: a checked name and what we add
MAX_NUMBERED: Final = MAX_PART + 21  # with the number of a piece; a file system takes 255
FULL_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class ArchiveError(Refused):
    """Nothing was acknowledged; what was written is gone or will be at the next start."""


class Full(ArchiveError):
    """No root has room above its reserve."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("no_space", detail)


class Tight(Full):
    """A root has room above its reserve, but not for something as large as this."""


class Failed(ArchiveError):
    """No root could make it durable."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("archive_failed", detail)


class Exists(ArchiveError):
    """A file of that name is there already, whole and durable."""

    def __init__(self, path: str) -> None:
        super().__init__("already_stored", path)


class InUse(Exception):
    """A growing file that somebody else writes to, or removed: what belongs there goes into a numbered file beside it."""


class NameUncertain(OSError):
    """Naming a whole file failed, or making its name durable: it may be there, unacknowledged."""


def _plain(longest: int) -> re.Pattern[str]:
    part = rf"[A-Za-z0-9_+:][A-Za-z0-9._+:~-]{{0,{longest - 1}}}"
    return re.compile(rf"{part}(?:/{part}){{0,{MAX_DEPTH - 1}}}", re.ASCII)


_ACCEPTED: Final = _plain(MAX_PART)
_STORED: Final = _plain(MAX_NUMBERED)


def check_path(path: str, *, stored: bool = False) -> str:
    """`path` when it is relative, plain and stays below a root.

    Args:
        stored: it may be of a numbered piece, whose name is a little longer.

    Raises:
        Refused: `bad_archive_path`.
    """
    if not (_STORED if stored else _ACCEPTED).fullmatch(path):
        raise Refused("bad_archive_path", raw=path)
    return path


class Files:
    """The files below one root.

    Args:
        kernel: the calls into the operating system.
        process: names this process's temporary folder.
        reserve: bytes that stay free, as a function of the file system's size.
        locate: which folder the root's path leads to, if that is ours; None: whatever it leads to is.
    """

    def __init__(
        self, kernel: Kernel, process: str, reserve: Reserve, locate: Callable[[], Place] | None = None
    ) -> None:
        self.kernel = kernel
        self.reserve = reserve
        self._locate = locate
        self._place: Place | None = None
        if locate is not None:
            kernel.restrict(NOWHERE)
        self.folders = Folders(kernel)
        self.temporary = TemporaryFolder(kernel, self.folders, check_path(process))
        self.holds_files = True  # whether anything is below the root; what other processes do is seen by the next probe

    def release(self) -> None:
        """Lets go of everything, for good."""
        self.temporary.release()
        self.kernel.release()

    def locate(self) -> None:
        """Looks whether the root is ours. Until it was, and once it is not, everything else here fails.

        Raises:
            NotOurs, Failed, OSError
        """
        if self._locate is None:
            return
        try:
            place = self._locate()
        except BaseException:
            self.kernel.restrict(NOWHERE)
            self._moved(None)
            raise
        self.kernel.restrict(place)
        if place != self._place:
            self._moved(place)

    def _moved(self, place: Place | None) -> None:
        """The root is another folder now, so what is known of it is not so any more."""
        self._place = place
        self.folders.forget()
        self.temporary.leave()

    def size_of_own(self, path: str, fd: int) -> int:
        """Bytes of the open file `fd`, to which we wrote under the name `path`.

        Raises:
            FileNotFoundError: it is not there any more: what was written to it is lost.
            OSError: its root is another folder now.
        """
        size = self.kernel.size(fd)
        if self._locate is not None:
            self.kernel.check_place(path, fd)
        return size

    # ---- writing ---------------------------------------------------------------------------------------------------

    def check_space(self, size: int) -> Space:
        """
        Raises:
            Full, Tight: `size` more bytes would go below the reserve.
        """
        space = self.kernel.space()
        reserve = self.reserve.of(space.total)
        room = space.available - reserve
        if room < max(size, ROOM):
            detail = f"{format_size(space.available)} free, reserve {format_size(reserve)}"
            raise Full(detail) if room < ROOM else Tight(f"{detail}, {format_size(size)} wanted")
        return space

    def write_all(self, fd: int, parts: Iterable[bytes]) -> int:
        """Writes every part, however short the kernel's writes; returns the bytes written."""
        total = 0
        for group in _groups(parts):
            pending = group
            while pending:
                written = self.kernel.writev(fd, pending)
                if written <= 0:
                    raise OSError(errno.EIO, "write made no progress")
                total += written
                pending = _after(pending, written)
        return total

    def store(self, path: str, parts: Sequence[bytes], ticket: Ticket, *, replace: bool = False) -> int:
        """A new file at `path`, durable: temporary file, fsync, rename, fsync of the folder. Returns its size.

        Raises:
            NameUncertain: it may have the name `path`.
            Exists, Full, Abandoned, OSError: nothing has.
        """
        self.check_space(sum(map(len, parts)))
        name, fd = self.temporary.create()
        try:
            try:
                size = self.write_all(fd, parts)
                self.kernel.fsync(fd)
            finally:
                self.kernel.close(fd)
            self.publish(name, path, ticket, replace=replace)
        except BaseException:
            self.temporary.remove(name)
            raise
        return size

    def publish(self, temporary: str, path: str, ticket: Ticket, *, replace: bool = False) -> None:
        """Gives a written and synced temporary file its final name, durably.

        Raises:
            Exists: a file has that name, and is durable under it: an earlier sender may not have got as far.
            NameUncertain: it may have the name now.
        """
        folder = folder_of(path)

        def rename() -> None:
            ticket.check()
            (self.kernel.replace if replace else self.kernel.rename)(temporary, path)

        try:
            self.folders.with_folder(folder, rename)
            self.holds_files = True
            self.kernel.sync_folder(folder)
        except FileExistsError:
            self.confirm(path)
            raise Exists(path) from None
        except OSError as error:
            raise NameUncertain(error.errno, error.strerror, path) from error

    def confirm(self, path: str) -> None:
        """Returns when the name `path`, which an earlier sender may have left unsynced, is durable.

        Raises:
            FileNotFoundError: there is no such file.
            OSError: there is something else of that name, a folder or a link.
        """
        self.kernel.close(self.kernel.open_read(path))
        self._sync_name(path)

    def _sync_name(self, path: str) -> None:
        self.folders.make(folder_of(path))
        self.kernel.sync_folder(folder_of(path))

    def open_locked(self, path: str) -> int:
        """A descriptor of the file `path`, to which nobody else writes as long as it is open.

        Raises:
            InUse: somebody writes to it.
        """
        fd = self.kernel.open_update(path)
        try:
            locked = self.kernel.lock(fd)
            self.kernel.size(fd)
        except FileNotFoundError:  # removed before we had the lock
            locked = False
        except BaseException:
            self.kernel.close(fd)
            raise
        if not locked:
            self.kernel.close(fd)
            raise InUse(f"{path} is in use")
        return fd

    def remove_unused(self, path: str) -> None:
        """Removes the file `path`, durably.

        Raises:
            InUse: somebody writes to it.
        """
        fd = self.open_locked(path)
        try:
            self.remove(path)
        finally:
            self.kernel.close(fd)

    def remove(self, path: str) -> None:
        """Removes the file `path`, of which the caller has the lock, durably."""
        self.kernel.remove(path)
        self.kernel.sync_folder(folder_of(path))

    # ---- reading ---------------------------------------------------------------------------------------------------

    def settle(self, path: str) -> int:
        """Syncs `path` and its name, which may be there although nobody was told so; returns how many bytes are durable."""
        fd = self.kernel.open_read(path)
        try:
            size = self.kernel.size(fd)
            self.kernel.fdatasync(fd)
        finally:
            self.kernel.close(fd)
        self._sync_name(path)
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
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def entries(self, folder: str, passing: Container[str] = ()) -> list[Entry]:
        """What is in `folder`, but the names in `passing`; nothing when there is no such folder."""
        try:
            return [entry for entry in self.kernel.entries(folder, passing) if entry.name[0] != "."]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def probe(self, size: int) -> Space:
        """Writes `size` bytes, syncs, renames and removes the file: what a report would need. Returns what is free.

        Raises:
            NotOurs: the root is none of ours.
            Full, Failed, OSError
        """
        self.locate()
        name, fd = self.temporary.create()
        renamed = f"{name}.probe"
        try:
            try:
                self.holds_files = bool(self.entries(""))
                space = self.check_space(size)
                self.write_all(fd, [bytes(size)])
                self.kernel.fsync(fd)
            finally:
                self.kernel.close(fd)
            self.kernel.rename(name, renamed)
            self.kernel.sync_folder(folder_of(renamed))
            self.kernel.remove(renamed)
        except BaseException:
            self.temporary.remove(name)
            self.temporary.remove(renamed)
            raise
        return space


def _groups(parts: Iterable[bytes]) -> Iterable[list[bytes]]:
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
