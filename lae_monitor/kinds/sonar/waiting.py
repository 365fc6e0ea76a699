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
from lae_monitor.kinds.pace import Budget

SMALL: Final = 64 * KiB  # bytes of a post that count as small; a node with 300 processes sends that
MAX_SMALL: Final = 8 * MiB  # of all posts: a thousand nodes with 8 KiB each at the same moment
MAX_LARGE: Final = 16 * MiB  # what posts have beyond SMALL, all together; at least one of the largest always fits

WAITING: Final = Gauge("lae_sonar_waiting_bytes", "Bytes of posts that are in memory and not yet answered")


class PostMemory:
    """The bytes of all posts that are being received, checked and stored.

    Args:
        max_body: the largest post that is accepted.
    """

    def __init__(self, max_body: int) -> None:
        self._small = Budget(MAX_SMALL)
        self._large = Budget(max(MAX_LARGE, max_body))
        WAITING.set_function(lambda: self._small.held + self._large.held)

    @contextmanager
    def post(self) -> Iterator[Callable[[int], None]]:
        """One post; call what it gives with the size of each piece, which raises Refused `busy` when that is too much."""
        held = {self._small: 0, self._large: 0}

        def grow(by: int) -> None:
            first = min(by, SMALL - held[self._small])
            for budget, size in ((self._small, first), (self._large, by - first)):
                if not budget.take(size):
                    raise Refused("busy", f"{self._small.held + self._large.held} bytes")
                held[budget] += size

        try:
            yield grow
        finally:
            for budget, size in held.items():
                budget.give(size)
