"""From the archive to every destination, each crash once as far as they can tell.

A crash is written down before it is sent, and counts as sent when its destination has it, durable and compared. Killed in
between, it is sent again, which changes nothing where the same crash is already. One that cannot be read is a dead letter.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from lae_monitor.core.limits import MiB
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import Clock
from lae_monitor.kinds.crashes.crashmover import metrics
from lae_monitor.kinds.crashes.crashmover.config import Settings
from lae_monitor.kinds.crashes.crashmover.destination import Never, Unavailable
from lae_monitor.kinds.crashes.crashmover.lane import Lane, Telling, delay
from lae_monitor.kinds.crashes.crashmover.ledger import Ledger, Send
from lae_monitor.kinds.crashes.crashmover.routes import Route
from lae_monitor.kinds.crashes.crashmover.source import Source
from lae_monitor.kinds.pace import Budget

log = logging.getLogger(__name__)

MAX_HELD: Final = 256 * MiB  # bytes of crashes in memory
GIVE_UP: Final = 20  # failures one after the other, until a run that ends leaves a destination alone
FOREVER: Final = float("inf")
SWEEP_REST: Final = 9  # times as long as looking for new crashes took
LATE: Final = 3600.0  # seconds beyond the longest wait: who waits longer does so because the clock was set back
SHORTEST: Final = 0.01  # seconds between two looks at what is due


@dataclass
class Outcome:
    """What a run did: sends, not crashes. `failed`: tries; `left`: what is to be tried again. `dead`, `failed` and `left`
    count ids that could not be told, too. `silent`: archive roots that did not say which crashes they have.
    """

    sent: int = 0
    skipped: int = 0
    dead: int = 0
    failed: int = 0
    left: int = 0
    silent: list[str] = field(default_factory=list)


class Mover:
    """One crashmover.

    Args:
        chance: random numbers from 0 to below 1.
    """

    def __init__(
        self,
        settings: Settings,
        source: Source,
        ledger: Ledger,
        routes: Sequence[Route],
        telling: Telling,
        clock: Clock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.outcome = Outcome()
        self._settings = settings
        self._source = source
        self._ledger = ledger
        self._lanes = [Lane(route, settings) for route in routes]
        self._telling = telling
        self._clock = clock
        self._chance = chance
        self._budget = Budget(MAX_HELD)
        self._changed = asyncio.Event()  # something ended
        self._next_send = 0.0  # by time.monotonic(), while there is a rate

    # ---- runs ------------------------------------------------------------------------------------------------------

    async def run_forever(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; then what is under way ends first."""
        stopping = asyncio.create_task(stop.wait())
        next_sweep = 0.0  # by time.monotonic()
        try:
            while not stop.is_set():
                if time.monotonic() >= next_sweep:
                    next_sweep = await self._sweep()
                self._changed.clear()
                now = self._clock()
                waits = [self._begin(lane, now) for lane in self._lanes]
                waits += [self._telling.begin(now, self._changed.set), next_sweep - time.monotonic()]
                await self._rest(max(min(waits), SHORTEST), stopping)
        finally:
            stopping.cancel()
            await self._finish()

    async def _sweep(self) -> float:
        """Looks for what is new; returns when to look again, by time.monotonic().

        A day of 100,000 crashes takes a second to list: looking never takes more than a tenth of the time.
        """
        begun = time.monotonic()
        await self._source.sweep()
        now = self._clock()
        for lane in self._lanes:
            self._ledger.hasten(lane.route.name, now, now + self._settings.max_retry_delay + LATE)
        self._measure()
        ended = time.monotonic()
        return ended + max(self._settings.interval, SWEEP_REST * (ended - begun))

    async def run_once(self, stop: asyncio.Event, count: int | None = None) -> Outcome:
        """Tries each crash that waits once: all, or `count` of them, those that wait longest."""
        await self._sweep()
        wanted = None if count is None else self._ledger.longest_waiting(count)
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._changed.clear()
                lanes = [lane for lane in self._lanes if lane.in_a_row < GIVE_UP]
                wait = min((self._begin(lane, FOREVER, wanted) for lane in lanes), default=FOREVER)
                if wait == FOREVER and not any(lane.under_way for lane in self._lanes):
                    break
                await self._rest(min(wait, 1.0), stopping)
            if not stop.is_set():
                await self._telling.tell_all()
        finally:
            stopping.cancel()
            await self._finish()
        self.outcome.silent = self._source.silent()
        self.outcome.left = sum(self._ledger.sends.waiting(lane.route.name) for lane in self._lanes)
        self.outcome.left += self._ledger.publishes.waiting()
        self.outcome.dead += self._telling.dead
        self.outcome.failed += self._telling.failed
        return self.outcome

    async def _rest(self, seconds: float, stopping: "asyncio.Task[bool]") -> None:
        changed = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait({changed, stopping}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()

    async def _finish(self) -> None:
        """Waits for what is under way."""
        tasks = [task for lane in self._lanes for task in lane.under_way.values()]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._telling.finish()
        for lane in self._lanes:
            lane.stop()
        self._measure()

    # ---- one crash -------------------------------------------------------------------------------------------------

    def _begin(self, lane: Lane, now: float, wanted: set[str] | None = None) -> float:
        """Begins what is due; returns in how many seconds there may be more."""
        once = now == FOREVER
        if lane.room <= 0:
            return FOREVER
        pause = lane.paused_until - time.monotonic()
        if not once and pause > 0:
            return pause
        known = len(lane.under_way) + len(lane.failed)
        for send in self._ledger.due(lane.route.name, now, lane.room + known, wanted):
            if lane.room <= 0:
                break
            if send in lane.under_way or send in lane.failed:
                continue
            if self._settings.rate:
                early = self._next_send - time.monotonic()
                if early > 0:
                    return early
                self._next_send = max(self._next_send, time.monotonic() - 1) + 1 / self._settings.rate
            task = asyncio.create_task(self._move(lane, send, once=once), name=f"{send.crash_id} to {send.destination}")
            lane.under_way[send] = task
        following = None if once else self._ledger.sends.next_try(lane.route.name)
        return FOREVER if following is None or following <= now else following - now

    async def _move(self, lane: Lane, send: Send, *, once: bool) -> None:
        try:
            await self._try(lane, send)
        except Unavailable as error:
            self._failed(lane, send, str(error), error.wait, once=once)
        except Never as error:
            self._dead(send, str(error))
        except FileNotFoundError as error:
            self._failed(lane, send, str(error), None, once=once, its_fault=False)
        except Refused as refused:
            metrics.UNREADABLE.inc()
            self._dead(send, str(refused))
        except Exception as error:
            log.exception("%s to %s", send.crash_id, send.destination)
            self._failed(lane, send, f"{type(error).__name__}: {error}", None, once=once)
        finally:
            del lane.under_way[send]
            self._changed.set()

    async def _try(self, lane: Lane, send: Send) -> None:
        """
        Raises:
            Unavailable, Never: by the destination.
            Refused, FileNotFoundError: by the archive.
        """
        size = await self._source.size(send.crash_id)
        await self._budget.wait(size)
        try:
            crash = await self._source.read(send.crash_id, size)
            if not lane.route.takes(crash):
                self._ledger.skipped(send, self._clock())
                metrics.SKIPPED.labels(send.destination).inc()
                self.outcome.skipped += 1
                return
            place = await lane.save(crash)
            self._ledger.done(send, self._clock(), crash.checksum, place, lane.route.settings.publish)
        finally:
            self._budget.give(size)
        lane.succeeded()
        metrics.SAVED.labels(send.destination).inc()
        self.outcome.sent += 1

    def _failed(
        self, lane: Lane, send: Send, error: str, wait: float | None, *, once: bool, its_fault: bool = True
    ) -> None:
        now, failures = self._clock(), send.attempts + 1
        self.outcome.failed += 1
        if its_fault:
            lane.did_not_take(time.monotonic(), self._chance(), wait)
        is_away = not its_fault and self._source.silent()  # the crash may be on a root that does not answer
        if failures >= self._settings.max_attempts and not is_away:
            self._dead(send, error)
            return
        seconds = delay(self._settings, failures, self._chance(), wait)
        log.warning("%s to %s, try %d: %s; again in %.0f s", send.crash_id, send.destination, failures, error, seconds)
        metrics.RETRIED.labels(send.destination).inc()
        self._ledger.failed(send, now + seconds, error)
        if once:
            lane.failed.add(send._replace(attempts=failures))

    def _dead(self, send: Send, error: str) -> None:
        log.error("%s to %s is a dead letter: %s", send.crash_id, send.destination, error)
        metrics.DROPPED.labels(send.destination).inc()
        self._ledger.dead(send, self._clock(), error)
        self.outcome.dead += 1

    def _measure(self) -> None:
        now = self._clock()
        for lane in self._lanes:
            since = self._ledger.oldest(lane.route.name)
            metrics.WAITING.labels(lane.route.name).set(self._ledger.sends.waiting(lane.route.name))
            metrics.OLDEST.labels(lane.route.name).set(0 if since is None else max(0.0, now - since))
        metrics.UNTOLD.set(self._ledger.publishes.waiting())
        metrics.DEAD.set(self._ledger.dead_count())
