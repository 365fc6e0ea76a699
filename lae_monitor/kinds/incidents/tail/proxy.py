"""A log publisher that is none itself: it asks the connected nodes of one host. Import after `tubs.start_reactor()`."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from foolscap.logging.interfaces import RILogPublisher
from foolscap.referenceable import Referenceable
from twisted.internet.defer import Deferred
from zope.interface import implementer

from lae_monitor import __version__
from lae_monitor.core.names import Place
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import MINUTE, Clock
from lae_monitor.kinds.incidents.answers.banana import Incident
from lae_monitor.kinds.incidents.tail.relay import LogTail
from lae_monitor.kinds.incidents.wire.flog import MAX_MEMORY
from lae_monitor.kinds.incidents.wire.names import incident_name
from lae_monitor.kinds.incidents.wire.plain import Plain
from lae_monitor.net import tubs

if TYPE_CHECKING:
    from lae_monitor.kinds.incidents.nodes.node import Node

MAX_TAILS: Final = 4  # of one host at once: each has the node send every event once more
MAX_ALL_TAILS: Final = 16  # of all hosts
CALL_LIMIT: Final = MINUTE  # for a node's answer
MAX_SINCE: Final = 100  # characters
FAILURES: Final = (tubs.RemoteError, tubs.Disconnected, tubs.AnswerTooLarge, tubs.AnswerMalformed, TimeoutError)

_fetching: Final = asyncio.Semaphore(1)  # incidents fetched for tails at once: each takes megabytes


@implementer(RILogPublisher)
class LogProxy(Referenceable):
    """The publisher of the host `place`, whichever of its nodes are connected.

    Args:
        place: whose log it is.
        nodes: those that are connected now.
        is_valid: whether the FURL is still that host's.
        all_tails: how many tails there are, of all hosts.
        clock: now, in seconds.
    """

    def __init__(
        self,
        place: Place,
        nodes: Callable[[], Sequence["Node"]],
        is_valid: Callable[[], bool],
        all_tails: Callable[[], int],
        clock: Clock,
    ) -> None:
        self.place = place
        self._nodes = nodes
        self._is_valid = is_valid
        self._all_tails = all_tails
        self._clock = clock
        self._running: dict[LogTail, asyncio.Task[None]] = {}

    @property
    def tails(self) -> int:
        return len(self._running)

    async def stop(self) -> None:
        """Ends every tail."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- what nodes answer -------------------------------------------------------------------------------------------

    def remote_get_versions(self) -> Any:
        return _later(self._versions())

    async def _versions(self) -> dict[bytes, bytes]:
        versions = {b"lae-monitor": __version__.encode(), b"host": self.place.host.encode()}
        async for answer in self._ask("get_versions"):
            if isinstance(answer, dict):
                made = Plain(MAX_MEMORY).of(answer)
                return {**{key.encode(): str(value).encode() for key, value in made.items()}, **versions}
        return {b"node": b"none is connected; its log follows when one is", **versions}

    def remote_get_pid(self) -> Any:
        return _later(self._pid())

    async def _pid(self) -> int:
        async for answer in self._ask("get_pid"):
            if isinstance(answer, int):
                return answer
        return 0

    def remote_list_incidents(self, since: Any = "") -> Any:
        return _later(self._list(_since(since)))

    async def _list(self, since: bytes) -> dict[str, Any]:
        found: dict[str, Any] = {}
        async for answer in self._ask("list_incidents", since):
            if isinstance(answer, dict):
                found |= Plain(MAX_MEMORY).of(answer)
        return found

    def remote_get_incident(self, incident_name: Any) -> Any:
        return _later(self._incident(incident_name))

    async def _incident(self, raw: Any) -> tuple[Any, Any]:
        name = incident_name(raw)
        async with _fetching:
            async for answer in self._ask("get_incident", name.encode()):
                header, events = (answer.header, answer.events) if isinstance(answer, Incident) else answer
                make = Plain(MAX_MEMORY)
                return make.of(header), make.of(events)
        raise KeyError(f"no incident named {name}")

    async def _ask(self, method: str, *arguments: Any) -> Any:
        """The answers of the nodes that answer, one after the other."""
        if not self._is_valid():
            raise Refused("unknown_furl")
        for node in self._nodes():
            with suppress(*FAILURES):
                yield await tubs.call(node.remote, method, *arguments, limit=CALL_LIMIT)

    # ---- what they send ----------------------------------------------------------------------------------------------

    def remote_subscribe_to_all(self, observer: Any, catch_up: Any = False) -> LogTail:
        return self._begin(observer, "subscribe_to_all", {"catch_up": bool(catch_up)})

    def remote_subscribe_to_incidents(self, observer: Any, catch_up: Any = False, since: Any = "") -> LogTail:
        wanted = {"catch_up": bool(catch_up), "since": _since(since)}
        return self._begin(observer, "subscribe_to_incidents", wanted)

    def _begin(self, observer: Any, method: str, wanted: dict[str, Any]) -> LogTail:
        """
        Raises:
            Refused: `unknown_furl`; `busy`: there are as many tails as there may be. Of events the first message says so,
                since flogtool does not show why a call failed.
        """
        if not self._is_valid():
            raise Refused("unknown_furl")
        tail = LogTail(observer, self._nodes, self._is_valid, method, wanted, self._clock)
        if self.tails >= MAX_TAILS or self._all_tails() >= MAX_ALL_TAILS:
            why = f"there are {MAX_TAILS} tails of this host already, or {MAX_ALL_TAILS} of all; end one of them"
            if method != "subscribe_to_all":
                raise Refused("busy", why)
            tail.refuse(why)
            return tail
        task = asyncio.create_task(tail.run(), name=f"tail of {'/'.join(self.place)}")
        self._running[tail] = task
        task.add_done_callback(lambda _task: self._running.pop(tail, None))
        return tail

    def remote_unsubscribe(self, subscription: Any) -> None:
        if isinstance(subscription, LogTail):
            subscription.end()

    def remote_enumerate_logfiles(self) -> list[Any]:
        """Declared by Foolscap, offered by no publisher."""
        return []


def _since(value: Any) -> bytes:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return text[:MAX_SINCE].encode()


def _later(answer: Coroutine[Any, Any, Any]) -> Any:
    return Deferred.fromFuture(asyncio.ensure_future(answer))
