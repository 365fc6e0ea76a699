# mypy: disable-error-code="no-untyped-call"
"""One tail: takes what a host's nodes send, and hands it on as fast as its reader takes it. Import after `start_reactor()`.

A reader that is too slow loses events, and is told how many; nothing waits for him.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from foolscap.call import CopiedFailure, CopiedFailureSlicer
from foolscap.ipb import DeadReferenceError
from foolscap.logging.interfaces import RILogObserver, RISubscription
from foolscap.referenceable import Referenceable
from twisted.internet import reactor, task
from zope.interface import implementer

from lae_monitor.core.limits import KiB, MiB
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import MINUTE, Clock
from lae_monitor.kinds.incidents.node_logs.stream import Runs, pace_of_one
from lae_monitor.kinds.incidents.wire.event import run_of
from lae_monitor.kinds.incidents.wire.names import incident_name
from lae_monitor.kinds.incidents.wire.plain import Plain
from lae_monitor.net import tubs

if TYPE_CHECKING:
    from lae_monitor.kinds.incidents.nodes.node import Node

log = logging.getLogger(__name__)

IN_FLIGHT: Final = 10  # messages sent and not yet answered, as Foolscap's own publisher has it
MAX_QUEUE: Final = 5_000  # messages that wait; what a node remembers comes at once, typically 1,800
MAX_QUEUED: Final = 8 * MiB  # about so many bytes of memory
MAX_MESSAGE: Final = 256 * KiB  # of memory, for one event
LOOK_EVERY: Final = 1.0  # seconds between looks whether nodes came, and whether the FURL was revoked
CALL_LIMIT: Final = MINUTE  # for a node's answer
LEAVE_LIMIT: Final = 2.0  # seconds for saying goodbye to a node
MAX_TRACEBACK: Final = 1_900  # bytes; Foolscap takes 2,000
NOTICE: Final = "lae-monitor"  # facility and incarnation of what we say ourselves


class Relayed(CopiedFailure):
    """A failure that a node sent, to be sent on."""


class RelayedSlicer(CopiedFailureSlicer):
    """Sends the traceback too: our tub keeps its own to itself, but this one is the node's."""

    slices = Relayed

    def getStateToCopy(self, obj: Any, broker: Any) -> dict[str, Any]:  # noqa: N802 - Foolscap's name
        state: dict[str, Any] = super().getStateToCopy(obj, broker)
        text = obj.traceback if isinstance(obj.traceback, str) else str(obj.traceback)
        return {**state, "traceback": text.encode()[-MAX_TRACEBACK:].decode("utf-8", "ignore").encode()}


@implementer(RILogObserver)
class Source(Referenceable):
    """What a node calls. Nothing here raises: a publisher whose call failed never calls again."""

    def __init__(self, tail: "LogTail") -> None:
        self._tail = tail
        self._pace = pace_of_one(tail.clock())

    def remote_msg(self, logmsg: Any) -> Any:
        try:
            self._tail.take("msg", lambda make: (_event(make, logmsg),))
            delay = self._pace.delay(self._tail.clock())
        except Exception:
            log.exception("an event for a tail")
            return None
        return task.deferLater(reactor, delay, lambda: None) if delay else None

    def remote_new_incident(self, name: Any, trigger: Any) -> None:
        try:
            checked = incident_name(name).encode()
            self._tail.take("new_incident", lambda make: (checked, make.of(trigger)))
        except Refused as refused:
            log.info("an incident for a tail: %s", refused)
        except Exception:
            log.exception("an incident for a tail")

    def remote_done_with_incident_catchup(self) -> None:
        self._tail.take("done_with_incident_catchup", lambda _make: ())

    def remote_done(self) -> None:
        """Of log files, which no publisher offers."""


