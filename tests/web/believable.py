"""A fleet with two weeks behind it, stored as the gatherers would have: real zips, flog files, samples and journal lines,
read by their own readers. The same seed gives the same fleet.

    python tests/web/believable.py FOLDER [PORT]     makes it below FOLDER, and shows its pages on 127.0.0.1:PORT
"""

import asyncio
import hashlib
import math
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from lae_monitor.archive import Archive, Journal
from lae_monitor.core.limits import MiB
from lae_monitor.core.names import ClusterName, HostName, new_crash_id
from lae_monitor.core.rows import Row, Span
from lae_monitor.core.time import DAY, HOUR, MINUTE, day_path, format_time
from lae_monitor.kinds import KINDS
from lae_monitor.kinds.crashes.container import Writer
from lae_monitor.kinds.crashes.form import minidump
from lae_monitor.kinds.crashes.report import Report, envelope
from lae_monitor.kinds.incidents.wire.flog import pack
from lae_monitor.kinds.sonar.rows import Node
from lae_monitor.store import Store
from lae_monitor.store.chdb_driver import ChdbDriver

SEED = 20261122
GRID = [f"storage{number:02}.lae.example" for number in range(1, 9)]
HPC = [f"ml{number}.hpc.uio.no" for number in range(1, 7)]
DESKS = ["desk-ada", "desk-grace", "ip6-2001-0db8-0000-0000-0000-0000-0000-0017"]
SICK, SILENT = GRID[2], HPC[4]

INCIDENTS = [
    (30, "weird", "storage index %(si)s: lease renewal failed, share is corrupt", "TB2dDQ", "tahoe.storage"),
    (35, "scary", "unable to reach the introducer: connection refused by 10.0.0.4:51234", "9fHqzw", "tahoe.introducer"),
    (30, "weird", "upload of %(si)s is unhappy: 5 shares placed, 7 wanted", "UB9vsg", "tahoe.immutable.upload"),
    (40, "bad", "disk full: no space left on device (/var/tahoe/storage)", "Ls09fA", "tahoe.storage"),
]
CRASHES = [
    ("Firefox", "153.0", "MOZ_CRASH(Shutdown too long, probably frozen, causing a crash.)"),
    ("Firefox", "152.0.1", ""),
    ("Tahoe-GUI", "0.4.2", "terminate called after throwing an instance of 'std::bad_alloc'"),
    ("Lemmings", "1.0", ""),
]
WORK = [
    ("ec-aaa", "python3", 1351930),
    ("ec-bbb", "pmemd.cuda", 1351877),
    ("ec-ccc", "gmx_mpi", 1352001),
    ("root", "rsyslogd", 0),
]


