"""From the reply `CrashID=` to the moment when a search finds the report, at 200 reports a second; and at a tenth of that while
100,000 files of a backlog wait.
"""

import asyncio
import json
import os
import statistics
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from bench.crashes import MEDIA, report
from bench.figures import Figure, at_least, at_most, sized
from bench.load import Connection
from bench.monitor import Monitor, cpu_seconds, monitor, processes, scratch

RATE = sized(200, 20)  # reports a second
SECONDS = sized(20.0, 1.0)
CONNECTIONS = 16
SIZE = 20_000  # bytes of a dump
SAMPLED = 10  # one of so many is looked for
POLL = 0.1  # seconds between searches: what is measured is that much too long at most
ASKED = 25  # ids in one search
PATIENCE = 60.0  # seconds to wait for the last ones
AIM_P99 = 2.0  # s
BACKLOG = sized(100000, 50, "BENCH_BACKLOG")  # files that wait when serve starts
BACKLOG_RATE = 20  # fresh reports a second meanwhile
AIM_BACKLOG_P99 = 5.0  # s


class Watch:
    """The sampled reports: when each was acknowledged, and how long it took until it was found."""

    def __init__(self) -> None:
        self.waiting: dict[str, float] = {}
        self.delays: list[float] = []
        self.sent = 0
        self.began = 0.0
        self.ended = 0.0


def run() -> list[Figure]:
    return [*_idle(), *_behind_a_backlog()]


def _behind_a_backlog() -> list[Figure]:
    with scratch() as state:
        with monitor(state, "crashes") as running:
            asyncio.run(post_one(running.crashes))
        make_backlog(state / "state" / "archive" / "crashes", BACKLOG, days_ago=40)
        with monitor(state, "crashes", "serve") as running:
            watch = asyncio.run(_measure(running, BACKLOG_RATE, sampled=1))
            left = asyncio.run(_waiting(running.web))
    delays = sorted(watch.delays)
    note = f"{left:,} of {BACKLOG:,} files still waited at the end"
    return [at_most("the same behind a backlog, p99", delays[int(len(delays) * 0.99)], AIM_BACKLOG_P99, "s", note)]


async def post_one(port: int) -> None:
    connection = Connection(port)
    await connection.post("/submit", MEDIA, report(SIZE))
    connection.close()


def make_backlog(crashes: Path, files: int, *, days_ago: int) -> None:
    """Copies of the one report that is there, as if it had come often on that day."""
    data = next(crashes.rglob("*.zip")).read_bytes()
    day = datetime.now(UTC) - timedelta(days=days_ago)
    folder = crashes / f"{day:%Y%m%d}"
    folder.mkdir(exist_ok=True)
    for _ in range(files):
        (folder / f"{str(uuid.uuid4())[:29]}0{day:%y%m%d}.zip").write_bytes(data)
    os.sync()  # as they would be


async def _waiting(port: int) -> int:
    connection = Connection(port)
    _, answer = await connection.get("/api/store")
    connection.close()
    return int(json.loads(answer)["moving"]["waiting"])


def _idle() -> list[Figure]:
    with scratch() as state, monitor(state, "crashes", "serve") as running:
        pids = {"driver": os.getpid(), **processes(running.config)}
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        watch = asyncio.run(_measure(running, RATE, sampled=SAMPLED))
        used = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items() if not name.startswith("run")}
    rate = watch.sent / (watch.ended - watch.began)
    delays = sorted(watch.delays)
    note = f"{len(delays)} of {watch.sent} reports looked for"
    return [
        at_least("reports a second while measuring", rate, RATE * 0.98, "/s", "the driver's, on the same cores"),
        Figure("acknowledged to searchable, p50", statistics.median(delays), "s", note=note),
        at_most("acknowledged to searchable, p99", delays[int(len(delays) * 0.99)], AIM_P99, "s", "aim 0.5 s"),
        Figure("acknowledged to searchable, max", delays[-1], "s", note=f"{len(watch.waiting)} not found"),
        *(Figure(f"CPU of {name}, a report", 1000 * seconds / watch.sent, "ms") for name, seconds in used.items()),
    ]


async def _measure(running: Monitor, rate: float, *, sampled: int) -> Watch:
    watch = Watch()
    loop = asyncio.get_running_loop()
    watch.began = loop.time()
    finding = asyncio.create_task(_find(running.web, watch))
    await asyncio.gather(*(_send(running.crashes, lane, watch, rate, sampled) for lane in range(CONNECTIONS)))
    watch.ended = loop.time()
    await asyncio.wait_for(finding, PATIENCE)
    return watch


async def _send(port: int, lane: int, watch: Watch, rate: float, sampled: int) -> None:
    """One connection's share of the reports, each at its time."""
    loop = asyncio.get_running_loop()
    connection = Connection(port)
    for number in range(lane, int(rate * SECONDS), CONNECTIONS):
        await asyncio.sleep(max(0.0, watch.began + number / rate - loop.time()))
        status, answer = await connection.post("/submit", MEDIA, report(SIZE))
        if status != 200:
            raise RuntimeError(f"{status} {answer!r}")
        watch.sent += 1
        if number % sampled == 0:
            watch.waiting[answer.decode().strip().removeprefix("CrashID=bp-")] = time.perf_counter()
    connection.close()


async def _find(port: int, watch: Watch) -> None:
    """Asks for the oldest that are not found yet, until all are."""
    connection = Connection(port)
    while not watch.ended or watch.waiting:
        asked = list(watch.waiting)[:ASKED]
        if asked:
            query = quote("kind:crash id:" + ",".join(asked))
            try:
                status, answer = await connection.get(f"/api/search?q={query}&limit={ASKED}")
            except (OSError, asyncio.IncompleteReadError):  # serve was started again: that time counts, too
                connection.close()
                await asyncio.sleep(POLL)
                continue
            now = time.perf_counter()
            if status != 200:
                raise RuntimeError(f"{status} {answer!r}")
            for row in json.loads(answer)["rows"]:
                watch.delays.append(now - watch.waiting.pop(row["id"]))
        await asyncio.sleep(POLL)
    connection.close()
