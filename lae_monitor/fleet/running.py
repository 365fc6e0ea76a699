"""Whether one of our processes runs on a state folder: by the lock that it holds there."""

import fcntl
import os
from pathlib import Path


def runs(state: Path, process: str) -> bool:
    """Whether `process` holds its lock. The lock is taken for no longer than the question; a start waits for so long."""
    try:
        fd = os.open(state / f"{process}.lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
