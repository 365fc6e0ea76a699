"""Reads a node's log as it is written, as `flogtool tail` does, from the log publisher behind a FURL.

Import this only after `tubs.start_reactor()`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Final

from foolscap.logging.interfaces import RILogObserver, RILogPublisher
from foolscap.referenceable import Referenceable
from zope.interface import implementer

from lae_monitor.core.refusals import Refused
from lae_monitor.core.secrets import Furl
from lae_monitor.kinds.incidents.wire.plain import Plain
from lae_monitor.net import tubs
from lae_monitor.net.tubs.client import connected

REACH_LIMIT: Final = 20.0  # seconds to be connected
CALL_LIMIT: Final = 60.0  # seconds for an answer
MAX_WAITING: Final = 10_000  # events that were not yet looked at; the newest are left out beyond
MAX_MESSAGE: Final = 1024 * 1024  # bytes of memory of one event
PUBLISHER: Final = RILogPublisher  # Foolscap knows the interfaces that were imported


@implementer(RILogObserver)
class TailObserver(Referenceable):
    """Puts events into a queue; those that find it full are left out."""

    def __init__(self, events: "asyncio.Queue[Any]") -> None:
        self._events = events

    def remote_msg(self, logmsg: Any) -> None:
        with suppress(asyncio.QueueFull):
            self._events.put_nowait(logmsg)

    def remote_done(self) -> None:
        """Of log files, which no publisher offers."""

    def remote_new_incident(self, name: Any, trigger: Any) -> None:
        """We subscribe to events only."""

    def remote_done_with_incident_catchup(self) -> None:
        """As above."""


async def tail(
    furl: Furl, stop: asyncio.Event, *, catch_up: bool, on_versions: Callable[[dict[str, Any]], None]
) -> AsyncGenerator[dict[str, Any]]:
    """The events that are logged from now on, until `stop` is set; then the reactor is stopped.

    Args:
        furl: of the publisher.
        stop: ends it.
        catch_up: begin with what the node remembers.
        on_versions: called with what the publisher says of itself, before the first event.

    Raises:
        Unreachable: no answer.
        tubs.RemoteError: the gatherer knows no such FURL, or has too many tails.
        tubs.Disconnected: the connection was lost.
    """
    events: asyncio.Queue[Any] = asyncio.Queue(MAX_WAITING)
    try:
        async with connected(furl, REACH_LIMIT) as publisher:
            lost = asyncio.Event()
            publisher.notifyOnDisconnect(lost.set)
            on_versions(Plain(MAX_MESSAGE).of(await tubs.call(publisher, "get_versions", limit=CALL_LIMIT)))
            observer = TailObserver(events)
            await tubs.call(publisher, "subscribe_to_all", observer, catch_up=catch_up, limit=CALL_LIMIT)
            async for raw in _until(events, stop, lost):
                try:
                    made = Plain(MAX_MESSAGE).of(raw)
                except Refused:
                    continue
                if isinstance(made, dict):
                    yield made
            if lost.is_set() and not stop.is_set():
                raise tubs.Disconnected("the connection was lost")
    finally:
        tubs.stop_reactor()


async def _until(events: "asyncio.Queue[Any]", *ends: asyncio.Event) -> AsyncIterator[Any]:
    """What comes into the queue, until one of `ends` is set."""
    waiting = [asyncio.create_task(end.wait()) for end in ends]
    try:
        while not any(end.done() for end in waiting):
            getting = asyncio.create_task(events.get())
            await asyncio.wait([getting, *waiting], return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                getting.cancel()
                return
            yield getting.result()
    finally:
        for end in waiting:
            end.cancel()
