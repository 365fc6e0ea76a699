"""Keeps what nodes log, beside their incidents, from the level on that `gatherers.incidents.log_level` names.

    node ──subscribe_to_all──► LogFollower ──► Following.take ──► LogFile ──► incidents/<cluster>/logs/<host>/<day>.flog

What a node still remembers when it connects comes too. See docs/node-logs.md.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from lae_monitor.core.limits import MiB
from lae_monitor.core.names import Place
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import MINUTE
from lae_monitor.kinds.context import Context
from lae_monitor.kinds.incidents.classify.facts import LEVELS
from lae_monitor.kinds.incidents.node_logs.file import LogFile, Losses, Room
from lae_monitor.kinds.incidents.node_logs.stream import Runs, pace_of_all
from lae_monitor.kinds.incidents.wire.event import LATEST, MAX_INTEGER, OPERATIONAL, level_of, number, run_of
from lae_monitor.kinds.incidents.wire.plain import Plain
from lae_monitor.kinds.incidents.wire.render import can_format, plain_text
from lae_monitor.kinds.receipts import Receipts

if TYPE_CHECKING:
    from lae_monitor.kinds.incidents.nodes.node import Node


log = logging.getLogger(__name__)

TELL_EVERY: Final = MINUTE  # between marks of what is missing
# What a node remembers takes a second to decode: after a restart of ours, a fleet's would keep us from everything else.
TURNS: Final = 2  # nodes that begin at once to send what they log
STOP_PATIENCE: Final = 5.0  # seconds for what waits to be written
MAX_HOSTS: Final = 4_096  # whose runs are remembered while no node of theirs is connected


class Follower(Protocol):
    """Subscribes to one node's log, and hands each event to `Following.take`."""

    place: Place

    async def run(self) -> None:
        """Until the connection ends, or the task is cancelled."""


class Following:
    """The logs of all connected nodes.

    Args:
        context: the gatherer's surroundings.
        receipts: where marks go.
        follower: makes the follower of a connected node.
    """

    def __init__(
        self, context: Context, receipts: Receipts, follower: Callable[["Node", "Following"], Follower]
    ) -> None:
        self._follower = follower
        level = context.settings.gatherers["incidents"].log_level
        self.level = math.inf if level == "off" else LEVELS[level]
        self.receipts = receipts
        self.clock = context.clock
        self.pace = pace_of_all(context.clock())  # of all nodes
        self.turns = asyncio.Semaphore(TURNS)
        self._archive = context.archive
        self._losses = Losses(receipts)
        self._room = Room()
        self._files: dict[Place, LogFile] = {}
        self._runs: dict[Place, Runs] = {}
        self._followers: dict[Follower, asyncio.Task[None]] = {}

    def connected(self, node: "Node") -> None:
        """Follows the log of a node that has come, until it goes."""
        if self.level == math.inf:
            return
        follower = self._follower(node, self)
        task = asyncio.create_task(follower.run(), name=f"log of {node}")
        self._followers[follower] = task
        task.add_done_callback(lambda _task: self._followers.pop(follower, None))

    def runs(self, place: Place) -> Runs:
        """What has come of a host."""
        found = self._runs.pop(place, None) or Runs()
        self._runs[place] = found
        if len(self._runs) > MAX_HOSTS + len(self._followers):
            del self._runs[next(iter(self._runs))]
        return found

    def take(self, place: Place, tub_id: str, raw: Any, unknown: set[str] | None) -> None:
        """Keeps an event, if it is one, new, and of the level that is kept.

        Args:
            raw: of any type.
            unknown: while a node sends what it remembers, the runs that were not known before; else None.
        """
        try:
            event = event_of(raw)
            is_new = self._is_new(place, event, unknown)
        except Refused:
            self._losses.count(place, "large")
            return
        except ValueError:
            self._losses.count(place, "malformed")
            return
        if not is_new or level_of(event) < self.level:
            return
        file = self._files.get(place)
        if file is None:
            file = self._files[place] = LogFile(place, self._archive, self.clock, self._losses, self._room)
        file.add(event, tub_id, self.clock())

    def _is_new(self, place: Place, event: dict[str, Any], unknown: set[str] | None) -> bool:
        """Whether the event did not come before; counts those that are missing before it.

        Raises:
            ValueError: its number cannot be true.
        """
        run = run_of(event)
        runs = self.runs(place)
        if unknown is not None and not runs.knows(run):
            unknown.add(run)
        is_new, missing = runs.of(run).take(event["num"], counts=unknown is None or run not in unknown)
        if missing:
            self._losses.count(place, "unsent", missing)
        return is_new

    async def run(self) -> None:
        """Tells what is missing, for ever."""
        while True:
            await asyncio.sleep(TELL_EVERY)
            self._losses.tell()
            followed = {follower.place for follower in self._followers}
            for place in [place for place, file in self._files.items() if file.is_idle and place not in followed]:
                del self._files[place]

    async def stop(self) -> None:
        """Follows nobody any more, and writes what waits."""
        tasks = list(self._followers.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_PATIENCE):
                await asyncio.gather(*(file.finish() for file in self._files.values()))
        self._losses.tell()


# ---- one event -------------------------------------------------------------------------------------------------------
# flogtool expects that every event is one of Foolscap's: another one would end its dump of a host's whole day.


MAX_MEMORY: Final = 1 * MiB  # of one event's values, while they are converted
TEXTS: Final = ("message", "format", "facility", "umid")
FORMATS: Final = ("format", "args")


def event_of(raw: Any) -> dict[str, Any]:
    """An event as JSON can hold it, with all that flogtool cannot do without.

    Raises:
        ValueError: it is no event.
        Refused: it is too large.
    """
    if not isinstance(raw, Mapping):
        raise ValueError("no dictionary")  # noqa: TRY004 - of a value that came from outside
    event: dict[str, Any] = Plain(MAX_MEMORY).of(raw)
    num, time = event.get("num"), number(event.get("time"))
    if isinstance(num, bool) or not isinstance(num, int) or not 0 <= num < MAX_INTEGER:
        raise ValueError("no number")
    if time is None or not 0 <= time < LATEST:
        raise ValueError("no time")
    if not run_of(event):
        raise ValueError("no incarnation")
    return _for_flogtool(event)


def _for_flogtool(event: dict[str, Any]) -> dict[str, Any]:
    """`event`, with what flogtool would not take replaced by something that says the same, as far as that can be."""
    incarnation = event["incarnation"]
    if not isinstance(incarnation, list) or not isinstance(incarnation[0], str):
        event["incarnation"] = [run_of(event), None]
    if number(event.get("level")) is None:
        event["level"] = OPERATIONAL
    if "failure" in event and not isinstance(event["failure"], dict):
        event["failure"] = {"@": "UnJSONable", "str": str(event["failure"])}
    if isinstance(event.get("parent"), dict | list):
        event["parent"] = plain_text(event["parent"])
    for key in TEXTS:
        if key in event and not isinstance(event[key], str):
            event[key] = plain_text(event[key])
    if any(key in event for key in FORMATS) and not can_format(event):
        raw = {key: event.pop(key) for key in FORMATS if key in event}
        event.setdefault("message", plain_text(raw.get("format", "")))
        event["unformattable"] = raw
    return event
