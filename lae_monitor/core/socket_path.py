"""A way to a Unix socket in a deep folder: a socket's path may have 107 bytes only, and state folders can be longer."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short(path: Path) -> Iterator[str]:
    """A short name of `path`, through its folder's descriptor, to bind or connect to.

    Raises:
        OSError: the folder cannot be reached.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
