"""A descriptor that is never closed while a call uses it.

A worker can hang in a write. If its descriptor were closed meanwhile, the number would be given to the next file that is
opened, and when the worker goes on, its next write would land there.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lae_monitor.archive.workers import Abandoned


class OpenFile:
    """Opened at its first use; one worker uses it at a time.

    Args:
        opener: opens it; in a worker.
        closer: closes it, once; in a worker.
    """

    def __init__(self, opener: Callable[[], int], closer: Callable[[int], None]) -> None:
        self._opener = opener
        self._closer = closer
        self._fd: int | None = None
        self._lock = threading.Lock()
        self._busy = False
        self._closed = False

    @contextmanager
    def use(self) -> Iterator[int]:
        """
        Raises:
            Abandoned: it was closed, or a worker hangs with it.
            OSError: it could not be opened.
        """
        with self._lock:
            if self._closed or self._busy:
                raise Abandoned
            self._busy = True
        try:
            if self._fd is None:
                self._fd = self._opener()
            yield self._fd
        finally:
            with self._lock:
                self._busy = False
                close = self._closed
            if close:
                self._let_go()

    def close(self) -> None:
        """In a worker: closes the file now, or as soon as the worker that uses it goes on."""
        with self._lock:
            self._closed = True
            if self._busy:
                return
        self._let_go()

    def _let_go(self) -> None:
        with self._lock:
            fd, self._fd = self._fd, None
        if fd is not None:
            self._closer(fd)
