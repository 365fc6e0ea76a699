"""The calls into the operating system that the archive makes, and the only ones that make anything durable.

Everything above takes a `Kernel`, so that tests can put a file system in its place that forgets, tears or fails. Paths are
relative to the root; no step of them follows a symbolic link, so a link planted in the archive leads nowhere.
"""

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
MAX_PARTS: Final = 1024  # what writev takes at once (IOV_MAX)

_RENAME_NOREPLACE: Final = 1
_AT_FDCWD: Final = -100


class Entry(NamedTuple):
    """One name in a folder. `modified` in seconds since the epoch."""

    name: str
    folder: bool
    size: int
    modified: float


class Space(NamedTuple):
    """Bytes of a file system: what we may still use, and all it has."""

    available: int
    total: int


class Kernel(Protocol):
    """One root's calls. Every method raises OSError as the kernel does; none retries, none swallows."""

    def create(self, path: str) -> int: ...
    def open_append(self, path: str) -> tuple[int, bool]: ...
    def open_read(self, path: str) -> int: ...
    def writev(self, fd: int, parts: Sequence[bytes]) -> int: ...
    def pread(self, fd: int, size: int, offset: int) -> bytes: ...
    def size(self, fd: int) -> int: ...
    def fsync(self, fd: int) -> None: ...
    def fdatasync(self, fd: int) -> None: ...
    def truncate(self, fd: int, size: int) -> None: ...
    def close(self, fd: int) -> None: ...
    def lock(self, fd: int) -> bool: ...
    def rename(self, source: str, target: str) -> None: ...
    def remove(self, path: str) -> None: ...
    def remove_folder(self, path: str) -> None: ...
    def make_folder(self, path: str) -> None: ...
    def sync_folder(self, path: str) -> None: ...
    def entries(self, path: str) -> list[Entry]: ...
    def space(self) -> Space: ...


class LinuxKernel:
    """The real one, under the folder `root`."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.fspath(root)
        self._libc = ctypes.CDLL(None, use_errno=True)

    @contextmanager
    def _folder(self, path: str) -> Iterator[int]:
        """A descriptor of the folder `path` ("" is the root), reached without following a link."""
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in path.split("/") if path else ():
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                os.close(fd)
                fd = inner
            yield fd
        finally:
            os.close(fd)

    def _open(self, path: str, flags: int) -> int:
        folder, _, name = path.rpartition("/")
        with self._folder(folder) as fd:
            return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE, dir_fd=fd)

    def create(self, path: str) -> int:
        return self._open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def open_append(self, path: str) -> tuple[int, bool]:
        """A descriptor that writes at the end, and whether the file is new."""
        try:
            return self._open(path, os.O_RDWR | os.O_APPEND), False
        except FileNotFoundError:
            return self._open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL), True

    def open_read(self, path: str) -> int:
        return self._open(path, os.O_RDONLY)

    def writev(self, fd: int, parts: Sequence[bytes]) -> int:
        return os.writev(fd, parts)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        return os.pread(fd, size, offset)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def fdatasync(self, fd: int) -> None:
        os.fdatasync(fd)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def close(self, fd: int) -> None:
        os.close(fd)

    def lock(self, fd: int) -> bool:
        """Takes the file's lock unless somebody has it: the mark of a growing file that is in use."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def rename(self, source: str, target: str) -> None:
        """Gives the file its final name, never over an existing one (os.rename would replace it silently)."""
        source_folder, _, source_name = source.rpartition("/")
        target_folder, _, target_name = target.rpartition("/")
        with self._folder(source_folder) as old, self._folder(target_folder) as new:
            arguments = (old, os.fsencode(source_name), new, os.fsencode(target_name))
            if self._libc.renameat2(*arguments, _RENAME_NOREPLACE) == 0:
                return
            code = ctypes.get_errno()
            if code not in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}:
                raise OSError(code, os.strerror(code), target)
            # A file system without RENAME_NOREPLACE, such as NFS: a hard link refuses an existing name too.
            os.link(source_name, target_name, src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)
            os.unlink(source_name, dir_fd=old)

    def remove(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        with self._folder(folder) as fd:
            os.unlink(name, dir_fd=fd)

    def remove_folder(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        with self._folder(folder) as fd:
            os.rmdir(name, dir_fd=fd)

    def make_folder(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        with self._folder(folder) as fd:
            os.mkdir(name, FOLDER_MODE, dir_fd=fd)

    def sync_folder(self, path: str) -> None:
        with self._folder(path) as fd:
            os.fsync(fd)

    def entries(self, path: str) -> list[Entry]:
        found = []
        with self._folder(path) as fd, os.scandir(fd) as scan:
            for entry in scan:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # went between listing and looking
                    continue
                if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False):
                    folder = entry.is_dir(follow_symlinks=False)
                    found.append(Entry(entry.name, folder, status.st_size, status.st_mtime))
        return sorted(found)

    def space(self) -> Space:
        status = os.statvfs(self.root)
        return Space(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize)
