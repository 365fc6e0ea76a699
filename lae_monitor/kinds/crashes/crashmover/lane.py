"""The way of crashes to one destination: its threads, what is under way, and its pauses."""

import asyncio
import time
from collections import deque

from lae_monitor.archive.workers import Workers
from lae_monitor.kinds.crashes.crashmover import metrics
from lae_monitor.kinds.crashes.crashmover.config import Settings
from lae_monitor.kinds.crashes.crashmover.crash import Crash
from lae_monitor.kinds.crashes.crashmover.ledger import Send
from lae_monitor.kinds.crashes.crashmover.routes import Route
from lae_monitor.store import outbox


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
    return outbox.delay(failures, settings.retry_delay, settings.max_retry_delay, chance=chance, wait=wait)


class Budget:
    """Bytes of crashes in memory. One that is larger than all of it passes alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        """Waits until there is room for `size` bytes; who came first gets it first."""
        if not self._waiting and self._fits(size):
            self._held += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size)
            raise

    def give(self, size: int) -> None:
        self._held -= size
        while self._waiting and (self._waiting[0][1].done() or self._fits(self._waiting[0][0])):
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self._held += wanted
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return self._held == 0 or self._held + size <= self._limit
