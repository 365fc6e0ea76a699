"""HTTP clients that keep their connections."""

import asyncio
import time
from collections.abc import Awaitable, Callable


class Connection:
    """One connection; requests go one after the other."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, target: str, media: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to a POST."""
        head = (
            f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return await self._ask(head.encode() + body)

    async def get(self, target: str) -> tuple[int, bytes]:
        return await self._ask(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    async def _ask(self, request: bytes) -> tuple[int, bytes]:
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next(int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:"))
        body = await self._reader.readexactly(length)
        if "connection: close" in head:
            self.close()
        return int(head.split(" ", 2)[1]), body

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def as_fast_as_possible(
    port: int, connections: int, seconds: float, request: Callable[[Connection, int], Awaitable[None]]
) -> float:
    """Calls `request(connection, number)` on all connections for `seconds`; returns how many ended, per second."""
    done = 0
    began = time.perf_counter()

    async def one(number: int) -> None:
        nonlocal done
        connection = Connection(port)
        turn = number
        while time.perf_counter() - began < seconds:
            await request(connection, turn)
            turn += connections
            done += 1
        connection.close()

    await asyncio.gather(*(one(number) for number in range(connections)))
    return done / (time.perf_counter() - began)
