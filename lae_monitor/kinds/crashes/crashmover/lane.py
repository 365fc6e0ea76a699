"""The way of crashes to one destination: its threads, what is under way, and its pauses; and that of their ids."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Final

from lae_monitor.archive.workers import Workers
from lae_monitor.core.time import Clock
from lae_monitor.kinds.crashes.crashmover import metrics
from lae_monitor.kinds.crashes.crashmover.config import Settings
from lae_monitor.kinds.crashes.crashmover.crash import Crash
from lae_monitor.kinds.crashes.crashmover.destination import Unavailable
from lae_monitor.kinds.crashes.crashmover.ledger import Ledger, Publish, Send
from lae_monitor.kinds.crashes.crashmover.posting import Publisher
from lae_monitor.kinds.crashes.crashmover.routes import Route
from lae_monitor.store import sqlite

log = logging.getLogger(__name__)

THREADS: Final = 4  # ids that are told at the same time
TOGETHER: Final = 32  # ids under way
FOREVER: Final = float("inf")


class Lane:
    """One destination's lane; a destination that hangs holds up its own crashes only."""

    def __init__(self, route: Route, settings: Settings) -> None:
        self.route = route
        self.under_way: dict[Send, asyncio.Task[None]] = {}
        self.failures = 0  # one after the other, those at the same time counted once
        self.in_a_row = 0  # the same, each counted
        self.paused_until = 0.0  # by time.monotonic(): a clock that is set must not prolong it
        self.failed: set[Send] = set()  # in a run that tries each once
        self._settings = settings
        self._workers = Workers(f"crashmover-{route.name}", settings.threads)

    @property
    def room(self) -> int:
        return self._settings.threads + self._settings.queue - len(self.under_way)

    async def save(self, crash: Crash) -> str:
        """Saves in a thread, as soon as one is free; returns where it is.

        Raises:
            Unavailable, Never
        """
        name = self.route.name
        began = time.perf_counter()

        def job() -> tuple[str, float]:
            begun = time.perf_counter()
            place = self.route.saver.save(crash)
            return place, time.perf_counter() - begun

        place, seconds = await asyncio.wrap_future(self._workers.submit(job))
        metrics.SAVE_TIME.labels(name).observe(seconds)
        metrics.HANDLING_TIME.labels(name).observe(time.perf_counter() - began)
        metrics.BYTES.labels(name).inc(len(crash.raw) + sum(map(len, crash.dumps.values())))
        return place

    def succeeded(self) -> None:
        self.failures = self.in_a_row = 0
        self.paused_until = 0.0

    def did_not_take(self, now: float, chance: float, wait: float | None) -> None:
        """The destination is asked again later; what was under way at the same time does not count twice.

        Args:
            now: by time.monotonic().
        """
        self.in_a_row += 1
        if now >= self.paused_until:
            self.failures += 1
            self.paused_until = now + delay(self._settings, self.failures, chance, wait)

    def stop(self) -> None:
        self._workers.stop()


def delay(settings: Settings, failures: int, chance: float, wait: float | None = None) -> float:
    """Seconds until the next try after `failures` of them, as the settings say; `wait`: what the destination asked for."""
    return sqlite.delay(failures, settings.retry_delay, settings.max_retry_delay, chance=chance, wait=wait)


class Telling:
    """Publishes the ids that the ledger says are to be published, apart from the saves, which it does not hold up."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        publisher: Publisher,
        clock: Clock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.failed = self.dead = 0  # tries; ids that are not tried again
        self._settings = settings
        self._ledger = ledger
        self._publisher = publisher
        self._clock = clock
        self._chance = chance
        self._workers = Workers("crashmover-publish", THREADS)
        self._under_way: dict[tuple[str, str], asyncio.Task[None]] = {}

    def begin(self, now: float, ended: Callable[[], None]) -> float:
        """Begins what is due at `now`; `ended` is called after each. Returns in how many seconds there may be more."""
        room = TOGETHER - len(self._under_way)
        if room <= 0:
            return FOREVER
        for publish in self._ledger.due_publishes(now, TOGETHER + room):
            key = (publish.crash_id, publish.destination)
            if len(self._under_way) < TOGETHER and key not in self._under_way:
                self._under_way[key] = asyncio.create_task(self._tell(publish, key, ended))
        following = self._ledger.publishes.next_try()
        return FOREVER if following is None or following <= now else following - now

    async def _tell(self, publish: Publish, key: tuple[str, str], ended: Callable[[], None]) -> None:
        try:
            begun = time.perf_counter()
            await asyncio.wrap_future(
                self._workers.submit(lambda: self._publisher.publish(publish.target, publish.crash_id))
            )
            metrics.PUBLISH_TIME.labels(publish.destination).observe(time.perf_counter() - begun)
            self._ledger.published(publish)
            metrics.PUBLISHED.labels(publish.destination).inc()
        except Unavailable as error:
            self._failed(publish, str(error), error.wait)
        except Exception as error:
            log.exception("%s to %s", publish.crash_id, publish.target)
            self._failed(publish, f"{type(error).__name__}: {error}", None)
        finally:
            del self._under_way[key]
            ended()

    def _failed(self, publish: Publish, error: str, wait: float | None) -> None:
        failures = publish.attempts + 1
        self.failed += 1
        log.warning("%s to %s, try %d: %s", publish.crash_id, publish.target, failures, error)
        if failures >= self._settings.max_attempts:
            self.dead += 1
            metrics.UNPUBLISHED.labels(publish.destination).inc()
            self._ledger.publish_failed(publish, None, error)
        else:
            later = self._clock() + delay(self._settings, failures, self._chance(), wait)
            self._ledger.publish_failed(publish, later, error)

    async def tell_all(self) -> None:
        """Tries each id that is due once."""
        now = self._clock()  # what fails is due later than this
        while True:
            self.begin(now, lambda: None)
            if not self._under_way:
                return
            await asyncio.wait(self._under_way.values(), return_when=asyncio.FIRST_COMPLETED)

    async def finish(self) -> None:
        """Waits for what is under way."""
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        self._workers.stop()
