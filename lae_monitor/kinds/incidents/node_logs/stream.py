"""The events of a node's log as they come: their numbers, run by run, and their pace.

By its number an event is kept once, and a missing one is noticed.

Foolscap counts the events of a run from 0 on, those that it does not send too. What a node still remembers is sent anew with
each subscription; what found no place in the queue to us is not sent, and only a number is left out.
"""

from typing import Final

from lae_monitor.kinds.pace import Bucket

MAX_RANGES: Final = 1_000  # pieces missing that are remembered, to be taken when they come late
MAX_MISSING: Final = 10_000_000  # events at once: a thousand a second for three hours
MAX_RUNS: Final = 16  # runs of a host's programs that are remembered


class Numbers:
    """Of one run."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._missing: dict[int, int] = {}  # first -> end of what is missing, oldest first

    def take(self, number: int, *, counts: bool) -> tuple[bool, int]:
        """Takes an event's number.

        Args:
            number: 0 or more.
            counts: whether numbers left out before this one are missing; not so when we learn of the run only now.

        Returns:
            Whether it is new, and how many more are missing: below 0 when it was.

        Raises:
            ValueError: so many cannot be missing.
        """
        if self._next is None or number >= self._next:
            missing = number - self._next if counts and self._next is not None else 0
            if missing > MAX_MISSING:
                raise ValueError(f"a jump of {missing} in numbers")
            if missing:
                self._miss(number - missing, number)
            self._next = number + 1
            return True, missing
        return (True, -1) if self._found(number) else (False, 0)

    def _miss(self, first: int, end: int) -> None:
        self._missing[first] = end
        if len(self._missing) > MAX_RANGES:
            del self._missing[next(iter(self._missing))]

    def _found(self, number: int) -> bool:
        for first, end in self._missing.items():
            if first <= number < end:
                del self._missing[first]
                if first < number:
                    self._miss(first, number)
                if number + 1 < end:
                    self._miss(number + 1, end)
                return True
        return False


class Runs:
    """Of a host's programs, as long as this process runs; the least used are forgotten."""

    def __init__(self) -> None:
        self._runs: dict[str, Numbers] = {}

    def knows(self, run: str) -> bool:
        return run in self._runs

    def of(self, run: str) -> Numbers:
        found = self._runs.pop(run, None) or Numbers()
        self._runs[run] = found
        if len(self._runs) > MAX_RUNS:
            del self._runs[next(iter(self._runs))]
        return found


# ---- pace ------------------------------------------------------------------------------------------------------------
# A node that logs faster gets its answers later: Foolscap sends 10 events at most without an answer.


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
