"""Files that hold secrets of tubs: certificates and FURLs. 0600, whole or absent, and made once however many ask at once."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
LOCK: Final = ".lock"  # in each folder: held while one of its files is made or replaced


def read_or_make(path: Path, make: Callable[[], bytes]) -> tuple[bytes, bool]:
    """What `path` holds, and whether it was made now: by `make`, in exactly one of the processes that ask at once."""
    with suppress(FileNotFoundError):
        return _read(path), False
    with locked(path.parent):
        with suppress(FileNotFoundError):
            return _read(path), False
        data = make()
        replace(path, data)
        return data, True


def replace(path: Path, data: bytes) -> None:
    """Makes `data` the content of `path`, durably and at once. The caller holds the folder's lock."""
    temporary = path.with_name(f".{path.name}.tmp")
    with suppress(FileNotFoundError):
        temporary.unlink()  # left by a process that died holding the lock
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
    temporary.replace(path)
    _sync_folder(path.parent)


def remove(path: Path) -> None:
    """Takes `path` away, durably; one that is not there is no matter. The caller holds the folder's lock."""
    with suppress(FileNotFoundError):
        path.unlink()
        _sync_folder(path.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of `folder`, which is made if it is missing."""
    make_folder(folder)
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """Makes `folder` and those above it, for us alone; those that exist stay as they are."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=FOLDER_MODE)
    _sync_folder(folder.parent)


def _read(path: Path) -> bytes:
    """The content of `path`; a file that others may read, such as one made by another program, is closed to them first."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            os.fchmod(file.fileno(), FILE_MODE)
        return file.read()


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