class Fleet:
    """Writes the archive, and the store from it."""

    def __init__(self, archive: Archive, store: Store, now: float, days: float) -> None:
        self.archive, self.store, self.now, self.days = archive, store, now, days
        self.random = random.Random(SEED)
        self.rows: dict[str, list[tuple[Row, str, int]]] = {}

    async def build(self) -> None:
        for host in GRID:
            for _ in range(14 if host == SICK else self.random.randint(0, 3)):
                await self._incident(host, self._some_time(3 if host == SICK else 14))
        for number in range(22):
            host = self.random.choice([*DESKS, *GRID[:2]])
            await self._crash(host, self._some_time(12), *CRASHES[number % len(CRASHES)])
        await self._crash(DESKS[0], self.now - 25 * MINUTE, *CRASHES[0])
        for host in HPC:
            await self._samples(host)
        await self._journal()
        await self._flush()

    def _some_time(self, days: float) -> float:
        return self.now - self.random.random() ** 2 * days * DAY - 60

    def _keep(self, span: Span, data: bytes) -> None:
        for row in KINDS.reader(span.path).read(span, data):
            self.rows.setdefault(row.table, []).append((row, span.path, span.start))

    async def _flush(self) -> None:
        for table, kept in self.rows.items():
            for at in range(0, len(kept), 20_000):
                part = kept[at : at + 20_000]
                await self.store.insert(
                    table, [row for row, _, _ in part], [(path, start) for _, path, start in part], f"believable-{at}"
                )
        self.rows.clear()

    async def _incident(self, host: str, time: float) -> None:
        level, _, text, umid, facility = self.random.choice(INCIDENTS if host == SICK else INCIDENTS[:3])
        storage_index = hashlib.sha256(f"{host}{time}".encode()).hexdigest()[:26]
        trigger = {
            "num": 1800, "time": time, "level": level, "format": text, "si": storage_index, "umid": umid,
            "facility": facility, "incarnation": ("a1b2c3d4e5f6a7b8", None),
        }  # fmt: skip
        if level == 40:
            trigger["failure"] = {
                "traceback": 'Traceback (most recent call last):\n  File "storage/server.py", line 512, in remote_write\n    self._write(offset, data)\nOSError: [Errno 28] No space left on device\n'
            }
        events = [
            {"num": 1780 + at, "time": time - 20 + at, "level": 20, "facility": facility,
             "message": f"remote_allocate_buckets {storage_index} size={self.random.randint(1, 9) * 131072}"}
            for at in range(20)
        ]  # fmt: skip
        header = {
            "type": "incident",
            "trigger": trigger,
            "pid": 4711,
            "versions": {"tahoe-lafs": "1.20.0", "foolscap": "24.9.0"},
        }
        packed = pack((header, [*events, trigger]), "z" * 32, time + 6)
        stamp = format_time(time, digits=0).replace("T", "--").replace(":", "-")
        name = f"incident-{stamp}-{storage_index[:7]}"
        path = f"incidents/lae/incidents/{host}/{name}.flog.bz2"
        data = b"".join(packed.chunks)
        self._keep(await self.archive.store(path, [data]), data)

    async def _crash(self, host: str, time: float, product: str, version: str, reason: str) -> None:
        crash_id = new_crash_id(time)
        report = Report()
        annotations = {
            "ProductName": product, "Version": version, "MozCrashReason": reason, "BuildID": "20261101093000",
            "CrashTime": str(int(time - 4)), "UptimeTS": f"{self.random.uniform(5, 90_000):.1f}", "Email": "ada@example.org",
            "URL": "http://127.0.0.1:3456/uri/URI:DIR2:ddddddddddddddddddddddddddd:eeeeeeeeeeeeeeeeeeeeeeee/",
        }  # fmt: skip
        for name, value in annotations.items():
            report.set(name, value)
        dump = minidump(time, module=f"/usr/lib/{product.lower()}/{product.lower()}")
        report.add_file("upload_file_minidump", len(dump), hashlib.sha256(dump).hexdigest())
        about = envelope(
            peer="10.0.0.7", host=HostName(host), cluster=ClusterName("lae"), user_agent="Crashpad/0.8.0", size=4187,
            compressed=True, query={},
        )  # fmt: skip
        pieces: list[bytes] = []
        writer = Writer(pieces.append, time)
        writer.add("raw_crash.json", report.raw_crash(crash_id, time, about))
        writer.add("upload_file_minidump", dump)
        writer.finish()
        data = b"".join(pieces)
        self._keep(await self.archive.store(f"crashes/{crash_id.day}/{crash_id}.zip", [data]), data)

    async def _samples(self, host: str) -> None:
        end = self.now - (7 * HOUR if host == SILENT else 2 * MINUTE)
        start = self.now - self.days * DAY
        hole = (self.now - 1.2 * DAY, self.now - 0.9 * DAY) if host == HPC[1] else (0.0, 0.0)
        busy = self.random.uniform(4, 30)
        counters = [0.0] * len(WORK)
        lines: dict[str, list[str]] = {}
        time = start
        while time < end:
            swing = busy * (1.1 + math.sin(time / 40_000 + busy)) / 2
            for at, line in enumerate(self._run(host, time, swing, counters)):
                if not hole[0] < time < hole[1] and (at == 0 or swing > 2):
                    lines.setdefault(day_path(time), []).append(line)
            time += 5 * MINUTE
        for day, kept in lines.items():
            data = "".join(kept).encode()
            self._keep(await self.archive.append(f"sonar/hpc.uio.no/{day}/{host}.csv", data), data)
        node = Node(
            cluster="hpc.uio.no",
            host=host,
            time=start,
            description="2x14 Intel Xeon Gold 5120, 4x RTX 2080 Ti",
            cores=56,
            memory_kib=128 * 1024**2,
            gpu_cards=4,
        )
        self.rows.setdefault("nodes", []).append((node, "", 0))

    def _run(self, host: str, time: float, cores: float, counters: list[float]) -> Iterator[str]:
        stamp = format_time(time, digits=0).replace("Z", "+00:00")
        for at, (user, command, job) in enumerate(WORK):
            used = cores * (0.5, 0.3, 0.2, 0.0)[at]
            counters[at] += used * 300
            cards = '"gpus=0,1"' if at < 2 else "gpus=none"
            zombie = "<defunct>" if host == HPC[2] and at == 1 and time > self.now - 3 * HOUR else ""
            yield (
                f"v=0.12.1,time={stamp},host={host},cores=56,user={user},job={job},pid={job or 812},cmd={command}{zombie},"
                f"cpu%={used * 100:.1f},cpukib={int(4e6 + used * 1e6)},rssanonkib={int(3e6 + used * 9e5)},{cards},"
                f"gpu%={used * 10:.0f},gpumem%=12,gpukib=2000000,cputime_sec={int(counters[at])},rolledup=0\n"
            )

    async def _journal(self) -> None:
        ago = {"time": self.now}
        clock = lambda: ago["time"]  # noqa: E731
        journal = Journal(self.archive, clock)
        entries = [
            (6.5 * HOUR, "alarm", {"rule": "silent", "cluster": "hpc.uio.no", "host": SILENT, "title": f"{SILENT} sends no samples", "text": "The last run of Sonar came 30 minutes ago; it used to come every 5.", "level": "warning"}),
            (40 * MINUTE, "alarm", {"rule": "disk-full", "cluster": "lae", "host": SICK, "title": "Incidents say that the disk is full", "text": "4 incidents with umid Ls09fA within 3 hours.", "level": "critical"}),
            (20 * HOUR, "mark", {"cluster": "lae", "host": SICK, "title": "tahoe-lafs 1.20.0 was deployed", "level": "info", "by": "ansible"}),
        ]  # fmt: skip
        entries += [
            (number * 37 * MINUTE, "receipt", {"kind": "crash", "cluster": "lae", "host": "", "peer": "203.0.113.9", "verdict": "refused", "reason": "malformed_no_boundary", "detail": "Content-Type: multipart/form-data", "id": "", "size": 1024})
            for number in range(1, 8)
        ]  # fmt: skip
        for back, what, fields in entries:
            ago["time"] = self.now - back
            span = await journal.write(what, **fields)
            self._keep(span, await self.archive.read(span))


