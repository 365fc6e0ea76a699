"""What throttle rules can decide. The numbers are Antenna's; see docs/throttling.md#results."""

from enum import IntEnum
from typing import Final, NamedTuple

NO_MATCH: Final = "NO_MATCH"  # the rule of a report that no rule applied to; Antenna's name


class Result(IntEnum):
    """What becomes of a report."""

    ACCEPT = 0  # kept
    DEFER = 1  # kept, and not for processing at once
    REJECT = 2  # dropped, and the client is told by which rule
    FAKEACCEPT = 3  # dropped, and the client is told a crash id: for those that would retry for ever
    CONTINUE = 4  # the rules that follow decide; never a verdict
    IGNORE = (
        5  # dropped, and the client is told that its program is not supported: what Socorro does without a percentage
    )


KEPT: Final = frozenset({Result.ACCEPT, Result.DEFER})

_LEGACY: Final = {
    Result.ACCEPT: 0, Result.DEFER: 1, Result.REJECT: 2, Result.FAKEACCEPT: 2, Result.IGNORE: 3,
}  # fmt: skip


class Verdict(NamedTuple):
    """What the rules decided. `rule`: which of them; `percent`: what it lets pass, if it let a sample pass, else None."""

    result: Result
    rule: str
    percent: float | None = None

    @property
    def unsupported(self) -> bool:
        """Whether the client hears `Unsupported=1`."""
        return self.result is Result.IGNORE

    @property
    def legacy_processing(self) -> int:
        """What Socorro notes of it: 0 accept, 1 defer, 2 discard, 3 ignore."""
        return _LEGACY[self.result]
