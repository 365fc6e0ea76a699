"""One connected node: what it announces is queued, fetched one at a time, stored, and only then taken for known.

Import this only after `tubs.start_reactor()`.
"""

import asyncio
import heapq
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from foolscap.logging.interfaces import RILogGatherer, RILogObserver
from foolscap.referenceable import Referenceable
from zope.interface import implementer

from lae_monitor.core.names import Place
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import DAY, MINUTE
from lae_monitor.kinds.incidents.answers.broker import NamesOnly
from lae_monitor.kinds.incidents.metrics import FAILED, FETCHING
from lae_monitor.kinds.incidents.nodes.known import Known
from lae_monitor.kinds.incidents.nodes.shared import HostFull, NotStored, Shared
from lae_monitor.kinds.incidents.wire.names import IncidentName, incident_name, time_of_name
from lae_monitor.net import tubs
from lae_monitor.net.furls.door import Gatherer

log = logging.getLogger(__name__)

FETCH_LIMIT: Final = 5 * MINUTE  # for one incident; 1 MiB takes two seconds on an idle machine
CALL_LIMIT: Final = 2 * MINUTE  # for small calls: a node that lists many incidents answers late
GIVE_UP: Final = 8  # errors that a node answers for one incident: after 11 minutes it is refused
FIRST_PAUSE: Final = 5.0  # seconds without fetching after the archive has refused; doubled with each refusal
LAST_PAUSE: Final = MINUTE
FULL_PAUSE: Final = MINUTE  # between looks whether a host that keeps as much as it may has room again
LIST_AGAIN: Final = 10.0  # seconds before a node is asked anew for what found no place in the queue
RECORDING: Final = 8.0  # seconds; a node lists an incident before it has recorded the last 5 s of it
LATEST_EVERY: Final = 10.0  # seconds that `latest` may be behind while one incident comes after the other
RECENT: Final = DAY  # an incident older than this by its name is surely recorded, unless a clock is far off


class NotFetched(NotStored):
    """The node answered with an error."""


@implementer(RILogObserver)
class Observer(NamesOnly):
    """What a node calls. Nothing here raises: a publisher whose call failed never calls again."""

    def __init__(self, node: "Node") -> None:
        self._node = node

    def remote_new_incident(self, name: Any, trigger: Any) -> None:  # noqa: ARG002 - the file holds the trigger
        try:
            self._node.announced(name)
        except Exception:
            log.exception("announcement of an incident")

    def remote_done_with_incident_catchup(self) -> None:
        """May come twice, or never."""
        self._node.caught_up()

    def remote_msg(self, logmsg: Any) -> None:
        """We subscribe to incidents only."""

    def remote_done(self) -> None:
        """As above."""