async def build(folder: Path, now: float, days: float = 7) -> tuple[Archive, Store]:
    """The fleet below `folder`, as it is at `now`, with samples of so many days; archive and store are open."""
    archive = await Archive([folder / "archive"], "believable").open()
    store = await Store(ChdbDriver(folder / "store", memory=400 * MiB), kinds=KINDS).open()
    if not await store.query("SELECT 1 AS one FROM {lae}.events LIMIT 1"):
        await Fleet(archive, store, now, days).build()
    return archive, store


async def _show(folder: Path, port: int) -> None:
    import uvicorn

    from lae_monitor.web import create_app

    async def retry(key: str) -> bool:
        return key == "a1b2c3"

    when = folder / "now"
    now = float(when.read_text()) if when.exists() else 1_795_348_000.0
    when.parent.mkdir(parents=True, exist_ok=True)
    when.write_text(str(now))
    archive, store = await build(folder, now)
    status = {
        "quarantine": [
            {
                "id": "a1b2c3",
                "path": "sonar/hpc.uio.no/2026/11/20/ml2.hpc.uio.no.csv",
                "start": 1048576,
                "end": 1052672,
                "reason": "unreadable: line 8: time is not RFC 3339",
            }
        ]
    }
    app = create_app(store, archive, fleet="lae", retry=retry, status=lambda: status, clock=lambda: now)
    try:
        await uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning")).serve()
    finally:
        await store.close()
        await archive.close()


if __name__ == "__main__":
    asyncio.run(_show(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 8642))