@implementer(RISubscription)
class LogTail(Referenceable):
    """What `observer` is sent, until its connection ends, it unsubscribes, or the FURL is revoked.

    Args:
        observer: the reader.
        nodes: those of the host that are connected now.
        is_valid: whether the reader may still read.
        method: of the nodes' publishers: to what it subscribes.
        wanted: its arguments beside the observer.
        clock: now, in seconds.
    """

    def __init__(
        self,
        observer: Any,
        nodes: Callable[[], Sequence["Node"]],
        is_valid: Callable[[], bool],
        method: str,
        wanted: Mapping[str, Any],
        clock: Clock,
    ) -> None:
        self.clock = clock
        self._observer = observer
        self._nodes = nodes
        self._is_valid = is_valid
        self._method = method
        self._wanted = dict(wanted)
        self._subscriptions: dict[Node, Any] = {}  # None for a node that could not be subscribed to
        self._queue: deque[tuple[str, tuple[Any, ...], int]] = deque()  # method, arguments, about how many bytes
        self._queued = 0
        self._in_flight = 0
        self._dropped = 0
        self._runs = Runs()
        self._ended = asyncio.Event()

    # ---- from beginning to end ---------------------------------------------------------------------------------------

    def end(self) -> None:
        """Sends nothing more."""
        self._ended.set()
        self._queue.clear()
        self._queued = 0

    def refuse(self, why: str) -> None:
        """Says why it sends nothing, and ends."""
        self._notice(f"this tail shows nothing: {why}")
        self.end()

    def remote_unsubscribe(self) -> None:
        self.end()

    async def run(self) -> None:
        """Takes from every node of the host, those that come later too, until the end."""
        self._observer.notifyOnDisconnect(self.end)
        await asyncio.sleep(0)  # the answer to the subscription goes out first
        try:
            while not self._ended.is_set() and self._is_valid():
                await self._look()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY):  # wait_for of Python 3.11 may swallow a cancellation
                        await self._ended.wait()
            if not self._ended.is_set():
                self._notice("the FURL of this tail was revoked: it ends here")
        finally:
            await asyncio.gather(*map(self._leave, list(self._subscriptions)))
            self._ended.set()

    async def _look(self) -> None:
        nodes = self._nodes()
        for node in [node for node in self._subscriptions if node not in nodes]:
            del self._subscriptions[node]
            self._wanted["catch_up"] = (
                True  # what it, or the next run of it, logs until it is followed again is of interest
            )
            self._notice(f"{node.tub_id} has left; what it logs follows when it is back")
        for node in nodes:
            if node not in self._subscriptions:
                await self._subscribe(node)

    async def _subscribe(self, node: "Node") -> None:
        self._subscriptions[node] = None
        try:
            self._subscriptions[node] = await tubs.call(
                node.remote, self._method, Source(self), limit=CALL_LIMIT, **self._wanted
            )
            self._notice(f"{node.tub_id} is followed")
        except (tubs.RemoteError, tubs.Disconnected, tubs.AnswerMalformed, tubs.AnswerTooLarge, TimeoutError) as error:
            self._notice(f"{node.tub_id} cannot be followed: {error}")

    async def _leave(self, node: "Node") -> None:
        subscription = self._subscriptions.pop(node)
        if subscription is not None:
            with suppress(tubs.RemoteError, tubs.Disconnected, tubs.AnswerMalformed, TimeoutError):
                await tubs.call(subscription, "unsubscribe", limit=LEAVE_LIMIT)

    # ---- message by message ------------------------------------------------------------------------------------------

    def take(self, method: str, arguments: Callable[[Plain], tuple[Any, ...]]) -> None:
        """Queues a message for the reader; counts it when there is no room, or it is too large."""
        if self._ended.is_set():
            return
        make = Plain(MAX_MESSAGE)
        try:
            made = arguments(make)
        except Refused:
            self._dropped += 1
            return
        if len(self._queue) >= MAX_QUEUE or self._queued + make.spent > MAX_QUEUED:
            self._dropped += 1
            return
        if method == "msg" and not self._is_new(made[0]):
            return
        self._queue.append((method, made, make.spent))
        self._queued += make.spent
        self._send()

    def _is_new(self, event: Mapping[str, Any]) -> bool:
        """Whether the event was not sent before: of what a node remembers when it is back, and by two connections of it."""
        run, num = run_of(event), event.get("num")
        return not run or not isinstance(num, int) or self._runs.of(run).take(num, counts=True)[0]

    def _notice(self, text: str) -> None:
        """Says something among the events, as an event of its own."""
        if self._method == "subscribe_to_all" and len(self._queue) < MAX_QUEUE:
            event = {"num": 0, "time": self.clock(), "level": 20, "facility": NOTICE, "incarnation": [NOTICE, None]}
            self._queue.append(("msg", ({**event, "message": f"lae-monitor: {text}"},), 0))
            self._send()

    def _send(self) -> None:
        while self._queue and self._in_flight < IN_FLIGHT:
            method, arguments, size = self._queue.popleft()
            self._queued -= size
            self._in_flight += 1
            self._observer.callRemote(method, *arguments).addCallbacks(self._sent, self._failed)
        if self._dropped and not self._queue and not self._ended.is_set():
            dropped, self._dropped = self._dropped, 0
            self._notice(f"{dropped} events were left out: they came faster than they were read, or were too large")

    def _sent(self, _answer: Any) -> None:
        self._in_flight -= 1
        self._send()

    def _failed(self, failure: Any) -> None:
        if failure.check(DeadReferenceError) is None:
            log.info("a tail ends: %s", failure.getErrorMessage())
        self.end()


def _event(make: Plain, raw: Any) -> dict[str, Any]:
    """An event as it came; whatever refers to something elsewhere is described instead.

    Raises:
        Refused: `incident_too_large`; `unreadable`: it is no event.
    """
    if not isinstance(raw, Mapping):
        raise Refused("unreadable", "an event that is no dictionary")
    failure = raw.get("failure")
    event: dict[str, Any] = make.of({key: value for key, value in raw.items() if key != "failure"})
    if isinstance(failure, CopiedFailure):
        relayed = Relayed()
        relayed.__dict__.update(failure.__dict__)
        return {**event, "failure": relayed}
    return event if failure is None else {**event, "failure": make.of(failure)}
