"""An archive with crashes in it, made without the collector, and the crashmover run on it in this process."""

import asyncio
import io
import json
import time
import uuid
import zipfile
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from lae_monitor.archive import Archive, Reserve
from lae_monitor.kinds.crashes.crashmover import config, routes
from lae_monitor.kinds.crashes.crashmover.lane import Telling
from lae_monitor.kinds.crashes.crashmover.ledger import Ledger
from lae_monitor.kinds.crashes.crashmover.mover import Mover
from lae_monitor.kinds.crashes.crashmover.posting import Publisher
from lae_monitor.kinds.crashes.crashmover.source import Source

PATIENCE = 60.0  # seconds; the machine may be slow and busy


@dataclass
class Stored:
    """A crash as the test put it into the archive."""

    id: str
    path: Path
    document: dict
    dumps: dict[str, bytes]

    @property
    def day(self) -> str:
        return f"20{self.id[-6:]}"


@dataclass
class World:
    """The folders of one test."""

    folder: Path
    crashes: list[Stored] = field(default_factory=list)

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    def put(self, digit=0, day="261122", dumps=None, metadata=None, crash_id="", **annotations) -> Stored:
        """A crash as the collector stores it."""
        crash_id = crash_id or f"{str(uuid.uuid4())[:-7]}{digit}{day}"
        if dumps is None:
            dumps = {
                "upload_file_minidump": b"MDMP" + crash_id.encode() * 50,
                "memory_report": b"\x1f\x8b" + bytes(300),
            }
        document = {
            "ProductName": "Firefox",
            "Version": "60.0",
            "submitted_timestamp": f"20{day[:2]}-{day[2:4]}-{day[4:]}T10:11:12.000013+00:00",
            "uuid": crash_id,
            "version": 2,
            "metadata": {
                "cluster": "lae",
                "host": "node1",
                "collector_notes": [],
                "dump_checksums": {name: sha256(data).hexdigest() for name, data in dumps.items()},
                "filenames": {},
                "payload": "multipart",
                "replaced": {},
                **(metadata or {}),
            },
            **annotations,
        }
        path = self.archive / "crashes" / f"20{day}" / f"{crash_id}.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as packed:
            for name, data in dumps.items():
                packed.writestr(name, data)
            packed.writestr("raw_crash.json", json.dumps(document, sort_keys=True))
        temporary = self.folder / "arriving"
        temporary.write_bytes(buffer.getvalue())
        temporary.rename(path)  # whole from the moment it has its name, as the collector's
        stored = Stored(crash_id, path, document, dumps)
        self.crashes.append(stored)
        return stored

    def settings(self, *destinations, **options) -> config.Settings:
        options = {"interval": 0.05, "retry_delay": 0.01, "max_retry_delay": 0.05, **options}
        return config.Settings(destinations=list(destinations), **options)

    def run(self, *destinations, clock=time.time, count=None, roots=None, **options):
        """`crashmover --all` or `--count`; returns its outcome."""
        settings = self.settings(*destinations, **options)

        async def main():
            async with self.mover(settings, clock, roots) as mover:
                return await mover.run_once(asyncio.Event(), count)

        return asyncio.run(main())

    def run_until(self, condition, *destinations, clock=time.time, meanwhile=None, **options):
        """`crashmover --forever`, stopped as soon as `condition()` is true."""
        settings = self.settings(*destinations, **options)

        async def main():
            async with self.mover(settings, clock) as mover:
                stop = asyncio.Event()
                running = asyncio.create_task(mover.run_forever(stop))
                try:
                    async with asyncio.timeout(PATIENCE):
                        if meanwhile is not None:
                            await meanwhile()
                        while not condition():
                            assert not running.done(), running.exception()
                            await asyncio.sleep(0.01)
                finally:
                    stop.set()
                    await running
                return mover.outcome

        return asyncio.run(main())

    def mover(self, settings, clock=time.time, roots=None):
        return _Opened(self, settings, clock, roots)

    def ledger(self) -> Ledger:
        return Ledger(self.folder / "crashmover.db")

    def sent(self, destination: str) -> int:
        with self.ledger() as ledger:
            return ledger.backlog(destination, time.time()).sent

    def dead(self) -> list:
        with self.ledger() as ledger:
            return ledger.dead_letters()

    def of(self, crash: Stored) -> dict[str, dict]:
        with self.ledger() as ledger:
            return {row["destination"]: row for row in ledger.of(crash.id)}


class _Opened:
    """Archive, ledger, destinations and the mover over them."""

    def __init__(self, world: World, settings, clock, roots) -> None:
        self.world, self.settings, self.clock, self.roots = world, settings, clock, roots

    async def __aenter__(self) -> Mover:
        self.archive = Archive(self.roots or [self.world.archive], "crashmover", reserve=Reserve(size=0))
        await self.archive.open()
        self.ledger = self.world.ledger()
        self.routes = routes.routes_of(self.settings, self.clock)
        self.publisher = Publisher()
        source = Source(self.archive, self.ledger, self.routes, self.clock)
        telling = Telling(self.settings, self.ledger, self.publisher, self.clock)
        return Mover(self.settings, source, self.ledger, self.routes, telling, self.clock)

    async def __aexit__(self, *_raised) -> None:
        routes.close(self.routes)
        self.publisher.close()
        self.ledger.close()
        await self.archive.close()
