"""What all nodes share: where incidents go, how much may be under way at once, and in which order."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, TypeVar

from lae_monitor.archive import Archive, Exists
from lae_monitor.archive.workers import Workers
from lae_monitor.core.limits import KiB, format_size
from lae_monitor.core.names import Place
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.time import Clock
from lae_monitor.kinds.incidents.config import Settings
from lae_monitor.kinds.incidents.metrics import FETCHED_BYTES, KNOWN, REFUSED, STORED, STORED_BYTES
from lae_monitor.kinds.incidents.nodes.known import Known
from lae_monitor.kinds.incidents.read import SUFFIX
from lae_monitor.kinds.incidents.state import State
from lae_monitor.kinds.incidents.stored import StoredIncidents, folder, path_of
from lae_monitor.kinds.incidents.wire.flog import Packed, pack
from lae_monitor.kinds.incidents.wire.names import identity_of, is_past
from lae_monitor.kinds.receipts import Receipts

__all__ = ["Handed", "HostFull", "NotStored", "Shared", "folder"]

log = logging.getLogger(__name__)

TYPICAL: Final = 64 * KiB  # of an incident, compressed: a host without room for one is not asked for any
LATEST: Final = "latest"  # flogtool's name for the newest incident that is stored
MAX_LATEST: Final = 400  # bytes read of it


T = TypeVar("T")
KeyT = TypeVar("KeyT")


class NotStored(Exception):
    """The archive took nothing, or no more."""


class HostFull(NotStored):
    """The host has as much in the archive as one may: `size` more bytes have no room; 0: none is worth fetching."""

    def __init__(self, used: int, size: int, limit: int) -> None:
        self.size = size
        more = f", {format_size(size)} more" if size else ""
        self.refused = Refused("host_full", f"{format_size(used)} are kept{more}, limit {format_size(limit)}")
        super().__init__(str(self.refused))


class Handed(NamedTuple):
    """What a node handed over: its file, and which incident it is."""

    packed: Packed
    key: bytes | None


class Shared:
    """The gatherer's means, for all nodes together.

    `on_stored` is called with host and file of each incident that is newly stored; what it raises is logged.
    """

    def __init__(self, archive: Archive, clock: Clock, state: State, receipts: Receipts, settings: Settings) -> None:
        self.archive = archive
        self.clock = clock
        self.state = state
        self.receipts = receipts
        self.stored = StoredIncidents(archive, state)
        self.on_stored: list[Callable[[Place, Span], None]] = []
        self.claimed: Callable[[Place], list[Place]] = lambda _place: []  # whose incidents are those of a host, too
        self._settings = settings
        self.turns = Turns(settings.fetches)
        self._packers = Workers("pack", 1)
        self._known: dict[Place, asyncio.Task[Known[Any]]] = {}
        self._joined: dict[tuple[Place, Place], asyncio.Task[None]] = {}
        self._begun: set[asyncio.Task[None]] = set()
        self._kept: Counter[Place] = Counter()  # bytes of each host's incidents, as far as it was looked at

    def refused(self, place: Place, peer: str, refused: Refused, name: str = "") -> None:
        """What `peer` sent of `place` was refused: `name`, if it has one."""
        REFUSED.labels(refused.code).inc()
        if self.receipts.refused(refused, place, peer=peer, id=name):
            log.info("%s/%s: refused %s: %s", place.cluster, place.host, name or "what it sent", refused)

    async def known(self, place: Place) -> Known[Any]:
        """What is known of a host's incidents, with those of addresses that it claimed; looked up once."""
        known: Known[Any] = await _once(self._known, place, lambda: self._look_up(place))
        for other in self.claimed(place):
            await _once(self._joined, (place, other), lambda other=other: self._join(place, other, known))  # type: ignore[misc]
        return known

    async def _look_up(self, place: Place) -> Known[Any]:
        cursor = await self._cursor(place)
        settled = await self.look_into(place)
        start = Known(cursor, ()).since(self.clock())
        return Known(cursor, [name for name in {*settled, *self.state.refused(*place)} if name > start])

    async def _join(self, place: Place, other: Place, known: Known[Any]) -> None:
        names, cursor = await self.look_into(other), await self._cursor(other)
        refused = self.state.refused(*other)
        if names or cursor or refused:
            known.join(cursor, {*names, *refused, *await self.look_into(place), *self.state.refused(*place)})

    async def _cursor(self, place: Place) -> str:
        """What `latest` says; "" when that is no name that could move on from there, such as one from the future."""
        try:
            latest = await self.archive.read(Span(f"{folder(place)}/{LATEST}", 0, MAX_LATEST))
        except FileNotFoundError:
            return ""
        name = latest.decode("ascii", "replace").strip()
        return name if is_past(name, self.clock()) else ""

    async def look_into(self, place: Place) -> set[str]:
        """The names of a host's incidents; counts their bytes anew."""
        found = await self.archive.entries(folder(place))
        entries = [entry for entry in found if not entry.folder and entry.name.endswith(SUFFIX)]
        self._kept[place] = sum(entry.size for entry in entries)
        return {entry.name.removesuffix(SUFFIX) for entry in entries}

    def part(self, place: Place, other: Place) -> None:
        """`other` is claimed by `place` no more."""
        self._joined.pop((place, other), None)

    async def move_cursor(self, old: Place, new: Place) -> None:
        """`old` has no incidents any more, `new` has them: its nodes are asked from where both were asked.

        Raises:
            Refused: it could not be written.
        """
        known = await self.known(new)
        known.cursor = min(known.cursor, await self._cursor(old))
        await self.archive.replace(f"{folder(new)}/{LATEST}", known.cursor.encode() + b"\n")
        self.state.move_host(old, new)
        await self.archive.remove(f"{folder(old)}/{LATEST}")

    async def pack(self, answer: Any, tub_id: str) -> Handed:
        """The incident's file, made in a thread.

        Raises:
            Refused: `incident_malformed`, `incident_too_large`.
        """
        rx_time = self.clock()

        def work() -> Handed:
            return Handed(pack(answer, tub_id, rx_time), identity_of(answer))

        made = await asyncio.wrap_future(self._packers.submit(work))
        if made.packed.size > self._settings.max_incident:
            raise Refused("incident_too_large", f"{made.packed.size} bytes, limit {int(self._settings.max_incident)}")
        FETCHED_BYTES.inc(made.packed.size)
        return made

    async def check_room(self, place: Place, size: int = 0) -> None:
        """
        Raises:
            HostFull: the archive keeps as much of the host as it may. It is asked anew each time: retention makes room.
        """
        limit = int(self._settings.max_host)
        wanted = size or min(TYPICAL, limit // 16)
        if self._kept[place] + wanted > limit:
            await self.look_into(place)
        if self._kept[place] + wanted > limit:
            raise HostFull(self._kept[place], size, limit)

    async def to_its_end(self, work: Coroutine[Any, Any, None]) -> None:
        """Waits for `work`, which goes on to its end even if the caller is cancelled."""
        task = asyncio.create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        await asyncio.shield(task)

    async def finish(self) -> None:
        """Waits for what was begun."""
        await asyncio.gather(*self._begun, return_exceptions=True)
        self._packers.stop()

    async def store(self, place: Place, name: str, incident: Handed) -> Span | None:
        """Puts an incident into the archive; None when it was there already, under this name.

        Raises:
            NotStored: the incident is fetched again later.
            Refused: `incident_known`.
        """
        async with self.stored.alone(incident.key):
            if other := await self.stored.elsewhere(place, name, incident.key):
                KNOWN.inc()
                raise Refused("incident_known", f"as {other}")
            size = sum(map(len, incident.packed.chunks))
            await self.check_room(place, size)
            try:
                span = await self.archive.store(path_of(place, name), incident.packed.chunks)
            except Exists:
                return None
            except Refused as error:
                raise NotStored(str(error)) from error
            self.stored.add(place, name, incident.key)
        self._kept[place] += size
        STORED.inc()
        STORED_BYTES.inc(size)
        self.tell_stored(place, span)
        return span

    def tell_stored(self, place: Place, span: Span) -> None:
        """Calls each of `on_stored`: an incident is newly stored."""
        for tell in self.on_stored:
            try:
                tell(place, span)
            except Exception:
                log.exception("%s: what is to be done with it was not done", span.path)

    async def save_cursor(self, place: Place, name: str) -> None:
        """Writes `latest`. Without it a node is asked for more than is needed, so a failure costs only time."""
        try:
            await self.archive.replace(f"{folder(place)}/{LATEST}", name.encode() + b"\n")
        except Refused as error:
            log.warning("%s/%s: %s not written: %s", place.cluster, place.host, LATEST, error)


async def _once(tasks: dict[KeyT, asyncio.Task[T]], key: KeyT, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What `work` returns, which is done once for all who ask; anew if it failed."""
    task = tasks.get(key)
    if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
        task = tasks[key] = asyncio.create_task(work())
    return await asyncio.shield(task)


# ---- turns -----------------------------------------------------------------------------------------------------------
# The order of fetches, when more wait than may run at the same time: first the host that took the least time lately, then
# the one with the least waiting. So fifty nodes with much to report do not hold up one with little. A fetch that takes long
# no longer counts: a slow node does not hold up the others.


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
