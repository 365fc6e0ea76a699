"""Tells ids of saved crashes, apart from the saves: who does not listen holds up nothing."""

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
from lae_monitor.kinds.crashes.crashmover.destination import Unavailable
from lae_monitor.kinds.crashes.crashmover.lane import delay
from lae_monitor.kinds.crashes.crashmover.ledger import Ledger, Publish
from lae_monitor.kinds.crashes.crashmover.posting import Publisher

log = logging.getLogger(__name__)

THREADS: Final = 4  # ids that are told at the same time
TOGETHER: Final = 32  # ids under way
FOREVER: Final = float("inf")


class Telling:
    """Publishes what the ledger says is to be published."""

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
