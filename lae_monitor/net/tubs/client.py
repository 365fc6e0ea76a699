# mypy: disable-error-code="no-untyped-call"
"""A tub that only calls others: for commands. `tubs.start_reactor()` comes first."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, cast

from lae_monitor.core.refusals import shorten
from lae_monitor.core.secrets import Furl
from lae_monitor.net import tubs

STOP_PATIENCE: Final = 2.0  # seconds for the connection to close
MAX_WHY: Final = 200  # characters


class Unreachable(Exception):
    """Nobody answers at the FURL's addresses, or it is not the FURL's owner."""


@asynccontextmanager
async def connected(furl: Furl, limit: float) -> AsyncIterator[Any]:
    """The RemoteReference that `furl` leads to, while the context lasts.

    Args:
        furl: of whom.
        limit: seconds to be connected.

    Raises:
        Unreachable: also when that took too long.
        tubs.RemoteError: there is somebody, who knows no such FURL.
    """
    from foolscap import pb  # noqa: PLC0415 - after start_reactor()

    from lae_monitor.net.tubs.broker import GuardedBroker, Held  # noqa: PLC0415

    class Outgoing(GuardedBroker):
        """We called, so who answers is no stranger."""

        _admitted = True

    tub = cast(Any, pb.Tub())
    tub.brokerClass = Outgoing
    tub.held = Held()
    tub.on_unknown = lambda _peer: None
    tub.unsafeTracebacks = False
    tub.setOption("keepaliveTimeout", tubs.KEEPALIVE)
    tub.setOption("disconnectTimeout", tubs.DISCONNECT)
    tub.setOption("accept-gifts", False)
    tub.startService()
    try:
        yield await _reach(tub, furl, limit)
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(tubs.as_future(tub.stopService()), STOP_PATIENCE)


async def _reach(tub: Any, furl: Furl, limit: float) -> Any:
    try:
        async with asyncio.timeout(limit):
            return await tubs.as_future(tub.getReference(furl.reveal()))
    except tubs.RemoteError:
        raise
    except TimeoutError:
        raise Unreachable(f"no answer within {limit:.0f} s") from None
    except Exception as error:  # whatever Foolscap and Twisted raise: it is not there
        raise Unreachable(shorten(str(error) or type(error).__name__, MAX_WHY)) from error