class Node:
    """A log publisher that was offered through the FURL of the host `place`."""

    def __init__(self, remote: Any, place: Place, shared: Shared, is_welcome: Callable[[], bool]) -> None:
        self.remote = remote
        self.place = place
        self.tub_id: str = remote.getRemoteTubID()
        self.peer = tubs.peer_address(remote)
        self.last_heard = shared.clock()
        self.is_caught_up = False  # whether what is announced from now on was recorded before it was announced
        self._shared = shared
        self._is_welcome = is_welcome
        self._left = asyncio.Event()  # set when the connection has ended
        self._known: Known[Node] = Known("", ())
        self._waiting: list[tuple[float, int, IncidentName]] = []  # by when they are due, then by arrival
        self._arrivals = 0
        self._pause = FIRST_PAUSE
        self._missed = False  # announcements that found the queue full
        self._errors: Counter[IncidentName] = Counter()  # that the node answered
        self._wake = asyncio.Event()
        self._observer = Observer(self)
        self._subscription: Any = None
        self._saved = asyncio.get_running_loop().time()  # when `latest` was looked after
        self._has_left = False

    @property
    def _is_gone(self) -> bool:
        return self._left.is_set()

    @property
    def waiting(self) -> int:
        """How many incidents it announced that are still to be fetched."""
        return len(self._waiting)

    def __str__(self) -> str:
        return f"{self.place.cluster}/{self.place.host}"

    async def run(self) -> None:
        """Gathers from the node until the connection ends, or the task is cancelled."""
        self._known = await self._shared.known(self.place)
        try:
            await self._subscribe()
            while True:
                await self._gather(await self._next())
        except tubs.Disconnected as error:
            log.info("%s: connection to %s lost: %s", self, self.tub_id, error)
        finally:
            for name, heir in self._known.leave(self):
                heir.queue(name)
            self._has_left = True
            await self._shared.to_its_end(self._save_latest())

    async def _subscribe(self) -> None:
        """Raises Disconnected also when the node does not answer as a publisher does: it is disconnected then."""
        log.info("%s: connected to %s, last known incident is %s", self, self.tub_id, self._known.newest)
        start = self._known.since(self._shared.clock()).encode()
        try:
            if self._subscription is not None:
                await tubs.call(self._subscription, "unsubscribe", limit=CALL_LIMIT)
            self._subscription = await tubs.call(
                self.remote, "subscribe_to_incidents", self._observer, catch_up=True, since=start, limit=CALL_LIMIT
            )
        except (tubs.RemoteError, tubs.AnswerMalformed, tubs.AnswerTooLarge, TimeoutError) as error:
            tubs.disconnect(self.remote, "no log publisher")
            raise tubs.Disconnected(f"cannot subscribe: {error}") from error

    def disconnected(self) -> None:
        """To be called when the connection ends."""
        self._left.set()
        self._wake.set()

    # ---- the queue -------------------------------------------------------------------------------------------------

    def announced(self, raw: Any) -> None:
        """Queues an incident by its name, if it is one and not known."""
        self.last_heard = self._shared.clock()
        if not self._is_welcome():
            return
        try:
            name = incident_name(raw)
        except Refused as refused:
            self._shared.refused(self.place, self.peer, refused)
            return
        if self._known.is_full:
            self._missed = True
        elif self._known.owe(name, self):
            self.queue(name)

    def caught_up(self) -> None:
        """To be called when the node has announced what it had before."""
        self.is_caught_up = True
        if not self._missed:  # else something older may not be known
            self._known.advance(self._shared.clock())
            self._wake.set()

    def queue(self, name: IncidentName) -> None:
        """Has the incident fetched, after those that are waiting; later, if it may be incomplete, or has failed before."""
        self._arrivals += 1
        now = self._shared.clock()
        delay = self._known.delay(name, now)
        if not self.is_caught_up and (time_of_name(name) or now) > now - RECENT:
            delay = max(delay, RECORDING)
        due = asyncio.get_running_loop().time() + delay if delay else 0.0
        heapq.heappush(self._waiting, (due, self._arrivals, name))
        self._wake.set()

    async def _next(self) -> IncidentName:
        """The next incident to fetch, once it is due."""
        while True:
            self._wake.clear()
            if self._is_gone:
                raise tubs.Disconnected("by the node")
            if not self._waiting and self._missed:
                await asyncio.sleep(LIST_AGAIN)
                self._missed = self.is_caught_up = False
                await self._subscribe()
            now = asyncio.get_running_loop().time()
            delay = self._waiting[0][0] - now if self._waiting else None
            is_due = delay is not None and delay <= 0
            if not is_due or now - self._saved > LATEST_EVERY:
                await self._shared.to_its_end(self._save_latest())
            if is_due:
                return heapq.heappop(self._waiting)[2]
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):  # wait_for of Python 3.11 may swallow a cancellation
                    await self._wake.wait()

    # ---- one incident ----------------------------------------------------------------------------------------------

    async def _gather(self, name: IncidentName) -> None:
        """Fetches and stores one incident; queues it again, or refuses it, if that fails.

        Raises:
            Disconnected
        """
        try:
            await self._shared.check_room(self.place)
            async with self._shared.turns.turn(self.place, lambda: self.waiting):
                if self._is_gone:
                    return
                answer = await self._fetch(name)
                await self._shared.to_its_end(self._take(name, answer))
                self._pause = FIRST_PAUSE
        except NotStored as error:
            await self._put_off(name, error)
        except Refused as refused:
            await self._refuse(name, refused)

    async def _fetch(self, name: IncidentName) -> Any:
        """What the node answers.

        Raises:
            Refused: the incident is not asked for again.
            NotFetched: it is, later.
            Disconnected
        """
        log.info("%s: fetching incident %s", self, name)
        try:
            with FETCHING.time():
                answer = await tubs.call(self.remote, "get_incident", name.encode(), limit=FETCH_LIMIT)
        except tubs.AnswerTooLarge as error:
            raise Refused("incident_too_large", str(error)) from error
        except tubs.AnswerMalformed as error:
            raise Refused("incident_malformed", str(error)) from error
        except tubs.RemoteError as error:
            self._fail(name)
            self._errors[name] += 1
            if self._errors[name] >= GIVE_UP:
                raise Refused("incident_unavailable", str(error)) from error
            raise NotFetched(str(error)) from error
        except tubs.Disconnected:
            self._fail(name)
            raise
        except TimeoutError:
            self._fail(name)
            tubs.disconnect(self.remote, "too slow")
            raise tubs.Disconnected(f"{name} did not come within {FETCH_LIMIT:.0f} s") from None
        self.last_heard = self._shared.clock()
        return answer

    def _fail(self, name: IncidentName) -> None:
        FAILED.inc()
        self._known.fail(name, self._shared.clock())

    async def _put_off(self, name: IncidentName, error: NotStored) -> None:
        """Queues an incident again, after as long as it takes until that has a chance."""
        if isinstance(error, NotFetched):
            log.info("%s: %s not fetched, to be tried again: %s", self, name, error)
        elif isinstance(error, HostFull):
            self._shared.refused(self.place, self.peer, error.refused, name)
            if error.size:  # others may be smaller
                self._known.fail(name, self._shared.clock())
            else:
                await self._wait_for_room()
        else:
            log.warning("%s: %s not stored, next try in %.0f s: %s", self, name, self._pause, error)
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, LAST_PAUSE)
        self.queue(name)

    async def _wait_for_room(self) -> None:
        """Fetches nothing of the host until it has room, or the connection ends."""
        while not self._is_gone:
            with suppress(TimeoutError):
                async with asyncio.timeout(FULL_PAUSE):  # wait_for of Python 3.11 may swallow a cancellation
                    await self._left.wait()
            try:
                await self._shared.check_room(self.place)
                break
            except HostFull:
                continue

    async def _take(self, name: IncidentName, answer: Any) -> None:
        """Stores what came, and only then takes it for known."""
        incident = await self._shared.pack(answer, self.tub_id)
        span = await self._shared.store(self.place, name, incident)
        await self._settle(name)
        if span is not None:
            self._shared.receipts.accepted(span, self.place, peer=self.peer, id=name)

    async def _refuse(self, name: IncidentName, refused: Refused) -> None:
        """Never asks for the incident again; says why."""
        self._shared.refused(self.place, self.peer, refused, name)
        self._shared.state.refuse(*self.place, name, refused.code, self._shared.clock())
        await self._settle(name)

    async def _settle(self, name: IncidentName) -> None:
        self._known.settle(name, self._shared.clock())
        if self._has_left:
            await self._save_latest()

    async def _save_latest(self) -> None:
        """Writes `latest` if it is behind.

        Not for each of many incidents. After a kill it is behind until what was still to be fetched is: nodes are asked
        from a week before it on.
        """
        self._saved = asyncio.get_running_loop().time()
        if not self._known.is_saved:
            self._known.is_saved = True
            await self._shared.save_cursor(self.place, self._known.cursor)


