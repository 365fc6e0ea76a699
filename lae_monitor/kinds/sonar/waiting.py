"""How many bytes of posts may be in memory at once. What is beyond gets 503, and the nodes' curl tries again.

The first bytes of every post count apart from the rest of large ones, so that a few large or slow posts do not keep the
usual ones out.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import Gauge

from lae_monitor.core.limits import KiB, MiB
from lae_monitor.core.refusals import Refused

SMALL: Final = 64 * KiB  # bytes of a post that count as small; a node with 300 processes sends that
MAX_SMALL: Final = 8 * MiB  # of all posts: a thousand nodes with 8 KiB each at the same moment
MAX_LARGE: Final = 16 * MiB  # what posts have beyond SMALL, all together; at least one of the largest always fits

WAITING: Final = Gauge("lae_sonar_waiting_bytes", "Bytes of posts that are in memory and not yet answered")


class Waiting:
    """The bytes of all posts that are being received, checked and stored.

    Args:
        max_body: the largest post that is accepted.
    """

    def __init__(self, max_body: int) -> None:
        self._max_large = max(MAX_LARGE, max_body)
        self._small = 0
        self._large = 0

    @contextmanager
    def post(self) -> Iterator[Callable[[int], None]]:
        """One post; call what it gives with the size of each piece, which raises Refused `busy` when that is too much."""
        size = 0

        def grow(by: int) -> None:
            nonlocal size
            self._add(min(size + by, SMALL) - min(size, SMALL), max(size + by - SMALL, 0) - max(size - SMALL, 0))
            size += by
            if self._small > MAX_SMALL or self._large > self._max_large:
                raise Refused("busy", f"{self._small + self._large} bytes")

        try:
            yield grow
        finally:
            self._add(-min(size, SMALL), -max(size - SMALL, 0))

    def _add(self, small: int, large: int) -> None:
        self._small += small
        self._large += large
        WAITING.set(self._small + self._large)
