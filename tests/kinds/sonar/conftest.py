"""A gatherer of samples in the test's own loop, and clients for it: real curl, and raw HTTP where there are many."""

import asyncio
import base64
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from lae_monitor.archive import Archive, Journal, Reserve
from lae_monitor.archive.kernel import Kernel
from lae_monitor.config import Settings
from lae_monitor.config.settings import State
from lae_monitor.config.values import Listen
from lae_monitor.core.rows import Span
from lae_monitor.core.time import wall_clock
from lae_monitor.kinds.context import Context
from lae_monitor.kinds.sonar import read
from lae_monitor.kinds.sonar.config import Settings as SonarSettings
from lae_monitor.kinds.sonar.gather import gather
from lae_monitor.kinds.sonar.rows import Sample

PATIENCE = 60.0  # seconds; the machine may be slow and busy
NOW = 1795341085.0  # 2026-11-22T09:51:25Z


@dataclass
class Answer:
    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Gatherer:
    """One that runs; `folder` holds its state, and its archive in archive/."""

    url: str
    folder: Path
    archive: Archive
    stop: asyncio.Event
    task: asyncio.Task

    @property
    def root(self) -> Path:
        return self.folder / "archive"

    def files(self) -> dict[str, bytes]:
        """The sample files by their path below sonar/."""
        top = self.root / "sonar"
        return {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}

    def samples(self) -> list[Sample]:
        found = []
        for name, data in self.files().items():
            path = f"sonar/{name}"
            found += [row for row in read.read(Span(path, 0, len(data)), data) if isinstance(row, Sample)]
        return found

    def receipts(self) -> list[dict]:
        """The journal's receipts; complete once the gatherer has ended."""
        lines = [
            line for path in sorted(self.root.glob("journal/**/*.jsonl")) for line in path.read_bytes().splitlines()
        ]
        return [entry for entry in map(msgspec.json.decode, lines) if entry["what"] == "receipt"]

    async def end(self):
        """Stops it as TERM does, and waits until it has ended."""
        self.stop.set()
        await asyncio.wait_for(asyncio.shield(self.task), PATIENCE)

    async def curl(self, *arguments: str, body: bytes = b"", path: str = "/sonar-freecsv?cluster=c") -> Answer:
        process = await asyncio.create_subprocess_exec(
            "curl", "--silent", "--show-error", "--max-time", str(PATIENCE), "--include", *arguments, self.url + path,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(body), PATIENCE)
        assert process.returncode == 0, err
        while out.startswith(b"HTTP/1.1 100"):
            out = out.partition(b"\r\n\r\n")[2]
        return _answer(out)

    async def post(
        self,
        body: bytes,
        *,
        cluster: str = "c",
        password: str | None = "pw",
        query: str | None = None,
        source: str = "127.0.0.1",
    ):
        """As production nodes do, without a process for each."""
        target = f"/sonar-freecsv?{query if query is not None else f'cluster={cluster}'}"
        head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: {len(body)}\r\n"
        if password is not None:
            token = base64.b64encode(f"{cluster}:{password}".encode("utf-8", "replace")).decode()
            head += f"Authorization: Basic {token}\r\n"
        return await self.exchange(head.encode() + b"Connection: close\r\n\r\n" + body, source=source)

    async def exchange(self, data: bytes, *, source: str = "127.0.0.1") -> Answer:
        port = int(self.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        try:
            writer.write(data)
            await writer.drain()
            return _answer(await asyncio.wait_for(reader.read(), PATIENCE))
        finally:
            writer.close()


def _answer(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split()[1]), body.decode(), headers)


@asynccontextmanager
async def _gathering(folder: Path, *, passwords: str | None = "c:pw\n", kernel=Kernel, clock=wall_clock, **settings):
    if passwords is not None:
        credentials = folder / "credentials" / "sonar"
        credentials.mkdir(parents=True, exist_ok=True)
        (credentials / "exfil-auth.txt").write_text(passwords)
        (credentials / "exfil-auth.txt").chmod(0o600)
    else:
        settings.setdefault("auth_file", "")
    own = SonarSettings(listen=Listen("127.0.0.1:0"), **settings)
    whole = Settings(state=State(path=folder), gatherers={"sonar": own})
    archive = await Archive(
        [folder / "archive"], "gather-sonar", reserve=Reserve(size=0), kernel=kernel, clock=clock
    ).open()
    ready = asyncio.get_running_loop().create_future()
    context = Context(
        settings=whole, archive=archive, journal=Journal(archive, clock), clock=clock, ready=ready.set_result
    )
    task = asyncio.create_task(gather(context))
    try:
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE)
        if task.done():
            await task
        url = re.search(r"http://[^/]+", ready.result())[0]
        yield Gatherer(url, folder, archive, context.stop, task)
    finally:
        context.stop.set()
        await asyncio.wait({task}, timeout=PATIENCE)
        await archive.close()


@pytest.fixture
def gathering():
    """`async with gathering(folder) as gatherer`."""
    return _gathering


def _line(number: int, *, host: str = "h", time: str = "2026-11-22T10:00:00+01:00") -> bytes:
    return f"v=0.12.0,time={time},host={host},user=ane,cmd=c{number},cpu%=1.5,job={number}\n".encode()


@pytest.fixture
def line():
    """Makes a line that was taken at NOW, or near it."""
    return _line


@pytest.fixture
def now():
    """A clock that stands still near the time of the lines."""
    return lambda: NOW
