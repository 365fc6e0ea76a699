"""Follows the log of one connected node. Import this only after `tubs.start_reactor()`."""

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from foolscap.logging.interfaces import RILogObserver
from foolscap.referenceable import Referenceable
from twisted.internet import reactor, task
from zope.interface import implementer

from lae_monitor.core.time import MINUTE
from lae_monitor.kinds.incidents.node_logs.following import Following
from lae_monitor.kinds.incidents.node_logs.stream import ALL_DELAY, is_flood, pace_of_one
from lae_monitor.net import tubs

if TYPE_CHECKING:
    from lae_monitor.kinds.incidents.nodes.node import Node

log = logging.getLogger(__name__)

CALL_LIMIT: Final = 2 * MINUTE  # for the node's answers
TURN_LIMIT: Final = 10.0  # seconds for which one node keeps others waiting
MAX_REST: Final = 2.0  # seconds then for everything else
LEAVE_LIMIT: Final = 2.0  # seconds for saying goodbye


@implementer(RILogObserver)
class LogObserver(Referenceable):
    """What a node calls. Nothing here raises: a publisher whose call failed never calls again."""

    def __init__(self, follower: "LogFollower") -> None:
        self._follower = follower

    def remote_msg(self, logmsg: Any) -> Any:
        """Answered later, if the node is too fast."""
        try:
            delay = self._follower.take(logmsg)
        except Exception:
            log.exception("an event of %s", self._follower)
            return None
        return task.deferLater(reactor, delay, lambda: None) if delay else None

    def remote_done(self) -> None:
        """Of log files, which no publisher offers."""

    def remote_new_incident(self, name: Any, trigger: Any) -> None:
        """We subscribe to events only here."""

    def remote_done_with_incident_catchup(self) -> None:
        """As above."""


class LogFollower:
    """A node's log, from its connection to its end."""

    def __init__(self, node: "Node", following: Following) -> None:
        self.place = node.place
        self._tub_id = node.tub_id
        self._publisher = node.remote
        self._following = following
        self._pace = pace_of_one(following.clock())
        self._left = asyncio.Event()
        self._subscription: Any = None
        self._unknown: set[str] | None = set()  # runs, while the node sends what it remembers
        self._remembered: int | None = None  # how many more events are of that, once it is known

    def __str__(self) -> str:
        return f"{self.place.cluster}/{self.place.host} ({self._tub_id})"

    async def run(self) -> None:
        """Follows until the connection ends, or the task is cancelled."""
        self._publisher.notifyOnDisconnect(self._left.set)
        beginning = None
        try:
            async with self._following.turns:
                beginning = asyncio.create_task(self._begin())
                await self._turn(beginning)
            await beginning
            await self._left.wait()
        except tubs.Disconnected as error:
            log.info("%s: not followed any more: %s", self, error)
        except (tubs.RemoteError, tubs.AnswerMalformed, tubs.AnswerTooLarge, TimeoutError) as error:
            log.warning("%s: its log cannot be followed: %s", self, error)
            self._mark("the node's log cannot be followed", level="warning", why=str(error))
        finally:
            if beginning is not None:
                beginning.cancel()
            if self._subscription is not None:
                await self._leave(self._subscription)

    async def _turn(self, beginning: "asyncio.Task[None]") -> None:
        """Waits for the beginning, and rests as long, while others wait for theirs: a slow node delays no other."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await asyncio.wait({beginning}, timeout=TURN_LIMIT)
        await asyncio.sleep(min(loop.time() - begun, MAX_REST))

    async def _begin(self) -> None:
        self._subscription = await self._call("subscribe_to_all", LogObserver(self), catch_up=True)
        # The node sends what it remembers before it answers this.
        await self._call("get_versions")
        self._remembered = len(self._publisher.tracker.broker.inboundDeliveryQueue)
        self._mark("the node's log is followed")

    async def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        return await tubs.call(self._publisher, method, *arguments, limit=CALL_LIMIT, **named)

    async def _leave(self, subscription: Any) -> None:
        if not self._left.is_set():
            # Whatever it answers: the connection may be ending.
            with suppress(tubs.RemoteError, tubs.Disconnected, tubs.AnswerMalformed, TimeoutError):
                await tubs.call(subscription, "unsubscribe", limit=LEAVE_LIMIT)
        self._mark("the node's log is followed no more")

    def take(self, event: Any) -> float:
        """Takes what the node sends; returns in how many seconds it is to be answered."""
        now = self._following.clock()
        delay = max(self._pace.delay(now), min(self._following.pace.delay(now), ALL_DELAY))
        if is_flood(self._pace):
            log.warning("%s: sends events without waiting for answers: disconnected", self)
            tubs.disconnect(self._publisher, "floods")
            return 0.0
        if self._unknown is not None and self._remembered is not None:
            if self._remembered <= 0:
                self._unknown = None
            self._remembered -= 1
        self._following.take(self.place, self._tub_id, event, self._unknown)
        return delay

    def _mark(self, title: str, **attrs: str) -> None:
        self._following.receipts.mark(self.place, title, tub=self._tub_id, **attrs)
