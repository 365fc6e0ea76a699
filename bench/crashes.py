"""Crash reports that are acknowledged, each one durable file, against the least that a durable collector does.

Ours and the floor run side by side, and take turns of two seconds; what is shown is the median of their paired ratios.
"""

import gzip
import os
import statistics
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import wrk
from bench.figures import Figure, at_least, at_most, sized
from bench.monitor import await_line, cpu_seconds, free_ports, memory, monitor, processes, running, scratch
from lae_monitor.archive import hints
from lae_monitor.kinds.crashes.demo import Field, form
from lae_monitor.kinds.crashes.form import minidump

BOUNDARY = "----------------------------bench"
MEDIA = f"multipart/form-data; boundary={BOUNDARY}"
ANNOTATIONS = 44
SIZES = dict(
    [("20 KB", 20_000), ("500 KB", 500_000)][: sized(2, 1)]
)  # of the dumps: nine reports of ten are in between
CONNECTIONS = 8
SECONDS = sized(2, 1, "BENCH_SECONDS")  # of one turn; wrk knows whole ones only
TURNS = sized(5, 1, "BENCH_TURNS")
STOP = b"stop"
UPLOADS = sized(10000, 50, "BENCH_UPLOADS")  # after which memory is looked at
AIM_RATE = 0.6  # of the floor's requests a second
AIM_CPU = 1.6  # times the floor's CPU a request
AIM_P99 = 2.0  # times the floor's
AIM_GROWTH = 4.0  # MB that memory may grow by, from the first thousand uploads to the last


def report(size: int) -> bytes:
    """A report with a dump of `size` bytes, a third of which compresses well, as it does in real ones."""
    fields = [Field("ProductName", b"Bench"), Field("Version", b"1.0")]
    fields += [Field(f"annotation{index}", b"value " * 6) for index in range(ANNOTATIONS - len(fields))]
    head = minidump(1.79e9)
    noise = os.urandom((size - len(head)) // 4)
    dump = head + noise + bytes(size - len(head) - len(noise))
    return form([*fields, Field("upload_file_minidump", dump, "minidump.dmp", "application/octet-stream")], BOUNDARY)


def run() -> list[Figure]:
    figures: list[Figure] = []
    with scratch() as state, monitor(state, "crashes") as ours, mover(state):
        collector = processes(ours.config)["gather crashes"]
        port = free_ports(1)[0]
        command = [sys.executable, "-m", "bench.crash_floor", str(port), str(state / "floor")]
        with running(command, state / "floor.log") as (floor, ready):
            await_line(floor, ready, state / "floor.log")
            servers = {
                "ours": (f"http://127.0.0.1:{ours.crashes}/submit", collector),
                "floor": (f"http://127.0.0.1:{port}/submit", floor.pid),
            }
            for name, size in SIZES.items():
                for compressed in (False, True):
                    figures += _paired(f"{name}{', gzip' if compressed else ''}", state, size, compressed, servers)
        figures += _growth(state, servers["ours"])
    return figures


@contextmanager
def mover(state: Path) -> Iterator[None]:
    """Hears what is new, as `serve` does, and forgets it."""
    listening = hints.listen(state / "state" / "mover.sock")
    listening.setblocking(True)

    def hear() -> None:
        while listening.recv(1000) != STOP:
            pass

    hearing = threading.Thread(target=hear)
    hearing.start()
    try:
        yield
    finally:
        sender = hints.Hints(state / "state" / "mover.sock")
        sender.send(STOP.decode())
        sender.close()
        hearing.join()
        listening.close()


def _paired(name: str, state: Path, size: int, compressed: bool, servers: dict[str, tuple[str, int]]) -> list[Figure]:
    body = state / "body"
    data = report(size)
    body.write_bytes(gzip.compress(data) if compressed else data)
    headers = {"Content-Type": MEDIA} | ({"Content-Encoding": "gzip"} if compressed else {})
    rates: dict[str, list[float]] = {server: [] for server in servers}
    costs: dict[str, list[float]] = {server: [] for server in servers}
    tails: dict[str, list[float]] = {server: [] for server in servers}
    for turn in range(TURNS + 1):
        for server, (url, pid) in servers.items():
            before = cpu_seconds(pid)
            load = wrk.post(url, body, headers, CONNECTIONS, SECONDS)
            if load.failed:
                raise RuntimeError(f"{server}: {load.failed} requests failed")
            if turn:  # the first is for warming up
                rates[server].append(load.rate)
                costs[server].append((cpu_seconds(pid) - before) / (load.rate * SECONDS) * 1000)
                tails[server].append(load.p99)
    rate, cost, tail = (
        statistics.median(mine / other for mine, other in zip(found["ours"], found["floor"], strict=True))
        for found in (rates, costs, tails)
    )
    mine, other = statistics.median(rates["ours"]), statistics.median(rates["floor"])
    return [
        Figure(f"crashes: acknowledged, {name}", mine, "/s", note=f"floor {other:,.0f}/s, {CONNECTIONS} connections"),
        at_least(f"crashes: rate to the floor's, {name}", rate, AIM_RATE, "x"),
        at_most(
            f"crashes: CPU a request to the floor's, {name}",
            cost,
            AIM_CPU,
            "x",
            note=f"{statistics.median(costs['ours']):.2f} ms, floor {statistics.median(costs['floor']):.2f} ms",
        ),
        at_most(
            f"crashes: p99 to the floor's, {name}",
            tail,
            AIM_P99,
            "x",
            note=f"{statistics.median(tails['ours']):.0f} ms, floor {statistics.median(tails['floor']):.0f} ms",
        ),
    ]


def _growth(state: Path, server: tuple[str, int]) -> list[Figure]:
    """Memory before and after many uploads."""
    url, pid = server
    body = state / "body"
    body.write_bytes(report(SIZES["20 KB"]))
    before, done = 0.0, 0.0
    while done < UPLOADS:
        load = wrk.post(url, body, {"Content-Type": MEDIA}, CONNECTIONS, SECONDS)
        done += load.rate * SECONDS
        before = before or memory(pid)[0]
    after = memory(pid)[0]
    return [
        Figure("crashes: memory", after, "MB", note=f"resident, after {done:,.0f} uploads"),
        at_most("crashes: memory grew by", after - before, AIM_GROWTH, "MB"),
    ]
