"""What pages and searches cost as history grows: `serve` on stores of more and more events, beside ripgrep over the same text.

Each page is asked for once to warm up, then REPEATS times; CPU is that of the whole process `serve`, its merges included, so the
merges are waited for first. The plot is .cache/bench/history.svg: one line a page or search, CPU-seconds against events.
"""

import asyncio
import math
import shutil
import statistics
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from bench.figures import Figure, at_most, sized
from bench.monitor import Monitor, base, cpu_seconds, monitor, processes, scratch
from lae_monitor.core.limits import MiB
from lae_monitor.kinds import KINDS
from lae_monitor.store import Store
from lae_monitor.store.chdb_driver import ChdbDriver

MOST = sized(5_000_000, 5_000, "BENCH_HISTORY")  # events; 50 million: BENCH_HISTORY=50000000 make bench ARGS=history
EVENTS = (MOST // 100, MOST // 10, MOST)[-sized(3, 2) :]
REST = sized(2.0, 0.1)  # seconds in which it is seen whether `serve` rests
BLOCK = 800_000  # events of one insert, of one or two months: few large parts, so that few merges are to be waited for
REPEATS = sized(3, 1)
HOSTS, GROUPS, WORDS = 60, 3_000, 40_000
DAYS = 89  # over which they are spread; pages look 90 days back
AIM_PAGE = 0.1  # CPU-s

PAGES = {
    "page /": "/",
    "/api/hosts": "/api/hosts",
    "page /groups": "/groups",
    "page /incidents": "/incidents",
    "page of a host": "/host/lae/host7",
}
# What is searched for: our query, and ripgrep's words for it, which read all files but the last one's, of one host.
SEARCHES = {
    "rare word": ("zanzibar", ["-F", "zanzibar"]),
    "common word": ("storage", ["-F", "storage"]),
    "phrase": ('"connection refused by"', ["-F", "connection refused by"]),
    "substring": ('text~"nection ref"', ["-F", "nection ref"]),
    "regex": ("/refused by w[0-9]+7\\b/", ["refused by w[0-9]+7\\b"]),
    "word, host and 3 h": ("storage host:host7 since:3h", ["-F", "storage", "host7.log"]),
}
# Words as they are in texts: few are common, most are rare. `storage` is in half of all events, `zanzibar` in 7 of all.
_EVENTS = """
SELECT ['crash', 'incident', 'sonar', 'sonar'][1 + r % 4] AS kind, 'lae' AS cluster, concat('host', toString(n % {hosts})) AS host,
  toDateTime64(now() - {days} * 86400 * (1 - n / {total}), 6, 'UTC') AS time, time AS received, concat('e', toString(n)) AS id,
  unhex(substring(hex(SHA256(toString(n))), 1, 32)) AS key, ['info', 'warning', 'error'][1 + r % 3] AS level,
  concat('trouble ', toString(g), ' of ', kind) AS title,
  concat(if(r % 2, 'storage ', ''), if(r % 20 = 3, concat('connection refused by w', toString(r % 977), ' '), ''),
    if(n % intDiv({total}, 7) = 5, 'zanzibar ', ''), arrayStringConcat(arrayMap(k -> concat('w', toString(toUInt32(pow({words},
    (sipHash64(n, k) % 1000003) / 1000003)))), range(20)), ' ')) AS text,
  if(kind = 'sonar', '', concat('group ', toString(g))) AS `group`, map('product', 'Bench', 'version', toString(g % 5)) AS attrs,
  '{file}' AS file, n AS offset, 1 AS length, '{file}' AS source, {first} AS source_at, 1 AS form,
  sipHash64(n) AS r, toUInt32(pow({groups}, (r % 100003) / 100003)) AS g
FROM (SELECT number AS n FROM numbers({first}, {count}))
"""
_FILE = "journal/2026/01/01/bench.jsonl"


class Cost(NamedTuple):
    """Medians."""

    cpu: float  # s
    wall: float  # s


def run() -> list[Figure]:
    costs: dict[int, dict[str, Cost]] = {}
    figures: list[Figure] = []
    for events in EVENTS:
        with scratch() as state:
            files = state / "text"
            files.mkdir()
            asyncio.run(_fill(state, events, files))
            size = sum(file.stat().st_size for file in files.iterdir())
            figures.append(Figure(f"history: {events:,} events", size / 1e6, "MB", note="of text, as files"))
            with monitor(state, "serve") as running:
                costs[events] = _measure(running, processes(running.config)["serve"])
            figures += _figures(costs[events], _grep(files))
    first, last = min(costs), max(costs)
    for name in PAGES:
        grown = costs[last][name].cpu / max(costs[first][name].cpu, 0.01)
        figures.append(Figure(f"{name}: {last:,} to {first:,} events", grown, "x", note="CPU; 1 is flat"))
    _plot(costs)
    return figures


async def _fill(state: Path, events: int, files: Path) -> None:
    """A store as the mover leaves it, and the same texts as a file a host."""
    path = state / "state" / "store"
    path.parent.mkdir(mode=0o700)
    driver = ChdbDriver(path, memory=6000 * MiB)
    store = await Store(driver, kinds=KINDS).open()
    columns = ", ".join(f"`{name}`" for name in store.tables["events"].columns)
    for first in range(0, events, BLOCK):
        count = min(BLOCK, events - first)
        rows = _EVENTS.format(
            hosts=HOSTS, days=DAYS, total=events, words=WORDS, groups=GROUPS, file=_FILE, first=first, count=count
        )
        await driver.command(
            f"INSERT INTO lae.events ({columns}) SETTINGS max_partitions_per_insert_block=0, "
            f"max_block_size={BLOCK}, min_insert_block_size_rows={BLOCK}, min_insert_block_size_bytes=0 SELECT {columns} FROM ({rows})"
        )
        marks = f"SELECT '{_FILE}', {first}, {first + count}, 1, {count}, now64(6)"
        await driver.command(f"INSERT INTO lae.moves (source, source_at, source_end, parser, rows, time) {marks}")
    for host in range(HOSTS):
        await driver.command(
            f"INSERT INTO FUNCTION file('{files}/host{host}.log', 'TSVRaw', 'line String') "
            f"SELECT concat(title, ' ', text) FROM lae.events WHERE host = 'host{host}' ORDER BY time"
        )
    await store.close()


def _measure(running: Monitor, serve: int) -> dict[str, Cost]:
    _settle(serve)
    asked = PAGES | {name: f"/api/search?q={quote(query)}&limit=100" for name, (query, _) in SEARCHES.items()}
    return {name: _cost(running.web, serve, address) for name, address in asked.items()}


def _settle(serve: int) -> None:
    """Until what `serve` does by itself, such as merges and its first check, takes less than a tenth of a core."""
    quiet = 0
    while quiet < 2:
        before = cpu_seconds(serve)
        time.sleep(REST)
        quiet = quiet + 1 if cpu_seconds(serve) - before < 0.1 * REST else 0


def _cost(port: int, serve: int, address: str) -> Cost:
    cpu, wall = [], []
    for turn in range(REPEATS + 1):
        before, began = cpu_seconds(serve), time.perf_counter()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{address}", timeout=300) as answer:
            answer.read()
        if turn:
            wall.append(time.perf_counter() - began)
            cpu.append(cpu_seconds(serve) - before)
    return Cost(statistics.median(cpu), statistics.median(wall))


def _grep(files: Path) -> dict[str, float]:
    """How long ripgrep takes for each search, in seconds; nothing where it is not installed."""
    if shutil.which("rg") is None:
        return {}
    took = {}
    for name, (_, words) in SEARCHES.items():
        times = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            subprocess.run(["rg", *words], cwd=files, stdout=subprocess.DEVNULL, check=False)
            times.append(time.perf_counter() - began)
        took[name] = statistics.median(times)
    return took


def _figures(costs: dict[str, Cost], grep: dict[str, float]) -> list[Figure]:
    found = []
    for name in PAGES:
        note = f"{costs[name].wall * 1000:,.0f} ms"
        found.append(at_most(f"  {name}", costs[name].cpu, AIM_PAGE, "CPU-s", note))
    for name in SEARCHES:
        wall = costs[name].wall * 1000
        found.append(Figure(f"  search, {name}", wall, "ms", note=f"{costs[name].cpu:.2f} CPU-s"))
        if name in grep:
            times = grep[name] * 1000 / wall
            found.append(Figure("    times as quick as ripgrep", times, "x", note=f"rg {grep[name] * 1000:,.0f} ms"))
    return found


def _plot(costs: dict[int, dict[str, Cost]]) -> None:
    """Both axes by tens. An SVG by hand: a plotting library would be the largest package of all tests."""
    names = [*PAGES, *SEARCHES]
    xs = {events: math.log10(events) for events in costs}
    low, high = min(xs.values()), max(*xs.values(), min(xs.values()) + 1)

    def place(events: int, cpu: float) -> tuple[float, float]:
        return 60 + 480 * (xs[events] - low) / (high - low), 420 - 110 * (math.log10(max(cpu, 0.01)) + 2)

    parts = []
    for seconds in (0.01, 0.1, 1, 10):
        y = place(min(costs), seconds)[1]
        parts.append(
            f'<path d="M60 {y}H540" stroke="#ddd"/><text x="55" y="{y + 4}" text-anchor="end">{seconds} s</text>'
        )
    parts += [f'<text x="{place(e, 0.01)[0]}" y="440" text-anchor="middle">{e:,}</text>' for e in costs]
    for number, name in enumerate(names):
        colour = f"hsl({number * 360 // len(names)} 65% 42%)"
        points = " ".join("{:.0f},{:.0f}".format(*place(events, costs[events][name].cpu)) for events in sorted(costs))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="560" y="{80 + 22 * number}" fill="{colour}">{name}</text>')
    title = '<text x="60" y="30" font-size="15">CPU-seconds of a page or search, by events that are stored</text>'
    (base() / "history.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="760" height="460" font-family="sans-serif" font-size="12">'
        f'<rect width="760" height="460" fill="#fff"/>{title}{"".join(parts)}</svg>\n'
    )
