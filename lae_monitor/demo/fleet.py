"""The pretend fleet as one process: hours of history first, then life as it comes.

It talks to the monitor as hosts do, over the addresses that the configuration names, and knows nothing else of it.
"""

import asyncio
import json
import logging
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final
from urllib.parse import quote

from lae_monitor.config import Settings
from lae_monitor.core.kind import Kinds
from lae_monitor.core.time import HOUR, Clock, format_time, wall_clock
from lae_monitor.demo.hosts import CLUSTERS, HOSTS, SICK, Host
from lae_monitor.demo.part import Part, happenings, parts_of
from lae_monitor.demo.posts import Answer
from lae_monitor.demo.stage import FLEET, read_told, write_told
from lae_monitor.demo.story import Happening
from lae_monitor.net import tubs

log = logging.getLogger(__name__)

LANES: Final = 6  # hosts that send at the same time while the history is told
TICK: Final = 1.0  # seconds between looks what happens next
NOTE_EVERY: Final = 20.0  # seconds after which the fleet writes down until when the story was told
PATIENCE: Final = 60.0  # seconds for the monitor to show what it was sent, before life goes on
LOOK_EVERY: Final = 0.5  # seconds between looks whether it does
AT_ONCE: Final = 64  # posts under way; beyond, a monitor that is down is told nothing new


class Fleet:
    """All hosts, and the story they are in.

    Args:
        settings: the monitor's, for its addresses.
        kinds: those that have a part in it take part.
        ready: told what was sent, once the history is with the monitor.
    """

    def __init__(
        self, settings: Settings, kinds: Kinds, ready: Callable[[str], None], clock: Clock = wall_clock
    ) -> None:
        self._settings = settings
        self._ready = ready
        self._clock = clock
        self._folder = settings.state.path / FLEET
        self._story, self._until = read_told(self._folder)
        self._kinds = parts_of(kinds)
        self._parts: dict[str, Part] = {}  # by what they tell
        self._sent: Counter[str] = Counter()
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        tubs.start_reactor()
        made = [part(self._settings, self._story, self._folder) for part in self._kinds.values()]
        self._parts = {part.what: part for part in made}
        living = asyncio.create_task(self._live())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([living, stopping], return_when=asyncio.FIRST_COMPLETED)
            if living.done():
                await living
        finally:
            for task in (living, stopping, *self._under_way):
                task.cancel()
            await asyncio.gather(living, *self._under_way, return_exceptions=True)
            write_told(self._folder, self._story, self._until)
            for host in HOSTS:
                self._stop(host)
            tubs.stop_reactor()

    # ---- history, and life -----------------------------------------------------------------------------------------

    async def _live(self) -> None:
        now = self._clock()
        await self._tell(list(self._past(now)))
        self._until = now
        write_told(self._folder, self._story, now)
        self._ready(self.describe())
        noted = now
        while True:
            await asyncio.sleep(TICK)
            now = self._clock()
            if now <= self._until:
                continue  # the clock was set back
            for happening in self._happenings(self._until, now):
                self._let_happen(happening)
            self._until = now
            if now - noted > NOTE_EVERY:
                write_told(self._folder, self._story, now)
                noted = now

    def _past(self, now: float) -> Iterable[Happening]:
        """What was not told yet: of the history all, of what came after it no more than the last hours."""
        story = self._story
        if self._until < story.ends:
            yield from self._happenings(self._until, min(story.ends, now))
        since = max(self._until, story.ends, now - story.hours * HOUR)
        if since < now:
            yield from self._happenings(since, now)

    async def _tell(self, past: list[Happening]) -> None:
        """Sends the past, each host's in order; returns when the monitor shows it, or has had time to."""
        rest = []
        for happening in past:
            if self._parts[happening.what].remember(happening):
                self._sent[happening.what] += 1
            else:
                rest.append(happening)
        silent = self._story.is_silent(SICK, self._clock())
        for host in HOSTS:
            if not (host == SICK and silent) or any(item.host == host for item in past):
                for part in self._parts.values():
                    part.start(host)
        lanes = asyncio.Semaphore(LANES)
        await asyncio.gather(*(self._tell_one([item for item in rest if item.host == host], lanes) for host in HOSTS))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._shown(past), PATIENCE)
        if silent:
            self._stop(SICK)

    def _stop(self, host: Host) -> None:
        for part in self._parts.values():
            part.stop(host)

    def _happenings(self, start: float, end: float) -> list[Happening]:
        return happenings(self._kinds.values(), self._story, start, end)

    async def _tell_one(self, past: list[Happening], lanes: asyncio.Semaphore) -> None:
        async with lanes:
            for happening in past:
                await self._report(happening)

    async def _shown(self, past: list[Happening]) -> None:
        """Returns when a search finds as much as was sent of the past."""
        if not past:
            return
        times = f"since:{format_time(past[0].time - 1)} until:{format_time(past[-1].time + 1)}"
        missing = {part.what: kind.event for kind, part in self._kinds.items()}
        while True:
            for what, kind in list(missing.items()):
                if await asyncio.to_thread(self._found, f"kind:{kind} {times}") >= self._sent[what]:
                    del missing[what]
            if not missing:
                return
            await asyncio.sleep(LOOK_EVERY)

    def _found(self, query: str) -> int:
        """How much a search finds; nothing while the pages are not there."""
        try:
            url = (self._settings.state.path / "node.url").read_text().strip()
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"{url}api/search?q={quote(query)}&limit=1", timeout=10) as answer:
                return int(json.load(answer)["matched"])
        except (OSError, ValueError):
            return 0

    # ---- one happening ---------------------------------------------------------------------------------------------

    def _let_happen(self, happening: Happening) -> None:
        if len(self._under_way) < AT_ONCE:
            task = asyncio.create_task(self._report(happening))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _report(self, happening: Happening) -> None:
        answer = await self._parts[happening.what].tell(happening)
        if answer is None:
            return
        self._sent[happening.what if answer.status == 200 else "refused"] += 1
        if answer.status != 200:
            log.warning("%s: %s: %s", happening.host.name, happening.what, _said(answer))

    def describe(self) -> str:
        """What was sent, in one line."""
        sent = ", ".join(f"{self._sent[part.what]} {part.called}" for part in self._kinds.values())
        return f"{len(HOSTS)} hosts in {len(CLUSTERS)} clusters have sent {sent}"


def _said(answer: Answer) -> str:
    return f"{answer.status} {answer.text.strip()[:200]}"
