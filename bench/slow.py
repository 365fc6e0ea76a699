"""How quickly the crash collector answers others while 500 slow uploads are held open; who is cut off comes again at once.

Four kinds share the 500: heads that never come, heads that drip, bodies that stall, bodies that drip below the least rate.
"""

import asyncio
import contextlib
import re
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

from bench.crashes import MEDIA, SIZES, mover, report
from bench.figures import Figure, at_most, sized
from bench.load import Connection
from bench.monitor import await_line, monitor, running, scratch

SLOW = sized(500, 8)  # connections; half send no head, and one address may have 500 such
SECONDS = sized(10.0, 1.0)
PACE = 0.01  # seconds between heartbeats, and between uploads
EVERY = 0.5  # seconds between bytes that drip
SPREAD = sized(2.0, 0.2)  # seconds over which the slow ones come: they are not in step
AIM = 50.0  # ms for a heartbeat
HOLD = "hold"

HEAD = f"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA}\r\nContent-Length: 1000000\r\n\r\n".encode()
BODY = b'------------------------------bench\r\nContent-Disposition: form-data; name="d"; filename="d"\r\n\r\nMDMP'
KINDS = ((b"", b""), (b"POST /submit HTTP/1.1\r\nX: ", b"x"), (HEAD + BODY, b""), (HEAD + BODY, b"x"))


def run() -> list[Figure]:
    with scratch() as state, monitor(state, "crashes") as ours, mover(state):
        figures = asyncio.run(_measure(ours.crashes, "nobody is slow"))[:3]
        command = [sys.executable, "-m", "bench.slow", HOLD, str(ours.crashes)]
        with running(command, state / "slow.log") as (holder, ready):
            await_line(holder, ready, state / "slow.log")
            return figures + asyncio.run(_measure(ours.crashes, f"{SLOW} are slow"))


async def _measure(port: int, while_what: str) -> list[Figure]:
    """Heartbeats and normal uploads side by side, each on a connection that is kept."""
    body = report(SIZES["20 KB"])
    before = await _held(port)
    beats, uploads = await asyncio.gather(
        _timed(port, lambda connection: connection.get("/__lbheartbeat__")),
        _timed(port, lambda connection: connection.post("/submit", MEDIA, body)),
    )
    held = f"{before:.0f} uploads in progress before, {await _held(port):.0f} after"
    name = f"slow: heartbeat while {while_what}"
    return [
        Figure(f"{name}, p50", statistics.median(beats), "ms", note=held),
        at_most(f"{name}, p99", _p99(beats), AIM, "ms"),
        at_most(f"{name}, max", max(beats), AIM, "ms", note=f"of {len(beats)}"),
        Figure("slow: a 20 KB upload beside them, p99", _p99(uploads), "ms", note=f"of {len(uploads)}"),
    ]


async def _timed(port: int, ask: Callable[[Connection], Awaitable[tuple[int, bytes]]]) -> list[float]:
    """Milliseconds from each request to its answer."""
    connection = Connection(port)
    taken = []
    until = time.perf_counter() + SECONDS
    while (began := time.perf_counter()) < until:
        status, answer = await ask(connection)
        taken.append((time.perf_counter() - began) * 1000)
        if status != 200:
            raise RuntimeError(f"{status} {answer!r}")
        await asyncio.sleep(PACE)
    connection.close()
    return taken


async def _held(port: int) -> float:
    """Uploads that are coming in, as the collector counts them: of the slow ones, those that have sent a head."""
    connection = Connection(port)
    _, text = await connection.get("/metrics")
    connection.close()
    found = re.search(rb"^lae_crashes_in_progress (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[-1]


# ---- the slow clients, in a process of their own: they are not to slow down who measures ---------------------------------


async def _hold(port: int) -> None:
    """Keeps SLOW connections, until interrupted."""
    connected = asyncio.Semaphore(0)

    async def one(number: int, first: bytes, piece: bytes) -> None:
        await asyncio.sleep(number / SLOW * SPREAD)
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(first)
            connected.release()
            answer = asyncio.create_task(reader.read())
            while not answer.done():
                writer.write(piece)
                await asyncio.wait({answer}, timeout=EVERY)
            with contextlib.suppress(ConnectionError):
                await answer
            writer.close()

    clients = [asyncio.create_task(one(number, *KINDS[number % len(KINDS)])) for number in range(SLOW)]
    for _ in clients:
        await connected.acquire()
    print("lae-monitor is ready to be slow", flush=True)
    await asyncio.gather(*clients)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_hold(int(sys.argv[2])))
