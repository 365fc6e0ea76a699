"""How fast the archive makes things durable, beside the bare calls on the same disk in the same run.

    python -m bench.archive

store(): 20 KB reports, 8 writers; against 8 threads that write, fsync, rename and fsync the folder, and nothing else.
append(): 200 bytes by 64 writers into one file; against one thread that writes and syncs 64 lines at a time.
"""

import asyncio
import os
import tempfile
import threading
import time
from pathlib import Path

import uvloop

from bench.figures import sized
from lae_monitor.archive import Archive, Reserve

REPORT = 20_000  # bytes
LINE = 200  # bytes
WRITERS = 8
APPENDERS = 64
ROUNDS = sized(9, 2)  # bare and ours in turn, so that a disk that is busy for a while is busy for both
SECONDS = sized(0.25, 0.05)  # each


def bare_stores(folder: Path) -> float:
    """Reports a second that threads make durable with nothing around it."""
    (folder / "tmp").mkdir(parents=True)
    (folder / "final").mkdir()
    data = os.urandom(REPORT)
    end = time.perf_counter() + SECONDS
    done = [0] * WRITERS

    def work(number: int) -> None:
        while time.perf_counter() < end:
            name = f"{number}-{done[number]}"
            fd = os.open(folder / "tmp" / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(fd, data)
            os.fsync(fd)
            os.close(fd)
            os.rename(folder / "tmp" / name, folder / "final" / name)
            fd = os.open(folder / "final", os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(fd)
            os.close(fd)
            done[number] += 1

    begun = time.perf_counter()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - begun)


def bare_appends(folder: Path) -> float:
    """Lines a second that one thread makes durable, as many at a time as there are writers."""
    folder.mkdir(parents=True)
    line = os.urandom(LINE // 2).hex().encode()[:-1] + b"\n"
    fd = os.open(folder / "lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    begun = time.perf_counter()
    done = 0
    while time.perf_counter() - begun < SECONDS:
        os.writev(fd, [line] * APPENDERS)
        os.fdatasync(fd)
        done += APPENDERS
    os.close(fd)
    return done / (time.perf_counter() - begun)


async def stores(archive: Archive, round_: int) -> tuple[float, list[float]]:
    data = os.urandom(REPORT)
    latencies: list[float] = []
    end = time.perf_counter() + SECONDS

    async def work(number: int) -> None:
        count = 0
        while (begun := time.perf_counter()) < end:
            await archive.store(f"crashes/20261122/{round_}-{number}-{count}.zip", [data])
            latencies.append(time.perf_counter() - begun)
            count += 1

    begun = time.perf_counter()
    await asyncio.gather(*(work(number) for number in range(WRITERS)))
    return len(latencies) / (time.perf_counter() - begun), latencies


async def appends(archive: Archive, round_: int) -> tuple[float, list[float]]:
    line = os.urandom(LINE // 2).hex().encode()[:-1] + b"\n"
    latencies: list[float] = []
    end = time.perf_counter() + SECONDS

    async def work() -> None:
        while (begun := time.perf_counter()) < end:
            await archive.append(f"sonar/c/2026/11/22/{round_}.csv", line)
            latencies.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(APPENDERS)))
    return len(latencies) / (time.perf_counter() - begun), latencies


async def measure(base: Path) -> dict[str, float]:
    archive = await Archive([base / "archive"], "bench", reserve=Reserve(size=0)).open()
    rates: dict[str, list[float]] = {name: [] for name in ("bare_stores", "stores", "bare_appends", "appends")}
    store_times: list[float] = []
    append_times: list[float] = []
    for round_ in range(ROUNDS):
        rates["bare_stores"].append(await asyncio.to_thread(bare_stores, base / f"bare-stores-{round_}"))
        rate, times = await stores(archive, round_)
        rates["stores"].append(rate)
        store_times += times
        rates["bare_appends"].append(await asyncio.to_thread(bare_appends, base / f"bare-appends-{round_}"))
        rate, times = await appends(archive, round_)
        rates["appends"].append(rate)
        append_times += times
    await archive.close()
    middle = {name: sorted(values)[ROUNDS // 2] for name, values in rates.items()}
    return {
        "store_per_second": round(middle["stores"]),
        "store_bare_per_second": round(middle["bare_stores"]),
        "store_ratio": round(median_ratio(rates["stores"], rates["bare_stores"]), 3),
        "store_p99_ms": round(percentile(store_times, 0.99) * 1000, 2),
        "append_per_second": round(middle["appends"]),
        "append_bare_per_second": round(middle["bare_appends"]),
        "append_ratio": round(median_ratio(rates["appends"], rates["bare_appends"]), 3),
        "append_p99_ms": round(percentile(append_times, 0.99) * 1000, 2),
    }


def median_ratio(ours: list[float], bare: list[float]) -> float:
    """Of the rounds, each compared with its own neighbour."""
    return sorted(one / other for one, other in zip(ours, bare, strict=True))[len(ours) // 2]


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


def run() -> dict[str, float]:
    """Measures for a few seconds; rates are medians of the rounds."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("LAE_BENCH_DIR")) as base:
        result = uvloop.run(measure(Path(base)))
    print(
        f"archive.store   {result['store_per_second']:8,}/s   bare threads {result['store_bare_per_second']:8,}/s"
        f"   ratio {result['store_ratio']:.2f}   p99 {result['store_p99_ms']} ms"
    )
    print(
        f"archive.append  {result['append_per_second']:8,}/s   bare batches {result['append_bare_per_second']:8,}/s"
        f"   ratio {result['append_ratio']:.2f}   p99 {result['append_p99_ms']} ms"
    )
    return result


if __name__ == "__main__":
    print(run())
