"""The way of crashes to one destination: its threads, what is under way, and its pauses."""

import asyncio
import time

from lae_monitor.archive.workers import Workers
from lae_monitor.kinds.crashes.crashmover import metrics
from lae_monitor.kinds.crashes.crashmover.config import Settings
from lae_monitor.kinds.crashes.crashmover.crash import Crash
from lae_monitor.kinds.crashes.crashmover.ledger import Send
from lae_monitor.kinds.crashes.crashmover.routes import Route
from lae_monitor.store import sqlite


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
