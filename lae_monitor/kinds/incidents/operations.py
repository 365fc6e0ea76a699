"""/metrics, /ping and the like of the incident gatherer, on the loop that its tub runs on."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from lae_monitor import __version__
from lae_monitor.config.values import Listen
from lae_monitor.kinds.context import Context
from lae_monitor.net.http import Router, operations, serve
from lae_monitor.store.aside import notices

log = logging.getLogger(__name__)


@asynccontextmanager
async def answer(context: Context, where: str) -> AsyncIterator[None]:
    """Answers at `where`, address and port, meanwhile; nowhere when that is empty.

    Raises:
        Refused: `bad_config`.
        OSError: it cannot be listened on.
    """
    if not where:
        yield
        return
    address = Listen.parse(where)
    stop, ready = asyncio.Event(), asyncio.Event()

    def listening(url: str) -> None:
        log.info("incidents: %s/metrics", url)
        ready.set()

    app = Router(operations(context.archive, __version__, warnings=notices, access=context.access))
    serving = asyncio.create_task(serve(app, address.host, address.port, stop=stop, ready=listening))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        if serving.done():
            serving.result()
        yield
    finally:
        stop.set()
        with suppress(OSError):
            await serving
