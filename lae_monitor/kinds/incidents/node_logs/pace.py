"""How fast a node may log: one that is faster gets its answers later; Foolscap sends 10 events at most without an answer."""

from typing import Final

from lae_monitor.kinds.pace import Bucket

# Decoding an event takes 0.5 ms, so one node at this rate takes a tenth of a processor, whatever it logs.
RATE: Final = 200.0  # events a second in the long run
BURST: Final = 4_000  # events at once; at the beginning a node sends what it remembers, typically 1,800
ALL_RATE: Final = 1_000.0  # events a second of all nodes in the long run: half a processor
ALL_BURST: Final = 10_000
ALL_DELAY: Final = (
    2.0  # seconds by which a node is answered later because of others; so it may always send five a second
)
FLOOD: Final = 50_000  # events ahead of the rate: only a program that does not wait for answers gets there


def pace_of_one(now: float) -> Bucket:
    """Of one connection."""
    return Bucket(BURST, RATE, now)


def pace_of_all(now: float) -> Bucket:
    """Of all connections together."""
    return Bucket(ALL_BURST, ALL_RATE, now)


def is_flood(pace: Bucket) -> bool:
    return pace.ahead > FLOOD
