"""What the disk can do without us: bare loops with as many threads as our archive has."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

THREADS = 8  # the archive's own workers


def files(folder: Path, size: int, seconds: float) -> float:
    """New files a second: write, fsync, rename, fsync of the folder; as archive.store has to."""
    data = os.urandom(size)
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def one(thread: int, turn: int) -> None:
        name = folder / f"{thread}-{turn}"
        fd = os.open(f"{name}.tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, data)
        os.fsync(fd)
        os.close(fd)
        os.rename(f"{name}.tmp", name)
        os.fsync(place)

    try:
        return _rate(one, seconds)
    finally:
        os.close(place)


def appends(folder: Path, size: int, seconds: float) -> float:
    """Synced additions a second, each thread to a file of its own: write, fdatasync."""
    data = os.urandom(size)
    fds = [os.open(folder / f"{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) for number in range(THREADS)]

    def one(thread: int, _turn: int) -> None:
        os.write(fds[thread], data)
        os.fdatasync(fds[thread])

    try:
        return _rate(one, seconds)
    finally:
        for fd in fds:
            os.close(fd)


def _rate(one: Callable[[int, int], None], seconds: float) -> float:
    counts = [0] * THREADS
    began = time.perf_counter()

    def work(thread: int) -> None:
        while time.perf_counter() - began < seconds:
            one(thread, counts[thread])
            counts[thread] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)
