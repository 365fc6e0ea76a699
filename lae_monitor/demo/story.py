"""What happens to whom, and when. Pure: the same seed and beginning give the same events.

The host with a story is `hosts.SICK`. Its server's memory grows from the beginning; when it is nearly full, downloads fail
for want of shares; then the server crashes, again and again, each time sooner; then nothing more is heard of the host.
"""

import random
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from lae_monitor.core.time import HOUR, MINUTE
from lae_monitor.demo.hosts import GATEWAY, HOSTS, SICK, Host

What = Literal["samples", "crash", "incident"]

SAMPLES_EVERY: Final = 5 * MINUTE  # in the history, as production nodes do
LIVE_SAMPLES_EVERY: Final = MINUTE  # a demo is watched for minutes, not for days
SLOT: Final = 10 * MINUTE  # of the history: in each, a host has at most one crash and one incident by chance
LIVE_SLOT: Final = MINUTE

# The story, as shares of the hours of history.
INCIDENTS_AT: Final = (0.50, 0.59, 0.66, 0.72, 0.77)
CRASHES_AT: Final = (0.74, 0.79, 0.83, 0.86, 0.88, 0.895)
SILENT_FROM: Final = 0.90  # of six hours more than half an hour: the host counts as silent when the demo is ready
MEMORY_GIB: Final = (0.6, 7.8)  # of the server, at the beginning and before the first crash; the host has 8

# Chances within a slot, by what the host does.
CRASH_CHANCE: Final = {"storage": 0.02, "gateway": 0.12}
INCIDENT_CHANCE: Final = {"storage": 0.03, "gateway": 0.08}


class Happening(NamedTuple):
    """One thing that a host reports at `time` (seconds); `dice` decides its particulars."""

    time: float
    host: Host
    what: What
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

    def _told(self, start: float, end: float) -> Iterator[Happening]:
        for what, shares in (("incident", INCIDENTS_AT), ("crash", CRASHES_AT)):
            for number, share in enumerate(shares):
                if start <= (time := self.at(share)) < end:
                    yield Happening(time, SICK, what, self.dice("story", what, number), told=True)  # type: ignore[arg-type]

    # ---- all hosts -------------------------------------------------------------------------------------------------

    def happenings(self, start: float, end: float) -> Iterator[Happening]:
        """What happens from `start` until before `end`, in order; `start` and `end` on one side of `ends`."""
        live = start >= self.ends
        found = [
            *self._told(start, end),
            *(item for host in HOSTS for item in self._samples(host, start, end, live=live)),
            *(item for host in HOSTS if host.is_node for item in self._mishaps(host, start, end, live=live)),
        ]
        found = [item for item in found if not self.is_silent(item.host, item.time)]
        yield from sorted(found, key=lambda item: (item.time, item.host.name, item.what))

    def _samples(self, host: Host, start: float, end: float, *, live: bool) -> Iterator[Happening]:
        every = LIVE_SAMPLES_EVERY if live else SAMPLES_EVERY
        origin = (self.ends if live else self.begins) + host.number * every / len(HOSTS)
        for number, time in _ticks(origin, every, start, end):
            yield Happening(time, host, "samples", self.dice("samples", host.name, live, number))

    def _mishaps(self, host: Host, start: float, end: float, *, live: bool) -> Iterator[Happening]:
        """Crashes and incidents by chance; the gateway misses the sick host's shares once that is silent."""
        length, origin = (LIVE_SLOT, self.ends) if live else (SLOT, self.begins)
        for number, slot in _ticks(origin, length, start - length, end):
            dice = self.dice("mishaps", host.name, live, number)
            crash, incident = CRASH_CHANCE[host.work], INCIDENT_CHANCE[host.work]
            if host == GATEWAY and self.is_silent(SICK, slot):
                incident *= 3
            times: dict[What, float] = {
                "crash": slot + dice.random() * length,
                "incident": slot + dice.random() * length,
            }
            chances = {"crash": dice.random() < crash, "incident": dice.random() < incident}
            for what, time in times.items():
                if host != SICK and chances[what] and start <= time < end:
                    yield Happening(time, host, what, self.dice(what, host.name, live, number))


def _ticks(origin: float, every: float, start: float, end: float) -> Iterator[tuple[int, float]]:
    """The multiples of `every` after `origin` that lie from `start` until before `end`, with their numbers."""
    number = max(0, -int(-(start - origin) // every))
    while (time := origin + number * every) < end:
        if time >= start:
            yield number, time
        number += 1
