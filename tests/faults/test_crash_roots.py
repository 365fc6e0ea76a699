"""A crash gatherer on two small disks that fill up, under kill -9: what was answered is there once, whole, and nothing else.

The oracle is this process: it knows what it sent, and what it was told of it. The gatherer is `lae-monitor gather crashes`.
"""

import asyncio
import gzip
import hashlib
import http.client
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from lae_monitor.archive import Archive, Reserve
from lae_monitor.archive.homecoming import bring_home
from lae_monitor.core.limits import KiB, MiB
from lae_monitor.core.rows import Span
from lae_monitor.kinds.crashes.container import entries
from lae_monitor.kinds.crashes.limits import HOLD

PATIENCE = 60.0  # seconds; the machine may be slow and busy
ROUNDS = 3
CLIENTS = 4
HOME, AWAY = 160 * MiB, 48 * MiB  # sizes of the disks
RESERVE = 256 * KiB
NOISE = random.Random(1).randbytes(4 * MiB)  # dumps are cut out of it
SIZES = (100, 20_000, 400_000, HOLD + 300_000)  # the last one goes through a temporary file
REPO = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: full disks. Mounting small file systems needs root"),
]


@contextmanager
def small_disk(path: Path, size: int):
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk: Path) -> Path:
    """Somebody else takes all there is."""
    hog = disk / "hog"
    with hog.open("wb", buffering=0) as file:
        for piece in (bytes(256 * KiB), b"0" * 4096):
            with suppress(OSError):
                while True:
                    file.write(piece)
    return hog


def files_of(folder: Path) -> list[Path]:
    """All files below; folders may go while one looks."""
    return [Path(found, name) for found, _, names in os.walk(folder) for name in names]


