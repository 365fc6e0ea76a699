"""Clients that are slow, by hundreds, and reports that swell: whoever else comes is answered, and memory stays small."""

import asyncio
import http.client
import resource
import signal
import sys
import threading
import zlib
from pathlib import Path

import pytest

from lae_monitor.core.limits import MiB

sys.path.insert(0, str(Path(__file__).parents[3] / "faults"))
from crash_gatherers import Gatherers

PATIENCE = 120.0  # seconds; the machine may be slow and busy
FOREVER = 3600.0
DEADLINE = 3.0  # seconds for a head, and between pieces of a body
EVERY = 0.4  # seconds between what drips
RATE = 1000  # bytes a second; what drips gives a quarter, which the default of 64 would let pass
DESCRIPTORS = 4096  # both ends of all connections are in this process
MEMORY = 32.0  # MB by which a bomb may make the process grow

HEAD = b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: 100000\r\n\r\n"
BODY = b'--B\r\nContent-Disposition: form-data; name="d"; filename="d"\r\n\r\nMDMP'
KINDS = {
    "silent head": (b"", b""),
    "dripped head": (b"POST /submit HTTP/1.1\r\nX: ", b"x"),
    "stalled body": (HEAD + BODY, b""),
    "dripped body": (HEAD + BODY, b"x" * 100),  # within every idle deadline, and below the least rate
}


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Slow:
    """Slow clients in a thread of their own; `answers` is what each of them reads until it is cut."""

    def __init__(self, port: int, kinds: list[str]) -> None:
        self.port = port
        self.kinds = kinds
        self.connected = 0
        self.answers: list[tuple[str, bytes]] = []
        self.thread = threading.Thread(target=lambda: asyncio.run(self.send()))
        self.thread.start()

    async def send(self) -> None:
        self.answers = await asyncio.gather(*map(self.one, self.kinds))

    async def one(self, kind: str) -> tuple[str, bytes]:
        first, piece = KINDS[kind]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(first)
        self.connected += 1
        answer = asyncio.create_task(reader.read())
        try:
            async with asyncio.timeout(PATIENCE):
                while not answer.done():
                    writer.write(piece)
                    await asyncio.wait({answer}, timeout=EVERY)
            return kind, await answer
        finally:
            writer.close()


def cut(gatherer) -> int:
    """Connections that were too slow, as the gatherer counts them."""
    text = gatherer.post(b"", {}, "/metrics", "GET")[1]
    return sum(
        int(float(line.split()[1]))
        for line in text.splitlines()
        if line.startswith('lae_http_cut_connections_total{reason="too_slow"} ')
    )


# Fewer than an address may have that are new: until their heads are read, all of them are.
@pytest.mark.parametrize("kinds", [["stalled body"], list(KINDS) * 120], ids=["one", "480"])
def test_slow_uploads_are_cut_at_their_deadlines_while_everybody_is_answered(
    running, field, file, many_descriptors, kinds
):
    with running(head_timeout=DEADLINE, idle_timeout=DEADLINE, total_timeout=FOREVER, min_rate=RATE) as gatherer:
        before, most = cut(gatherer), 0
        slow = Slow(gatherer.port, kinds)
        while slow.thread.is_alive():
            assert gatherer.post(b"", {}, "/__lbheartbeat__", "GET")[:2] == (200, "")
            gatherer.accept(field("a", "b"), file("upload_file_minidump", b"MDMP" * 5000))
            most = max(most, slow.connected - (cut(gatherer) - before))
        slow.thread.join()
        print(f"at most {most} at a time")
        assert most >= len(kinds) // len(KINDS)  # else nobody else was tried
        assert sorted(kind for kind, _ in slow.answers) == sorted(kinds)
        for kind, answer in slow.answers:
            assert answer.startswith(b"HTTP/1.1 408"), (kind, answer)
            assert answer.endswith(b"\r\n\r\nDiscarded=too_slow"), (kind, answer)
        assert cut(gatherer) == before + len(kinds)
        assert gatherer.leftovers() == []
        gatherer.accept(field("a", "b"))
    reasons = {entry["reason"] for entry in gatherer.journal() if entry["verdict"] == "refused"}
    assert reasons == {"too_slow"}


def zeros(size: int, level: int) -> bytes:
    """A form of `size` zeros, compressed 230 times at level 1, 1,000 times at level 9."""
    compressor = zlib.compressobj(level, wbits=31)
    head = b'--B\r\nContent-Disposition: form-data; name="d"; filename="d"\r\n\r\n'
    pieces = [compressor.compress(head), *(compressor.compress(bytes(MiB)) for _ in range(size // MiB))]
    return b"".join(pieces) + compressor.flush()


def post(port: int, body: bytes, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", "/submit", body, {"Content-Type": "multipart/form-data; boundary=B", **headers})
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


@pytest.fixture
def process(tmp_path):
    """A gatherer in a process of its own, which has had its first report."""
    gatherers = Gatherers(tmp_path / "archive")
    gatherers.start()
    gatherers.wait_until_ready()
    yield gatherers
    assert gatherers.end(signal.SIGTERM) == 0
    gatherers.close()


def memory(pid: int) -> dict[str, float]:
    """MB now, and at most since it began, as the kernel says."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {
        line.split(":")[0]: int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(("VmHWM", "VmRSS"))
    }


@pytest.mark.parametrize("level", [1, 9], ids=["as far as the size allows", "as far as the ratio allows"])
def test_a_bomb_of_200_mb_is_refused_in_little_memory(process, tmp_path, form, field, level):
    assert post(process.port, form(field("a", "b")))[0] == 200
    before = memory(process.pid)["VmRSS"]
    bomb = zeros(210 * MiB, level)
    assert post(process.port, bomb, **{"Content-Encoding": "gzip"}) == (413, "Discarded=inflates_too_far")
    peak = memory(process.pid)["VmHWM"]
    print(f"{len(bomb)} bytes sent, {before:.1f} MB before, {peak:.1f} MB at most")
    assert peak - before < MEMORY
    assert post(process.port, form(field("a", "b")))[0] == 200
    assert len(list((tmp_path / "archive/crashes").rglob("*.zip"))) == 2
