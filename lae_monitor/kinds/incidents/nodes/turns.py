"""Whose incident is fetched next, when more wait than may be fetched at the same time.

Who has taken the least time lately goes first, then who has the least waiting: fifty nodes with much to report do not hold
up one with little. A fetch that takes long counts no more: a slow node does not hold up the others.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from lae_monitor.core.names import Place

FETCH_TURN: Final = 20.0  # seconds that a fetch counts as one of those under way
HALF_LIFE: Final = 60.0  # seconds in which half of what somebody took is forgotten
FORGOTTEN: Final = 0.001  # seconds taken that are no matter any more


class _Waiter(NamedTuple):
    place: Place
    waiting: Callable[[], int]
    turn: asyncio.Future[None]


class Turns:
    """Lets `limit` fetches begin, and one more whenever one has ended, or has taken FETCH_TURN."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiters: list[_Waiter] = []  # in the order in which they came
        self._taken: dict[Place, tuple[float, float]] = {}  # seconds of fetching, as they counted when

    @asynccontextmanager
    async def turn(self, place: Place, waiting: Callable[[], int]) -> AsyncIterator[None]:
        """Waits until one more incident of `place` may be fetched; `waiting` says how many more there are."""
        loop = asyncio.get_running_loop()
        await self._await_turn(_Waiter(place, waiting, loop.create_future()))
        began = loop.time()
        held = [True]

        def give_up() -> None:
            if held:
                held.clear()
                self._taken[place] = self._time_taken(place) + loop.time() - began, loop.time()
                self._free += 1
                self._call_next()

        timer = loop.call_later(FETCH_TURN, give_up)
        try:
            yield
        finally:
            timer.cancel()
            give_up()

    async def _await_turn(self, waiter: _Waiter) -> None:
        self._waiters.append(waiter)
        self._call_next()
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if not waiter.turn.cancelled():  # it was called, and just then cancelled
                self._free += 1
                self._call_next()
            raise

    def _call_next(self) -> None:
        self._waiters = [waiter for waiter in self._waiters if not waiter.turn.done()]
        while self._free and self._waiters:
            chosen = min(self._waiters, key=lambda waiter: (self._time_taken(waiter.place), waiter.waiting()))
            self._waiters.remove(chosen)
            self._free -= 1
            chosen.turn.set_result(None)

    def _time_taken(self, place: Place) -> float:
        seconds, counted = self._taken.get(place, (0.0, 0.0))
        left: float = seconds * 0.5 ** ((asyncio.get_running_loop().time() - counted) / HALF_LIFE)
        if left < FORGOTTEN:
            self._taken.pop(place, None)
            return 0.0
        return left
