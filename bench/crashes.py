"""Crash reports that are acknowledged, each one durable file, against a bare loop that makes such files."""

import asyncio
import os
import statistics

from bench import floor
from bench.figures import Figure
from bench.load import Connection, as_fast_as_possible
from bench.monitor import monitor, scratch
from lae_monitor.demo.crashes import Field, form
from lae_monitor.gatherers.crashes.sample import minidump

BOUNDARY = "----------------------------bench"
MEDIA = f"multipart/form-data; boundary={BOUNDARY}"
ANNOTATIONS = 44
SIZE = 20_000  # bytes of the dump
CONNECTIONS = 16
SECONDS = 2.0
TURNS = 3


def report(number: int, padding: bytes = b"") -> bytes:
    """A report that is like no other."""
    fields = [Field("ProductName", b"Bench"), Field("Version", b"1.0"), Field("number", str(number).encode())]
    fields += [Field(f"annotation{index}", b"value " * 6) for index in range(ANNOTATIONS - len(fields))]
    dump = minidump(1.79e9, 1000 + number % 30_000) + padding
    return form([*fields, Field("upload_file_minidump", dump, "minidump.dmp", "application/octet-stream")], BOUNDARY)


def run() -> list[Figure]:
    padding = os.urandom(SIZE - len(minidump(1.79e9)))

    async def post(connection: Connection, number: int) -> None:
        status, answer = await connection.post("/submit", MEDIA, report(number, padding))
        if status != 200:
            raise RuntimeError(f"{status} {answer!r}")

    ours, bare = [], []
    with scratch() as state, monitor(state, "crashes") as running:
        for turn in range(TURNS):
            place = state / f"floor-{turn}"
            place.mkdir()
            bare.append(floor.files(place, len(report(0, padding)), SECONDS))
            ours.append(asyncio.run(as_fast_as_possible(running.crashes, CONNECTIONS, SECONDS, post)))
    ratio = statistics.median(mine / other for mine, other in zip(ours, bare, strict=True))
    return [
        Figure(
            "crashes: reports acknowledged",
            statistics.median(ours),
            "/s",
            note=f"{SIZE} B dumps, {CONNECTIONS} connections",
        ),
        Figure("crashes: times a bare loop of such files", ratio, "x", note=f"{statistics.median(bare):,.0f}/s"),
    ]
