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
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from lae_monitor.config import Settings
from lae_monitor.core.time import HOUR, Clock, format_time, wall_clock
from lae_monitor.demo import crashes, sonar
from lae_monitor.demo.hosts import CLUSTERS, HOSTS, SICK, Host
from lae_monitor.demo.posts import Answer, send
from lae_monitor.demo.stage import FLEET, PASSWORDS, read_passwords, read_told, write_told
from lae_monitor.demo.story import Happening, What
from lae_monitor.net import tubs
from lae_monitor.net.furls.registry import Registry

if TYPE_CHECKING:
    from lae_monitor.demo.incidents import Node

log = logging.getLogger(__name__)

LANES: Final = 6  # hosts that send at the same time while the history is told
TICK: Final = 1.0  # seconds between looks what happens next
NOTE_EVERY: Final = 20.0  # seconds after which the fleet writes down until when the story was told
PATIENCE: Final = 60.0  # seconds for the monitor to show what it was sent, before life goes on
LOOK_EVERY: Final = 0.5  # seconds between looks whether it does
KINDS: Final[dict[What, str]] = {"crash": "crash", "incident": "incident", "samples": "sonar"}
AT_ONCE: Final = 64  # posts under way; beyond, a monitor that is down is told nothing new


class Fleet:
    """All hosts, and the story they are in.

    Args:
        settings: the monitor's, for its addresses.
        ready: told what was sent, once the history is with the monitor.
    """

    def __init__(self, settings: Settings, ready: Callable[[str], None], clock: Clock = wall_clock) -> None:
        self._settings = settings
        self._ready = ready
        self._clock = clock
        self._folder = settings.state.path / FLEET
        self._story, self._until = read_told(self._folder)
        self._passwords = read_passwords(self._folder / PASSWORDS)
        self._sent: Counter[str] = Counter()
        self._under_way: set[asyncio.Task[None]] = set()
        self._nodes: dict[Host, Node] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        tubs.start_reactor()
        self._nodes = self._make_nodes()
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
            for node in self._nodes.values():
                node.stop()
            tubs.stop_reactor()

    def _make_nodes(self) -> dict[Host, "Node"]:
        from lae_monitor.demo.incidents import Node  # noqa: PLC0415 - after start_reactor()

        registry = Registry(self._settings, "incidents")
        return {
            host: Node(self._story, host, self._folder, registry.register(host.name, host.cluster).furl)
            for host in HOSTS
            if host.is_node
        }

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
            for happening in self._story.happenings(self._until, now):
                self._let_happen(happening)
            self._until = now
            if now - noted > NOTE_EVERY:
                write_told(self._folder, self._story, now)
                noted = now

    def _past(self, now: float) -> Iterable[Happening]:
        """What was not told yet: of the history all, of what came after it no more than the last hours."""
        story = self._story
        if self._until < story.ends:
            yield from story.happenings(self._until, min(story.ends, now))
        since = max(self._until, story.ends, now - story.hours * HOUR)
        if since < now:
            yield from story.happenings(since, now)

    async def _tell(self, past: list[Happening]) -> None:
        """Sends the past, each host's in order; returns when the monitor shows it, or has had time to."""
        for happening in past:
            if happening.what == "incident":
                self._nodes[happening.host].remember(happening)
                self._sent["incident"] += 1
        silent = self._story.is_silent(SICK, self._clock())
        for host, node in self._nodes.items():
            if not (host == SICK and silent) or any(item.host == host for item in past):
                node.start()
        lanes = asyncio.Semaphore(LANES)
        await asyncio.gather(*(self._tell_one([item for item in past if item.host == host], lanes) for host in HOSTS))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._shown(past), PATIENCE)
        if silent:
            self._nodes[SICK].stop()

    async def _tell_one(self, past: list[Happening], lanes: asyncio.Semaphore) -> None:
        async with lanes:
            for happening in past:
                if happening.what != "incident":
                    await self._report(happening)

    async def _shown(self, past: list[Happening]) -> None:
        """Returns when a search finds as much as was sent of the past."""
        if not past:
            return
        times = f"since:{format_time(past[0].time - 1)} until:{format_time(past[-1].time + 1)}"
        missing = dict(KINDS)
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
        if happening.what == "incident":
            self._sent["incident"] += 1
            self._nodes[happening.host].suffer(happening)
        elif len(self._under_way) < AT_ONCE:
            task = asyncio.create_task(self._report(happening))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _report(self, happening: Happening) -> None:
        answer = await self._send(happening)
        if answer is None:
            return
        self._sent[happening.what if answer.status == 200 else "refused"] += 1
        if answer.status != 200:
            log.warning("%s: %s: %s", happening.host.name, happening.what, _said(answer))

    async def _send(self, happening: Happening) -> Answer | None:
        host = happening.host
        if happening.what == "crash":
            return await crashes.send(self._story, happening, str(self._settings.gatherers["crashes"].listen))
        address = self._settings.gatherers["sonar"].listen
        return await send(sonar.post(self._story, host, happening.time, address, self._passwords[host.cluster]))

    def describe(self) -> str:
        """What was sent, in one line."""
        sent = self._sent
        return (
            f"{len(HOSTS)} hosts in {len(CLUSTERS)} clusters have sent {sent['samples']} posts of samples, "
            f"{sent['crash']} crashes, {sent['incident']} incidents"
        )


def _said(answer: Answer) -> str:
    return f"{answer.status} {answer.text.strip()[:200]}"
