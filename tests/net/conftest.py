"""A server of ours in the test's own loop."""

import asyncio
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from lae_monitor.net.http import HttpLimits, serve

PATIENCE = 60.0  # seconds; the machine may be slow and busy


@asynccontextmanager
async def _serving(app, limits: HttpLimits | None = None, **more):
    """The port of a running server."""
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(app, "127.0.0.1", 0, stop=stop, ready=ready.set_result, limits=limits, **more))
    await asyncio.wait({server, ready}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE)
    try:
        yield urlsplit(ready.result()).port
    finally:
        stop.set()
        await asyncio.wait_for(server, PATIENCE)


@pytest.fixture
def serving():
    return _serving


async def _exchange(port: int, *pieces: bytes, half_close: bool = False) -> bytes:
    """Sends raw bytes and returns everything that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if half_close:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), PATIENCE)
    finally:
        writer.close()


@pytest.fixture
def exchange():
    return _exchange