# ---- what the door of net/furls needs --------------------------------------------------------------------------------


@implementer(RILogGatherer)
class LogGatherer(Referenceable):
    """The object behind a FURL, to which nodes offer their log publishers.

    A node that joins later under a FURL in use is asked for its last 7 days only (names.LOOK_BACK): nodes have no identity
    here that outlives a restart, so one cursor serves them all.
    """

    def __init__(self, admit: Callable[[Any], None]) -> None:
        self._admit = admit

    def remote_logport(self, nodeid: Any, logport: Any) -> None:  # noqa: ARG002 - the FURL says which host it is
        self._admit(logport)


class NodeGatherer(Gatherer[Node]):
    """Makes a Node of each log publisher."""

    def __init__(self, shared: Shared) -> None:
        self.name = "incident gatherer"
        self.clock = shared.clock
        self.ledger = shared.state
        self.shared = shared

    def reference(self, admit: Callable[[Any], None]) -> LogGatherer:
        return LogGatherer(admit)

    def peer(self, remote: Any, place: Place, is_welcome: Callable[[], bool]) -> Node:
        return Node(remote, place, self.shared, is_welcome)

    def refused(self, place: Place, peer: str, refused: Refused) -> None:
        self.shared.refused(place, peer, refused)

    def mark(self, place: Place, title: str, **attributes: str) -> None:
        self.shared.receipts.mark(place, title, **attributes)
