"""store() against a bare loop that syncs as much, and append() against what one fdatasync takes."""

import asyncio
import os
import statistics
import time
from pathlib import Path

import uvloop

from bench import floor
from bench.figures import Figure, at_least
from bench.monitor import scratch
from lae_monitor.archive import Archive, Reserve

SIZE = 20_000  # bytes of a stored file
STORING = floor.THREADS  # writers of store(), as many as the bare loop has threads
APPENDING = 64  # writers of append()
LINE = 200  # bytes of an addition
SECONDS = 2.0  # of one turn
TURNS = 3  # by turns with the floor
AIM_STORE = 0.8  # of the bare loop
AIM_APPEND = 10_000.0  # a second; or half of what writers / fdatasync time gives, on a slow disk


def run() -> list[Figure]:
    with scratch() as folder:
        return [*_stores(folder), *_appends(folder)]


def _stores(folder: Path) -> list[Figure]:
    ours, bare = [], []
    for turn in range(TURNS):
        place = folder / f"floor-{turn}"
        place.mkdir()
        bare.append(floor.files(place, SIZE, SECONDS))
        ours.append(uvloop.run(_store(folder / f"store-{turn}")))
    ratio = statistics.median(mine / other for mine, other in zip(ours, bare, strict=True))
    note = f"{statistics.median(bare):,.0f}/s"
    return [
        Figure("archive.store", statistics.median(ours), "/s", note=f"{SIZE} B, {STORING} writers"),
        at_least("archive.store, times a bare loop of 8 threads", ratio, AIM_STORE, "x", note),
    ]


def _appends(folder: Path) -> list[Figure]:
    rate = statistics.median(uvloop.run(_append(folder / f"append-{turn}")) for turn in range(TURNS))
    sync = _seconds_of_a_sync(folder / "sync")
    slow_disk = 0.5 * APPENDING / sync
    name = f"archive.append, {APPENDING} writers to one file"
    note = f"fdatasync takes {sync * 1000:.2f} ms: half of writers / that is {slow_disk:,.0f}/s"
    return [at_least(name, rate, min(AIM_APPEND, slow_disk), "/s", note)]


async def _store(folder: Path) -> float:
    data = os.urandom(SIZE)

    async def write(archive: Archive, writer: int, turn: int) -> None:
        await archive.store(f"crashes/20261122/{writer}-{turn}", [data])

    return await _rate(folder, STORING, write)


async def _append(folder: Path) -> float:
    line = b"x" * (LINE - 1) + b"\n"

    async def write(archive: Archive, _writer: int, _turn: int) -> None:
        await archive.append("journal/2026/11/22/bench.jsonl", line)

    return await _rate(folder, APPENDING, write)


async def _rate(folder: Path, writers: int, write) -> float:
    """How many `write(archive, writer, turn)` end, per second."""
    archive = await Archive([folder], "bench", reserve=Reserve()).open()
    done = 0
    began = time.perf_counter()

    async def one(writer: int) -> None:
        nonlocal done
        turn = 0
        while time.perf_counter() - began < SECONDS:
            await write(archive, writer, turn)
            turn += 1
            done += 1

    try:
        await asyncio.gather(*(one(writer) for writer in range(writers)))
        return done / (time.perf_counter() - began)
    finally:
        await archive.close()


def _seconds_of_a_sync(path: Path) -> float:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    taken = []
    try:
        for _ in range(200):
            os.write(fd, b"x" * LINE)
            began = time.perf_counter()
            os.fdatasync(fd)
            taken.append(time.perf_counter() - began)
    finally:
        os.close(fd)
    return statistics.median(taken)
