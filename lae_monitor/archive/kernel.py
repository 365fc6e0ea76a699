"""The calls into the operating system that the archive makes, and the only ones that make anything durable.

Everything above takes a `Kernel`, so that tests can put a file system in its place that forgets, tears or fails. Paths are
relative to the root; no step of them follows a symbolic link, so a link planted in the archive leads nowhere.
"""

import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Container, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from lae_monitor.archive.small_files import sync_folder

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
MAX_PARTS: Final = 1024  # what writev takes at once (IOV_MAX)

_RENAME_NOREPLACE: Final = 1
MAX_FOLDERS: Final = 64  # kept open
NOWHERE: Final = (-1, -1)  # the device and inode of no folder
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


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


class Kernel:
    """The calls of one root, the folder `root`. Every method raises OSError as the kernel does; none retries, none swallows.

    Only plain files are opened: a folder, link, pipe or device in a file's place is an OSError.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.fspath(root)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._folders: dict[str, _Folder] = {}
        self._only: tuple[int, int] | None = None  # device and inode that the root has to have; None: any

    def restrict(self, place: tuple[int, int]) -> None:
        """From now on every call fails with ENODEV while the root's path leads to another folder than `place`."""
        if place != self._only:
            self._only = place
            self._folders.clear()

    def check_place(self, path: str, fd: int) -> None:
        """Returns if `path` leads to the open file `fd`: what was written to it is found there.

        Raises:
            FileNotFoundError: another file has the name, or none.
            OSError: ENODEV, the root is another folder now.
        """
        os.close(self._open_root())
        here, there = os.fstat(fd), os.stat(f"{self.root}/{path}", follow_symlinks=False)  # noqa: PTH116 - once a batch
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
            raise FileNotFoundError(errno.ENOENT, "replaced while it was open", path)

    def prepare(self) -> None:
        """Makes the root and the folders above it that are missing, each durable in its parent; not if it is restricted."""
        if self._only is not None:
            os.close(self._open_root())
            return
        root = os.path.abspath(self.root)  # noqa: PTH100 - resolve() would follow links, and they may change
        missing = []
        folder = root
        while not os.path.lexists(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)  # noqa: PTH120 - a loop over strings, not over Path objects
        for folder in reversed(missing):
            with suppress(FileExistsError):
                os.mkdir(folder, FOLDER_MODE)  # noqa: PTH102
            sync_folder(os.path.dirname(folder))  # noqa: PTH120
        if not missing:
            # The process that made it may have died before syncing its parent, which need not be ours to read.
            with suppress(PermissionError):
                sync_folder(os.path.dirname(root))  # noqa: PTH120
        os.close(os.open(self.root, _FOLDER))

    def _folder(self, path: str, *, just_used: bool = False) -> "_Folder":
        """The folder `path` ("" is the root), reached without following a link.

        Folders are kept open for a while, since every report needs several; what is kept is used if `path` still leads
        there, which one call tells, and opening each step anew takes many.

        Args:
            just_used: the caller's previous step was in this folder, and this one belongs to it: they must not be two.
        """
        kept = self._folders.get(path)
        if kept is not None and just_used:
            return kept
        if kept is not None and kept.of == self._only:
            try:
                status = os.stat(f"{self.root}/{path}", follow_symlinks=False)  # noqa: PTH116 - made for every report
            except OSError:
                status = None
            if status is not None and (status.st_ino, status.st_dev) == kept.identity:
                return kept
            self._folders.pop(path, None)
        only = self._only
        folder = _Folder(self._open_folder(path), only)
        if len(self._folders) >= MAX_FOLDERS:
            self._folders.clear()
        self._folders[path] = folder
        return folder

    def _open_root(self) -> int:
        try:
            fd = os.open(self.root, _FOLDER)
        except (NotADirectoryError, PermissionError, FileNotFoundError) as error:  # no path below the root is at fault
            if self._only is None and isinstance(error, FileNotFoundError):
                raise
            raise OSError(errno.ENODEV, f"the archive root cannot be opened: {error.strerror}", self.root) from error
        if self._only is not None:
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) != self._only:
                os.close(fd)
                raise OSError(errno.ENODEV, "the archive root is not the folder that was checked", self.root)
        return fd

    def _open_folder(self, path: str) -> int:
        fd = self._open_root()
        for part in path.split("/") if path else ():
            try:
                inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
            finally:
                os.close(fd)
            fd = inner
        return fd

    def _open(self, path: str, flags: int) -> int:
        folder, _, name = path.rpartition("/")
        within = self._folder(folder)
        try:
            # O_NONBLOCK: opening a pipe that somebody planted must not wait for its other end.
            fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, FILE_MODE, dir_fd=within.fd)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a socket
                raise IsADirectoryError(errno.EISDIR, "not a plain file", path) from error
            raise
        if not flags & os.O_EXCL and not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise IsADirectoryError(errno.EISDIR, "not a plain file", path)
        return fd

    def create(self, path: str) -> int:
        return self._open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def open_append(self, path: str) -> tuple[int, bool]:
        """A descriptor that writes at the end, and whether the file is new."""
        try:
            return self._open(path, os.O_RDWR | os.O_APPEND), False
        except FileNotFoundError:
            return self._open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL), True

    def open_update(self, path: str) -> int:
        """A descriptor of a file that exists, one that can be locked (NFS locks none that is open for reading only)."""
        return self._open(path, os.O_RDWR)

    def open_read(self, path: str) -> int:
        return self._open(path, os.O_RDONLY)

    def writev(self, fd: int, parts: Sequence[bytes]) -> int:
        return os.writev(fd, parts)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        return os.pread(fd, size, offset)

    def size(self, fd: int) -> int:
        """
        Raises:
            FileNotFoundError: the file was removed since it was opened; what is written to it is lost.
        """
        status = os.fstat(fd)
        if status.st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "removed while it was open")
        return status.st_size

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
        old, new = self._folder(source_folder, just_used=True), self._folder(target_folder)
        arguments = (old.fd, source_name.encode(), new.fd, target_name.encode())
        if self._libc.renameat2(*arguments, _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}:
            raise OSError(code, os.strerror(code), target)
        # A file system without RENAME_NOREPLACE, such as NFS: a hard link refuses an existing name too.
        os.link(source_name, target_name, src_dir_fd=old.fd, dst_dir_fd=new.fd, follow_symlinks=False)
        os.unlink(source_name, dir_fd=old.fd)

    def replace(self, source: str, target: str) -> None:
        """Gives the file its final name, in place of what has that name."""
        source_folder, _, source_name = source.rpartition("/")
        target_folder, _, target_name = target.rpartition("/")
        old, new = self._folder(source_folder), self._folder(target_folder)
        os.rename(source_name, target_name, src_dir_fd=old.fd, dst_dir_fd=new.fd)

    def remove(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        within = self._folder(folder)
        os.unlink(name, dir_fd=within.fd)

    def remove_folder(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        within = self._folder(folder)
        os.rmdir(name, dir_fd=within.fd)

    def make_folder(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        within = self._folder(folder)
        os.mkdir(name, FOLDER_MODE, dir_fd=within.fd)

    def sync_folder(self, path: str) -> None:
        within = self._folder(path, just_used=True)
        os.fsync(within.fd)

    def stamp(self, path: str, time: float) -> None:
        """Sets the modification time of a file, in seconds since the epoch."""
        fd = self.open_read(path)
        try:
            os.utime(fd, (time, time))
        finally:
            os.close(fd)

    def entries(self, path: str, passing: Container[str] = ()) -> list[Entry]:
        found = []
        within = self._folder(path)  # held: another thread may forget it, which closes its descriptor
        # Opened anew: a descriptor has one place in the listing, and two threads that share it share the names out, too.
        listing = os.open(".", _FOLDER, dir_fd=within.fd)
        try:
            with os.scandir(listing) as scan:
                for entry in scan:
                    if entry.name in passing:
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:  # went between listing and looking
                        continue
                    folder = stat.S_ISDIR(status.st_mode)
                    if folder or stat.S_ISREG(status.st_mode):
                        found.append(Entry(entry.name, folder, status.st_size, status.st_mtime))
        finally:
            os.close(listing)
        return sorted(found)

    def space(self) -> Space:
        status = os.statvfs(self.root)
        return Space(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize)

    def release(self) -> None:
        """Lets go of the folders that are kept open, so that the file system can be unmounted."""
        self._folders.clear()


class _Folder:
    """An open folder; closed when nobody refers to it any more, so never under a call that uses it."""

    def __init__(self, fd: int, of: tuple[int, int] | None) -> None:
        self.fd = fd
        self.of = of  # the root's place when it was opened
        status = os.fstat(fd)
        self.identity = (status.st_ino, status.st_dev)

    def __del__(self) -> None:
        os.close(self.fd)
