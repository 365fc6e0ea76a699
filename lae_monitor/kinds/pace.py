"""How fast, and how much at once: a token bucket, and a budget of bytes in memory. Neither does I/O or knows a kind."""

import asyncio
from collections import Counter


class Bucket:
    """Lets `burst` pass at once, and `rate` a second after that. A clock that is set back gives nothing."""

    def __init__(self, burst: float, rate: float, now: float) -> None:
        self.ahead = 0.0  # what passed and is not yet paid for by time
        self._burst = burst
        self._rate = rate
        self._last = now

    def take(self, now: float) -> bool:
        """Whether one more may pass; one that may not is not counted."""
        self._pay(now)
        if self.ahead + 1 > self._burst:
            return False
        self.ahead += 1
        return True

    def delay(self, now: float) -> float:
        """Counts one that passes in any case; returns in how many seconds to answer it, 0 for at once."""
        self._pay(now)
        self.ahead += 1
        return max(0.0, self.ahead - self._burst) / self._rate

    def _pay(self, now: float) -> None:
        self.ahead = max(0.0, self.ahead - max(0.0, now - self._last) * self._rate)
        self._last = now


class Budget:
    """Bytes in memory: `limit` for all holders together, `each` for one of them. What is larger than that passes alone."""

    def __init__(self, limit: int, each: int | None = None) -> None:
        self.held = 0
        self._limit = limit
        self._each = limit if each is None else each
        self._holders: Counter[str] = Counter()
        self._turn = asyncio.Lock()  # first come, first served
        self._room = asyncio.Event()

    def take(self, size: int, holder: str = "") -> bool:
        """Whether there is room for `size` bytes, which then are held until `give`."""
        own = self._holders[holder]
        if (self.held and self.held + size > self._limit) or (own and own + size > self._each):
            return False
        self.held += size
        self._holders[holder] += size
        return True

    async def wait(self, size: int, holder: str = "") -> None:
        """Waits until `take` succeeds; a small request does not overtake a large one."""
        async with self._turn:
            while not self.take(size, holder):
                self._room.clear()
                await self._room.wait()

    def give(self, size: int, holder: str = "") -> None:
        self.held -= size
        self._holders[holder] -= size
        if self._holders[holder] <= 0:
            del self._holders[holder]
        self._room.set()
