"""What more and more stored crash reports cost: accepting further ones, the gatherer's start, and sweeps of a day full of them."""

import asyncio
import time
from pathlib import Path

from bench.crashes import MEDIA, report
from bench.figures import Figure, at_most, sized
from bench.load import as_fast_as_possible
from bench.monitor import monitor, scratch
from bench.searchable import make_backlog, post_one
from lae_monitor.archive import Archive, Reserve
from lae_monitor.core.time import wall_clock
from lae_monitor.kinds import KINDS
from lae_monitor.mover.ledger import Ledger
from lae_monitor.mover.sweep import SETTLED, Looks

MOST = sized(100_000, 100, "BENCH_GROWTH")  # a million: BENCH_GROWTH=1000000 make bench ARGS=growth
STORED = (MOST // 100, MOST // 10, MOST)[-sized(3, 1) :]
SECONDS = sized(3.0, 0.3)
CONNECTIONS = 8
AIM_SWEEP = 10.0  # CPU-ms


def run() -> list[Figure]:
    figures: list[Figure] = []
    for stored in STORED:
        with scratch() as state:
            with monitor(state, "crashes") as running:
                asyncio.run(post_one(running.crashes))
            make_backlog(state / "state" / "archive" / "crashes", stored, days_ago=0)
            with monitor(state, "crashes") as running:
                body = report(20_000)

                async def post(connection, _number, body=body):
                    await connection.post("/submit", MEDIA, body)

                rate = asyncio.run(as_fast_as_possible(running.crashes, CONNECTIONS, SECONDS, post))
            first, idle, one = asyncio.run(_sweeps(state / "state"))
        figures += [
            Figure(f"growth: {stored:,} crashes of today stored", rate, "/s", note="accepted beside them"),
            Figure("  gatherer ready after", running.ready_after, "s"),
            Figure("  a full sweep", first, "CPU-ms"),
            at_most("  a quick sweep, nothing new", idle, AIM_SWEEP, "CPU-ms"),
            Figure("  a quick sweep, one new file", one, "CPU-ms"),
        ]
    return figures


async def _sweeps(state: Path) -> tuple[float, float, float]:
    """CPU-ms of a full sweep when all was moved, of a quick one, and of a quick one that finds one file."""
    archive = await Archive([state / "archive"], "serve", reserve=Reserve()).open()
    ledger = Ledger(state / "sweeps.db")
    looks = Looks(archive, KINDS.reader, lambda: ledger, wall_clock)
    try:
        ledger.set_moved([(path, 1 << 40) async for path in looks.sweep(KINDS.folders, full=True)])
        first = await _cpu(looks, full=True)
        for _ in range(2):
            await asyncio.sleep(SETTLED)
            idle = await _cpu(looks)
        folder = next((state / "archive" / "crashes").iterdir())
        (folder / "one.zip").write_bytes(b"zip")
        return first, idle, await _cpu(looks)
    finally:
        ledger.close()
        await archive.close()


async def _cpu(looks: Looks, *, full: bool = False) -> float:
    before = time.process_time()
    async for _ in looks.sweep(KINDS.folders, full=full):
        pass
    return (time.process_time() - before) * 1000
