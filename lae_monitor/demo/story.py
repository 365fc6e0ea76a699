"""What becomes of the fleet, and when. Pure: the same seed and beginning give the same story.

The host with a story is `hosts.SICK`. Its server's memory grows from the beginning; when it is nearly full, downloads fail
for want of shares; then the server crashes, again and again, each time sooner; then nothing more is heard of the host.
"""

import random
from typing import Final, NamedTuple

from lae_monitor.core.time import HOUR
from lae_monitor.demo.hosts import SICK, Host

# The story, as shares of the hours of history.
CRASHES_AT: Final = (0.74, 0.79, 0.83, 0.86, 0.88, 0.895)
SILENT_FROM: Final = 0.90  # of six hours more than half an hour: the host counts as silent when the demo is ready
MEMORY_GIB: Final = (0.6, 7.8)  # of the server, at the beginning and before the first crash; the host has 8


class Happening(NamedTuple):
    """One thing that a host reports at `time` (seconds); `dice` decides its particulars."""

    time: float
    host: Host
    what: str
    dice: random.Random
    told: bool = False  # belongs to the story


class Story:
    """The events of a fleet.

    Args:
        seed: decides all that is by chance.
        begins: when the history begins, in seconds.
        hours: how long it is; after it, life goes on at a brisker pace.
    """

    def __init__(self, seed: int, begins: float, hours: float) -> None:
        self.seed = seed
        self.begins = begins
        self.hours = hours
        self.ends = begins + hours * HOUR

    def at(self, share: float) -> float:
        """When `share` of the history is over."""
        return self.begins + share * (self.ends - self.begins)

    def dice(self, *words: str | float) -> random.Random:
        """Chance that depends on the seed and on `words` alone."""
        return random.Random("/".join(map(str, (self.seed, *words))))  # noqa: S311 - a story, not a secret

    def elapsed(self, time: float) -> int:
        """Whole seconds of the story until `time`: what chance may depend on, as the time of day may not."""
        return round(time - self.begins)

    # ---- the host with a story -------------------------------------------------------------------------------------

    @property
    def crashes(self) -> list[float]:
        return [self.at(share) for share in CRASHES_AT]

    def is_silent(self, host: Host, time: float) -> bool:
        return host == SICK and time >= self.at(SILENT_FROM)

    def restarts(self, time: float) -> int:
        """How often the sick host's server was started again until `time`."""
        return sum(crash <= time for crash in self.crashes)

    def server_gib(self, time: float) -> float:
        """Resident memory of the sick host's server: it fills up, and after each crash it does so anew, sooner."""
        low, high = MEMORY_GIB
        crashes = self.crashes
        done = self.restarts(time)
        since = self.begins if done == 0 else crashes[done - 1]
        until = crashes[done] if done < len(crashes) else self.at(SILENT_FROM)
        share = min(1.0, max(0.0, (time - since) / max(until - since, 1.0)))
        return low + (high - low) * share * (0.6 + 0.4 * share)  # faster towards the end
