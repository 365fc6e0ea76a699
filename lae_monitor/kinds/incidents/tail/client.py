"""Reads a node's log as it is written, as `flogtool tail` does, from the log publisher behind a FURL."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Final

from lae_monitor.core.refusals import Refused
from lae_monitor.core.secrets import Furl
from lae_monitor.kinds.incidents.wire.plain import Plain
from lae_monitor.net import tubs

REACH_LIMIT: Final = 20.0  # seconds to be connected
CALL_LIMIT: Final = 60.0  # seconds for an answer
MAX_WAITING: Final = 10_000  # events that were not yet looked at; the newest are left out beyond
MAX_MESSAGE: Final = 1024 * 1024  # bytes of memory of one event


async def tail(
    furl: Furl, stop: asyncio.Event, *, catch_up: bool, on_versions: Callable[[dict[str, Any]], None]
) -> AsyncGenerator[dict[str, Any]]:
    """The events that are logged from now on, until `stop` is set. To be run in a loop of its own.

    Args:
        furl: of the publisher.
        stop: ends it.
        catch_up: begin with what the node remembers.
        on_versions: told what the publisher says of itself, before the first event.

    Raises:
        Unreachable: nobody answers.
        tubs.RemoteError: who answers knows no such FURL, or has too many tails.
        tubs.Disconnected: the connection was lost.
    """
    tubs.start_reactor()
    from lae_monitor.kinds.incidents.tail.observer import TailObserver  # noqa: PLC0415 - after start_reactor()
    from lae_monitor.net.tubs.client import connected  # noqa: PLC0415

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
