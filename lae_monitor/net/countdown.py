"""A timer that can pause."""

import asyncio
from collections.abc import Callable


class Countdown:
    """Calls `expired` once it has run for as long as `begin` said; it can pause."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._handle: asyncio.TimerHandle | None = None
        self._left = 0.0
        self._since = 0.0

    @property
    def armed(self) -> bool:
        """Began and neither ended nor expired; it may be pausing."""
        return self._left > 0

    @property
    def left(self) -> float:
        """Seconds until it expires, if it runs on."""
        return self._left if self._handle is None else self._left - (self._loop.time() - self._since)

    def begin(self, seconds: float) -> None:
        self.end()
        self._left = seconds
        self.resume()

    def pause(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            self._left = max(0.001, self._left - (self._loop.time() - self._since))

    def resume(self) -> None:
        if self._handle is None and self._left > 0:
            self._since = self._loop.time()
            self._handle = self._loop.call_later(self._left, self._expire)

    def end(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._left = 0.0

    def _expire(self) -> None:
        self._handle = None
        self._left = 0.0
        self._expired()
