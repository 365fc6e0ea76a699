"""Small files that are replaced whole: a reader finds the old content or the new, after a power cut too. And file locks."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
LOCK: Final = ".lock"  # in a folder of secrets: held while one of its files is made or replaced
PAUSE: Final = 0.02  # seconds between two tries to get a lock
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


# ---- files -----------------------------------------------------------------------------------------------------------


def replace(path: Path, data: bytes) -> None:
    """Makes `data` the content of `path`, durably and at once. Only this account may read it. The caller sees to it that no
    other process replaces `path` at the same time: it holds a lock.

    Raises:
        OSError: `path` is as it was, or the new content may not survive a power cut.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)  # left by a process that was killed
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


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


def remove(path: Path) -> None:
    """Takes `path` away, durably; one that is not there is no matter."""
    with suppress(FileNotFoundError):
        path.unlink()
        sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Makes `folder` and those above it, durably, for this account alone; those that exist stay as they are."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=FOLDER_MODE)
    sync_folder(folder.parent)


def sync_folder(folder: str | Path) -> None:
    fd = os.open(folder, _FOLDER)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _read(path: Path) -> bytes:
    """The content of `path`; a file that others may read, such as one made by another program, is closed to them first."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            os.fchmod(file.fileno(), FILE_MODE)
        return file.read()


# ---- locks -----------------------------------------------------------------------------------------------------------


def hold(path: Path, *, within: float | None = None) -> int:
    """A descriptor that holds the lock `path`, until it is closed or the process ends, however it does.

    Args:
        within: seconds to wait for another process; None waits without end.

    Raises:
        BlockingIOError: another process holds it.
        OSError
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    try:
        if within is None:
            fcntl.flock(fd, fcntl.LOCK_EX)
            return fd
        until = time.monotonic() + within
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise
                time.sleep(PAUSE)
            else:
                return fd
    except BaseException:
        os.close(fd)
        raise


def is_held(path: Path) -> bool:
    """Whether a process holds the lock `path`. Asking takes it for a moment: `hold(within=...)` waits for that.

    Raises:
        OSError: it cannot be opened.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


@contextmanager
def locked(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Holds the lock `name` of `folder`, which is made if it is missing."""
    make_folder(folder)
    fd = hold(folder / name)
    try:
        yield
    finally:
        os.close(fd)


@contextmanager
def short(path: Path) -> Iterator[str]:
    """A short name of the Unix socket `path`, through its folder's descriptor, to bind or connect to.

    A socket's path may have 107 bytes only, and state folders can be longer.

    Raises:
        OSError: the folder cannot be reached.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