class Gatherer:
    """`lae-monitor gather crashes` on two roots, started again after each kill."""

    def __init__(self, folder: Path, roots: list[Path]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.roots = roots
        self.config = folder / "lae-monitor.toml"
        self.log = folder / "log"
        self.config.write_text(f"""\
[state]
path = "{folder / "state"}"
[archive]
roots = {json.dumps([str(root) for root in roots])}
reserve = "{RESERVE} B"
[gatherers.crashes]
listen = "127.0.0.1:{self.port}"
""")

    def start(self) -> None:
        command = [sys.executable, "-m", "lae_monitor", "--config", str(self.config), "gather", "crashes"]
        environment = {**os.environ, "PYTHONPATH": str(REPO)}
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", "/__lbheartbeat__")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def temporary(self) -> list[Path]:
        return [path for root in self.roots for path in files_of(root / ".tmp") if path.name.isdecimal()]


def form(serial: str, dump: bytes) -> bytes:
    head = b"--B\r\nContent-Disposition: form-data; name="
    digest = hashlib.sha256(dump).hexdigest().encode()
    return (
        head + b'"Serial"\r\n\r\n' + serial.encode() + b"\r\n"
        + head + b'"MinidumpSha256Hash"\r\n\r\n' + digest + b"\r\n"
        + head + b'"upload_file_minidump"; filename="x.dmp"\r\nContent-Type: application/octet-stream\r\n\r\n'
        + dump + b"\r\n--B--\r\n"
    )  # fmt: skip


class Clients:
    """Several at once, until they have seen what they wait for; they remember what they were told."""

    def __init__(self, port: int, source: random.Random) -> None:
        self.port = port
        self.random = source
        self.acknowledged: dict[str, tuple[str, str]] = {}  # crash id -> serial, digest of the dump
        self.refused: set[str] = set()  # serials
        self.statuses: Counter[str] = Counter()
        self.errors: list[BaseException] = []

    def send_until(self, over, what: str, lost=False) -> None:
        """`over()` is asked after each answer; `lost`: connections may break, since the gatherer is being killed."""
        stop = threading.Event()
        deadline = time.monotonic() + PATIENCE

        def client(source: random.Random) -> None:
            try:
                while not stop.is_set():
                    assert time.monotonic() < deadline, f"{what}: {self.statuses}"
                    self.send(source, lost=lost)
                    if over():
                        stop.set()
            except BaseException as error:
                self.errors.append(error)
                stop.set()

        seeds = [self.random.random() for _ in range(CLIENTS)]
        threads = [threading.Thread(target=client, args=(random.Random(seed),)) for seed in seeds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def send(self, source: random.Random, *, lost: bool) -> None:
        serial = f"{source.getrandbits(64):016x}"
        size = source.choice(SIZES)
        begin = source.randrange(len(NOISE) - size)
        dump = b"MDMP" + NOISE[begin : begin + size]
        body = form(serial, dump)
        headers = {"Content-Type": "multipart/form-data; boundary=B"}
        if source.random() < 0.5:
            headers["Content-Encoding"], body = "gzip", gzip.compress(body, 1)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("POST", "/submit", body, headers)
            reply = connection.getresponse()
            text = reply.read().decode()
        except (OSError, http.client.HTTPException):
            assert lost, "a connection broke though nobody was killed"
            return
        finally:
            connection.close()
        self.statuses[f"{reply.status} {text[:24].partition('=bp-')[0]}"] += 1
        if reply.status == 200:
            self.acknowledged[text.removeprefix("CrashID=bp-").rstrip("\n")] = (
                serial,
                hashlib.sha256(dump).hexdigest(),
            )
        else:
            assert (reply.status, text) == (503, "Discarded=no_space")
            assert int(reply.headers["Retry-After"]) > 0
            self.refused.add(serial)


class Run:
    """One run: the disks, the gatherer, the clients, and what has to hold between rounds."""

    def __init__(self, folder: Path, home: Path, away: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.disks = (home, away)
        self.roots = [home / "archive", away / "archive"]
        self.gatherer = Gatherer(folder, self.roots)
        self.clients = Clients(self.gatherer.port, self.random)
        self.in_the_middle = 0  # kills that left a temporary file behind

    def crashes(self, number: int) -> list[Path]:
        return files_of(self.roots[number] / "crashes")

    def round(self) -> None:
        clients, (home, away) = self.clients, self.disks
        begun = len(clients.acknowledged)
        wanted = begun + self.random.randrange(10, 30)
        clients.send_until(lambda: len(clients.acknowledged) >= wanted, "home takes reports")

        hogs = [fill(home)]
        before = len(self.crashes(1))
        clients.send_until(lambda: len(self.crashes(1)) >= before + 8, "the fallback takes over")

        hogs.append(fill(away))
        refused = len(clients.refused)
        clients.send_until(lambda: len(clients.refused) >= refused + 12, "both are full")

        hogs.pop(self.random.randrange(2)).unlink()  # room comes back on one of them
        wanted = len(clients.acknowledged) + 1
        clients.send_until(lambda: len(clients.acknowledged) >= wanted, "reports are taken again")
        self.kill_in_the_middle_of_a_save()
        self.survey()

        for hog in hogs:
            hog.unlink()
        self.gatherer.start()
        assert self.gatherer.temporary() == [], "what was never acknowledged outlives a start"
        coming = threading.Thread(target=self.come_home)  # while reports come in
        coming.start()
        clients.send_until(lambda: not coming.is_alive(), "files come home")
        coming.join()
        self.survey()

    def kill_in_the_middle_of_a_save(self) -> None:
        """One upload has half of its bytes in a temporary file, others are at any point."""
        killed = threading.Event()
        body = form("never", b"MDMP" + NOISE[: 3 * HOLD])
        with socket.create_connection(("127.0.0.1", self.gatherer.port), PATIENCE) as half:
            head = "POST /submit HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\n"
            half.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[: 2 * HOLD])
            deadline = time.monotonic() + PATIENCE
            while not self.gatherer.temporary():
                assert time.monotonic() < deadline, "nothing has begun to be saved"

            def kill() -> None:
                killed.wait(self.random.random() * 0.3)  # the moment is what is tried: there is nothing to wait for
                self.gatherer.end(signal.SIGKILL)
                killed.set()

            killing = threading.Thread(target=kill)
            killing.start()
            self.clients.send_until(killed.is_set, "the gatherer is killed", lost=True)
            killing.join()
        self.in_the_middle += bool(self.gatherer.temporary())

    def come_home(self) -> None:
        """As `serve` does it, every so often: until nothing of a crash is away."""

        async def main() -> None:
            archive = await Archive(self.roots, "serve", reserve=Reserve(size=RESERVE)).open()
            try:
                async with asyncio.timeout(PATIENCE):
                    while self.crashes(1):
                        await bring_home(archive)
            finally:
                await archive.close()

        asyncio.run(main())

    def survey(self) -> dict[str, tuple[str, str]]:
        """What was answered is there, whole and once; what was refused is not; returns all crashes that are there."""
        found: dict[str, tuple[str, str]] = {}
        for path in self.crashes(0) + self.crashes(1):
            assert path.stem not in found, "twice"
            found[path.stem] = whole(path)
        for crash_id, sent in self.clients.acknowledged.items():
            assert found[crash_id] == sent
        serials = Counter(serial for serial, _ in found.values())
        assert not {serial for serial, times in serials.items() if times > 1}
        assert not serials.keys() & self.clients.refused
        assert "never" not in serials
        return found

    def end(self) -> None:
        assert self.gatherer.end(signal.SIGTERM) == 0
        self.come_home()
        found = self.survey()
        assert self.crashes(1) == []
        assert self.gatherer.temporary() == []
        assert self.in_the_middle, "no kill was in the middle of a save"
        strangers = [path for root in self.roots for path in files_of(root) if stranger(path, root)]
        assert strangers == []
        asyncio.run(self.read_all(found))
        print(f"{len(self.clients.acknowledged)} acknowledged, {len(found)} stored; {dict(self.clients.statuses)}")

    async def read_all(self, found: dict[str, tuple[str, str]]) -> None:
        """The archive itself, asked for what the receipts say, answers with a crash of ours."""
        receipts = 0
        archive = await Archive(self.roots, "reader", reserve=Reserve(size=RESERVE)).open()
        try:
            for root in self.roots:
                for path in (root / "journal").rglob("*.jsonl"):
                    for entry in map(json.loads, path.read_text().splitlines()):
                        if entry["verdict"] == "accepted":
                            span = Span(entry["file"], entry["start"], entry["end"])
                            assert entry["id"] in found
                            assert "raw_crash.json" in entries(await archive.read(span))
                            receipts += 1
        finally:
            await archive.close()
        assert receipts


def stranger(path: Path, root: Path) -> bool:
    """Whether a file is neither a crash, nor the journal's, nor a lock of the archive, nor the root's identity."""
    inside = path.relative_to(root).parts
    first, last = inside[0], inside[-1]
    return not (
        inside == (".lae-monitor",)
        or (first == "crashes" and last.endswith(".zip"))
        or (first == "journal" and last.endswith(".jsonl"))
        or (first == ".tmp" and last == "lock")
    )


def whole(path: Path) -> tuple[str, str]:
    """Serial and digest of the dump in the file, which has to be whole by every checksum it carries."""
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            name: bytes(content) for name, content in entries(data).items()
        }
        document = json.loads(archive.read("raw_crash.json"))
        digest = hashlib.sha256(archive.read("upload_file_minidump")).hexdigest()
    assert document["uuid"] == path.stem
    assert path.parent.name == f"20{path.stem[-6:]}"
    assert document["MinidumpSha256Hash"] == document["metadata"]["dump_checksums"]["upload_file_minidump"] == digest
    return document["Serial"], digest


def test_what_was_answered_is_there_once_over_both_roots(tmp_path):
    seed = random.randrange(2**32)
    print("seed", seed)
    with ExitStack() as stack:
        home = stack.enter_context(small_disk(tmp_path / "home", HOME))
        away = stack.enter_context(small_disk(tmp_path / "away", AWAY))
        run = Run(tmp_path, home, away, seed)
        run.gatherer.start()
        stack.callback(lambda: run.gatherer.process.poll() is None and run.gatherer.end(signal.SIGKILL))
        for _ in range(ROUNDS):
            run.round()
        run.end()
