"""How fast a node may log: who is faster gets his answers later, and Foolscap sends 10 events at most without an answer."""

from typing import Final

# Decoding an event takes 0.5 ms, so one node at this rate takes a tenth of a processor, whatever it logs.
RATE: Final = 200.0  # events a second in the long run
BURST: Final = 4_000  # events at once; at the beginning a node sends what it remembers, typically 1,800
ALL_RATE: Final = 1_000.0  # events a second of all nodes in the long run: half a processor
ALL_BURST: Final = 10_000
ALL_DELAY: Final = (
    2.0  # seconds by which a node is answered later because of others; so it may always send five a second
)
FLOOD: Final = 50_000  # events ahead of the rate: only a program that does not wait for answers gets there


class Pace:
    """Of one connection, or of all: `rate` events a second, and `burst` at once."""

    def __init__(self, now: float, rate: float | None = None, burst: int | None = None) -> None:
        self._rate = RATE if rate is None else rate
        self._burst = BURST if burst is None else burst
        self._ahead = 0.0  # events
        self._last = now

    def take(self, now: float) -> float:
        """Counts one event; returns in how many seconds it is to be answered, 0 for at once."""
        self._ahead = max(0.0, self._ahead - max(0.0, now - self._last) * self._rate) + 1
        self._last = now
        return max(0.0, self._ahead - self._burst) / self._rate

    @property
    def is_flood(self) -> bool:
        return self._ahead > FLOOD
