"""kill -9 of the crash gatherer at random moments: whatever a client was told is stored, whole, and nothing half.

The oracle is this process: it knows which dumps it sent, and which of them were acknowledged. LAE_KILLS sets how often.
"""

import gzip
import hashlib
import http.client
import io
import json
import os
import random
import signal
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from crash_gatherers import PATIENCE, Gatherers

KILLS = int(os.environ.get("LAE_KILLS", "24"))
LANES = 4  # gatherers at a time, each with an archive of its own
CLIENTS = 2  # senders for each
BOUNDARY = b"Boundary-of-the-test"
NOISE = random.Random(1).randbytes(4_000_000)  # dumps are cut out of it


def form(serial: str, dump: bytes) -> bytes:
    head = b"--%s\r\nContent-Disposition: form-data; name=" % BOUNDARY
    return (
        head + b'"Serial"\r\n\r\n' + serial.encode() + b"\r\n"
        + head + b'"upload_file_minidump"; filename="x.dmp"\r\nContent-Type: application/octet-stream\r\n\r\n'
        + dump + b"\r\n--%s--\r\n" % BOUNDARY
    )  # fmt: skip


class Lane:
    """One archive, its gatherer that is killed again and again, and its clients."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.gatherers = Gatherers(folder)
        self.random = random.Random(seed)
        self.acknowledged: dict[str, tuple[str, str]] = {}  # crash id -> serial, digest of the dump
        self.sent = 0

    def kill_often(self, times: int) -> None:
        for _ in range(times):
            self.gatherers.start()
            if self.random.random() < 0.1:
                pause(self.random.random() * 0.03)  # it has just begun
                self.gatherers.end(signal.SIGKILL)
            else:
                self.kill_at_work()

    def kill_at_work(self) -> None:
        self.gatherers.wait_until_ready()
        killed = threading.Event()
        senders = [
            threading.Thread(target=self.send, args=(random.Random(self.random.random()), killed))
            for _ in range(CLIENTS)
        ]
        for sender in senders:
            sender.start()
        pause(self.random.random() * 0.25)
        self.gatherers.end(signal.SIGKILL)
        killed.set()
        for sender in senders:
            sender.join()

    def send(self, source: random.Random, killed: threading.Event) -> None:
        while not killed.is_set():
            serial = f"{source.getrandbits(64):016x}"
            begin, size = source.randrange(len(NOISE)), source.choice((100, 20_000, 400_000, 1_500_000, 3_000_000))
            dump = b"MDMP" + NOISE[begin : begin + size]
            body = form(serial, dump)
            headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
            if size < 1_000_000 and source.random() < 0.5:
                headers["Content-Encoding"], body = "gzip", gzip.compress(body, 1)
            self.sent += 1
            connection = http.client.HTTPConnection("127.0.0.1", self.gatherers.port, timeout=PATIENCE)
            try:
                if source.random() < 0.5:
                    pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
                    connection.request("POST", "/submit", iter(pieces), headers, encode_chunked=True)
                else:
                    connection.request("POST", "/submit", body, headers)
                reply = connection.getresponse()
                text = reply.read().decode()
            except (OSError, http.client.HTTPException):
                continue
            finally:
                connection.close()
            assert (reply.status, text[:11]) == (200, "CrashID=bp-"), text
            self.acknowledged[text[11:-1]] = (serial, hashlib.sha256(dump).hexdigest())

    def check(self) -> int:
        """Whether the archive keeps every promise; returns how many crashes are in it."""
        self.gatherers.start()
        self.gatherers.wait_until_ready()
        assert self.gatherers.end(signal.SIGTERM) == 0
        assert [path for path in (self.folder / ".tmp").rglob("*") if path.name.isdecimal()] == []
        found = {}
        for path in (self.folder / "crashes").rglob("*"):
            if path.is_file():
                found[path.stem] = whole(path)
        for crash_id, sent in self.acknowledged.items():
            assert found[crash_id] == sent
        return len(found)


def pause(seconds: float) -> None:
    """The moment of the kill is what is tried: there is nothing to wait for."""
    threading.Event().wait(seconds)


def whole(path: Path) -> tuple[str, str]:
    """Serial and digest of the dump in the file, which has to be whole by every measure it carries."""
    assert path.suffix == ".zip"
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        assert archive.testzip() is None
        document = json.loads(archive.read("raw_crash.json"))
        digest = hashlib.sha256(archive.read("upload_file_minidump")).hexdigest()
    assert document["uuid"] == path.stem
    assert document["metadata"]["dump_checksums"]["upload_file_minidump"] == digest
    return document["Serial"], digest


@pytest.mark.kills
@pytest.mark.timeout(240 + 5 * KILLS)
def test_no_acknowledged_crash_is_lost_and_no_half_one_has_a_name(tmp_path):
    seed = random.randrange(2**32)
    print("seed", seed)
    lanes = [Lane(tmp_path / f"archive{number}", seed + number) for number in range(min(LANES, KILLS))]
    shares = [KILLS // len(lanes) + (number < KILLS % len(lanes)) for number in range(len(lanes))]
    try:
        with ThreadPoolExecutor(len(lanes)) as threads:
            list(threads.map(Lane.kill_often, lanes, shares))
            stored = sum(threads.map(Lane.check, lanes))
    finally:
        for lane in lanes:
            lane.gatherers.close()
    acknowledged = sum(len(lane.acknowledged) for lane in lanes)
    print(f"{KILLS} kills, {sum(lane.sent for lane in lanes)} sent, {acknowledged} acknowledged, {stored} stored")
    assert acknowledged >= KILLS // 10  # else it was not the gatherer that was tried
    assert stored >= acknowledged
