"""What all nodes share: where incidents go, and how much may be under way at once."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from lae_monitor.archive import Archive, Exists
from lae_monitor.archive.workers import Workers
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.time import Clock
from lae_monitor.gatherers.incidents.flog import Packed, pack
from lae_monitor.gatherers.incidents.known import Known
from lae_monitor.gatherers.incidents.read import SUFFIX
from lae_monitor.gatherers.incidents.receipts import Place, Receipts
from lae_monitor.gatherers.incidents.state import State

log = logging.getLogger(__name__)

MAX_FETCHES: Final = 3  # at once; more only share the time that decoding takes, and hold more memory
FETCH_TURN: Final = 20.0  # seconds a fetch counts as one of these; a slow node then no longer holds up the others
LATEST: Final = "latest"  # flogtool's name for the newest incident that is stored
MAX_LATEST: Final = 400  # bytes read of it


class NotStored(Exception):
    """The archive took nothing, or no more."""


class Shared:
    """The gatherer's means, for all nodes together."""

    def __init__(self, archive: Archive, clock: Clock, state: State, receipts: Receipts) -> None:
        self.archive = archive
        self.clock = clock
        self.state = state
        self.receipts = receipts
        self._fetches = asyncio.Semaphore(MAX_FETCHES)
        self._packers = Workers("pack", 1)
        self._known: dict[Place, asyncio.Task[Known[Any]]] = {}
        self._begun: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits until one more incident may be fetched."""
        await self._fetches.acquire()
        held = [True]

        def give_up() -> None:
            if held:
                held.clear()
                self._fetches.release()

        timer = asyncio.get_running_loop().call_later(FETCH_TURN, give_up)
        try:
            yield
        finally:
            timer.cancel()
            give_up()

    async def known(self, place: Place) -> Known[Any]:
        """What is known of a host's incidents; looked up in the archive once."""
        task = self._known.get(place)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._known[place] = asyncio.create_task(self._look_up(place))
        return await asyncio.shield(task)

    async def _look_up(self, place: Place) -> Known[Any]:
        cursor = ""
        with suppress(FileNotFoundError):
            latest = await self.archive.read(Span(f"{folder(place)}/{LATEST}", 0, MAX_LATEST))
            cursor = latest.decode("ascii", "replace").strip()
        settled = {
            entry.name.removesuffix(SUFFIX)
            for entry in await self.archive.entries(folder(place))
            if entry.name.endswith(SUFFIX)
        }
        start = Known(cursor, ()).since(self.clock())
        return Known(cursor, [name for name in {*settled, *self.state.refused(*place)} if name > start])

    async def pack(self, answer: Any, tub_id: str) -> Packed:
        """The incident's file, made in a thread.

        Raises:
            Refused: `incident_malformed`, `incident_too_large`.
        """
        rx_time = self.clock()
        return await asyncio.wrap_future(self._packers.submit(lambda: pack(answer, tub_id, rx_time)))

    async def to_its_end(self, work: Coroutine[Any, Any, None]) -> None:
        """Waits for `work`, which goes on to its end even if whoever waits is cancelled."""
        task = asyncio.create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        await asyncio.shield(task)

    async def finish(self) -> None:
        """Waits for what was begun."""
        await asyncio.gather(*self._begun, return_exceptions=True)
        await self.receipts.finish()
        self._packers.stop()

    async def store(self, place: Place, name: str, packed: Packed) -> Span | None:
        """Puts an incident into the archive; None when it was there already.

        Raises:
            NotStored: the incident is fetched again later.
        """
        try:
            return await self.archive.store(f"{folder(place)}/{name}{SUFFIX}", packed.chunks)
        except Exists:
            return None
        except Refused as error:
            raise NotStored(str(error)) from error

    async def save_cursor(self, place: Place, name: str) -> None:
        """Writes `latest`. Without it a node is asked for more than is needed, so a failure costs only time."""
        try:
            await self.archive.replace(f"{folder(place)}/{LATEST}", name.encode() + b"\n")
        except Refused as error:
            log.warning("%s/%s: %s not written: %s", place.cluster, place.host, LATEST, error)


def folder(place: Place) -> str:
    """The host's folder in the archive."""
    return f"incidents/{place.cluster}/incidents/{place.host}"
