"""What a kind adds to the pretend fleet: what happens to hosts, how they send it, and where. `Kind.demo` names it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from lae_monitor.config import Settings
from lae_monitor.core.kind import Kind, Kinds, load
from lae_monitor.core.time import MINUTE
from lae_monitor.demo.hosts import HOSTS, SICK, Host
from lae_monitor.demo.posts import Answer
from lae_monitor.demo.story import Happening, Story

SLOT = 10 * MINUTE  # of the history: in each, something happens to a host at most once by chance
LIVE_SLOT = MINUTE


class Part:
    """One kind in the pretend fleet.

    `what`: what its happenings are; `called`: several of them; `port`: of its gatherer, where that is free;
    `to_try`: commands of the command line, each with what it is good for.
    """

    what: ClassVar[str]
    called: ClassVar[str]
    port: ClassVar[int]
    to_try: ClassVar[tuple[tuple[str, str], ...]] = ()

    def __init__(self, settings: Settings, story: Story, fleet: Path) -> None:
        """Made once the reactor runs. `fleet` is the folder of what the hosts keep."""
        self.settings = settings
        self.story = story
        self.fleet = fleet

    @staticmethod
    def prepare(state: Path, fleet: Path) -> None:
        """Makes what the monitor and the hosts have to know of each other, if it is not there."""

    @staticmethod
    def configuration(port: int) -> str:
        """The lines of its section of the settings: its gatherer is at `port` of 127.0.0.1."""
        return f'listen = "127.0.0.1:{port}"'

    @staticmethod
    def address(section: Any) -> str:
        """Where hosts send to, by its section of the settings."""
        raise NotImplementedError

    @classmethod
    def entrance(cls, section: Any) -> str:
        """The same for people."""
        return f"POST {cls.address(section)}"

    @classmethod
    def happenings(cls, story: Story, start: float, end: float) -> Iterable[Happening]:
        """What happens from `start` until before `end`; both are on one side of `story.ends`."""
        raise NotImplementedError

    def remember(self, happening: Happening) -> bool:
        """Something of the past; returns whether the host sends it by itself, once it is started."""
        del happening
        return False

    def start(self, host: Host) -> None:
        """`host` runs."""

    def stop(self, host: Host) -> None:
        """`host` falls silent; it may be silent already."""

    async def tell(self, happening: Happening) -> Answer | None:
        """Sends what happens now; None when there was no answer."""
        raise NotImplementedError


def parts_of(kinds: Kinds) -> dict[Kind, type[Part]]:
    return {kind: load(kind.demo) for kind in kinds if kind.demo}


def happenings(parts: Iterable[type[Part]], story: Story, start: float, end: float) -> list[Happening]:
    """What happens of all kinds, in order; nothing of a host that is silent."""
    found = [item for part in parts for item in part.happenings(story, start, end)]
    heard = [item for item in found if not story.is_silent(item.host, item.time)]
    return sorted(heard, key=lambda item: (item.time, item.host.name, item.what))


# ---- kinds of happenings -------------------------------------------------------------------------------------------


def of_story(what: str, shares: Sequence[float], story: Story, start: float, end: float) -> Iterator[Happening]:
    """What the host with a story reports at these shares of the history."""
    for number, share in enumerate(shares):
        if start <= (time := story.at(share)) < end:
            yield Happening(time, SICK, what, story.dice("story", what, number), told=True)


def by_chance(
    what: str, chance: Callable[[Host, float], float], story: Story, start: float, end: float
) -> Iterator[Happening]:
    """What other nodes report: in each slot of a host with the `chance` that it has at that time."""
    live = start >= story.ends
    length, origin = (LIVE_SLOT, story.ends) if live else (SLOT, story.begins)
    for host in HOSTS:
        if not host.is_node or host == SICK:
            continue
        for number, slot in _ticks(origin, length, start - length, end):
            dice = story.dice("chance", what, host.name, live, number)
            time = slot + dice.random() * length
            if dice.random() < chance(host, slot) and start <= time < end:
                yield Happening(time, host, what, story.dice(what, host.name, live, number))


def at_intervals(
    what: str, every: float, live_every: float, story: Story, start: float, end: float
) -> Iterator[Happening]:
    """What all hosts report again and again, each at its own moment."""
    live = start >= story.ends
    if live:
        every = live_every
    for host in HOSTS:
        origin = (story.ends if live else story.begins) + host.number * every / len(HOSTS)
        for number, time in _ticks(origin, every, start, end):
            yield Happening(time, host, what, story.dice(what, host.name, live, number))


def _ticks(origin: float, every: float, start: float, end: float) -> Iterator[tuple[int, float]]:
    """The multiples of `every` after `origin` that lie from `start` until before `end`, with their numbers."""
    number = max(0, -int(-(start - origin) // every))
    while (time := origin + number * every) < end:
        if time >= start:
            yield number, time
        number += 1
