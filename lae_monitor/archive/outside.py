"""Durable files and links in trees that are not ours: those that the crashmover writes for older systems.

A file has its name when it is whole and not before, and nothing that has the name already is overwritten. What is there is
left alone if it is the same, so that a copy that was interrupted can be repeated.
"""

import errno
import fcntl
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from lae_monitor.archive.small_files import sync_folder

T = TypeVar("T")

PIECE: Final = 1 << 20  # bytes read or written at a time
MAX_KNOWN: Final = 4096  # folders whose making is known to be durable; beyond, all are forgotten
_NO_TMPFILE: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.ENOSYS})
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Differs(Exception):
    """Something else has that name already; it stays as it is."""


class Outside:
    """Writes below folders that others read.

    Args:
        umask: permissions that files and folders do not get.
    """

    def __init__(self, umask: int = 0o027) -> None:
        self._file_mode = 0o666 & ~umask
        self._folder_mode = 0o777 & ~umask
        self._known: set[Path] = set()
        self._making = threading.Lock()

    # ---- files -----------------------------------------------------------------------------------------------------

    def store(self, path: Path, parts: Sequence[bytes | memoryview]) -> bool:
        """A file with these bytes at `path`, durable and read back; whether it is new.

        Raises:
            Differs: another one is there.
            OSError: it is not there, or it may be and is not durable; both are mended by doing it again.
        """
        wanted = hashlib.sha256()
        for part in parts:
            wanted.update(part)
        is_new = self._in_folder(path.parent, lambda: self._create(path, parts))
        if not is_new:
            self._sync(path)
        if digest_of(path) != wanted.hexdigest():
            if is_new:
                path.unlink(missing_ok=True)  # ours, and broken: it must not stand in the next try's way
                raise OSError(errno.EIO, "is not what was written", str(path))
            raise Differs(f"{path}: another file has this name")
        sync_folder(path.parent)
        return is_new

    def _create(self, path: Path, parts: Sequence[bytes | memoryview]) -> bool:
        """Whether a new file has the name now."""
        folder = os.open(path.parent, _FOLDER)
        try:
            with self._nameless(folder, path.name) as (fd, source):
                os.fchmod(fd, self._file_mode)
                for part in parts:
                    _write(fd, part)
                os.fsync(fd)
                try:
                    os.link(source, path.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
                except FileExistsError:
                    return False
        finally:
            os.close(folder)
        return True

    @contextmanager
    def _nameless(self, folder: int, name: str) -> Iterator[tuple[int, str]]:
        """A new file, and what to link from; nothing of it remains that was not linked."""
        try:
            fd = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=folder)
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
        else:
            try:
                yield fd, f"/proc/self/fd/{fd}"
            finally:
                os.close(fd)
            return
        # NFS knows no files without a name. One that a killed run left is in the way of nobody, and is replaced here.
        temporary = f".{name}.lae-monitor"
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            yield fd, temporary
        finally:
            os.close(fd)
            os.unlink(temporary, dir_fd=folder)

    def _sync(self, path: Path) -> None:
        """Makes a file durable that somebody else wrote, or an earlier run that was killed."""
        try:
            fd = os.open(path, _READ)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENXIO}:
                raise Differs(f"{path}: something else has this name") from error
            raise
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise Differs(f"{path}: something else has this name")
            os.fsync(fd)
        finally:
            os.close(fd)

    def extend(
        self, path: Path, offset: int, parts: Sequence[bytes | memoryview], end: bytes, size: int | None = None
    ) -> None:
        """Writes `parts` and `end` at `offset` of the file `path`, which ends there, or with another `end`; durable.

        Args:
            size: what the file has to have, in bytes; 0: it is new, or empty. None: as this leaves it, `end` included.

        Raises:
            OSError: the file ends at `offset` as before, with `end` if the disk let us write it. One that has another size,
                or that somebody else extends just now, is not touched.
        """
        wanted = size if size is not None else offset + len(end) if offset else 0
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (0 if wanted else os.O_CREAT)
        fd = self._in_folder(path.parent, lambda: os.open(path, flags, self._file_mode))
        try:
            _lock(fd)
            if os.fstat(fd).st_size != wanted:
                raise OSError(errno.ESTALE, "was changed by somebody else", str(path))
            if not wanted:
                with suppress(PermissionError):  # an empty file of somebody else keeps its mode
                    os.fchmod(fd, self._file_mode)  # whatever the umask of this process
            try:
                os.lseek(fd, offset, os.SEEK_SET)
                for part in (*parts, end):
                    _write(fd, part)
                os.ftruncate(fd, os.lseek(fd, 0, os.SEEK_CUR))
                os.fsync(fd)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(fd, offset)
                    os.lseek(fd, offset, os.SEEK_SET)
                    _write(fd, end)
                raise
        finally:
            os.close(fd)
        sync_folder(path.parent)

    # ---- links and folders -----------------------------------------------------------------------------------------

    def symlink(self, path: Path, target: str) -> bool:
        """A symbolic link at `path`, durable; whether it is new.

        Raises:
            Differs: something else has that name.
            OSError
        """

        def link() -> bool:
            try:
                path.symlink_to(target)
            except FileExistsError:
                if not path.is_symlink() or str(path.readlink()) != target:
                    raise Differs(f"{path}: something else has this name") from None
                return False
            return True

        is_new = self._in_folder(path.parent, link)
        with suppress(FileNotFoundError):  # a reader of the tree has taken the link already, and removed the folder
            sync_folder(path.parent)
        return is_new

    def make_folder(self, folder: Path) -> None:
        """Makes `folder` and those above it that are missing, each durable in its parent."""
        if folder in self._known:
            return
        with self._making:
            self._make(folder.absolute())
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known.add(folder)

    def _make(self, folder: Path, *, again: bool = False) -> None:
        try:
            folder.mkdir(mode=self._folder_mode)
        except FileExistsError:
            if not folder.is_dir():
                raise
        except FileNotFoundError:
            if again or folder.parent == folder:  # some file systems say so of every folder
                raise
            self._make(folder.parent)
            self._make(folder, again=True)
            return
        else:
            folder.chmod(self._folder_mode)
        # Also when it existed: its maker may have died before. The parent of an old one need not be ours to read.
        with suppress(PermissionError):
            sync_folder(folder.parent)

    def _in_folder(self, folder: Path, call: Callable[[], T]) -> T:
        """Makes `folder`, and calls; once more if a reader of the tree removed it meanwhile because it was empty."""
        self.make_folder(folder)
        try:
            return call()
        except FileNotFoundError:
            self._known.clear()
            self.make_folder(folder)
            return call()


def digest_of(path: Path) -> str:
    """SHA-256 of a plain file in hex, as the disk has it as far as the kernel lets us ask.

    Raises:
        OSError
    """
    digest = hashlib.sha256()
    fd = os.open(path, _READ)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "is no plain file", str(path))
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        while piece := os.read(fd, PIECE):
            digest.update(piece)
    finally:
        os.close(fd)
    return digest.hexdigest()


def _write(fd: int, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest[:PIECE]) :]


def _lock(fd: int) -> None:
    """Keeps others out until the file is closed, where the file system knows locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
