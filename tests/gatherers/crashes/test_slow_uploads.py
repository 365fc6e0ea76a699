"""Clients that are slow, by hundreds, and reports that swell: whoever else comes is answered, and memory stays small."""

import asyncio
import json
import resource
import signal
import sys
import threading
import zlib
from pathlib import Path

import pytest

from lae_monitor.core.limits import MiB
from lae_monitor.net.http_limits import RATE_GRACE

sys.path.insert(0, str(Path(__file__).parents[2] / "faults"))
from crash_gatherers import Gatherers

PATIENCE = 120.0  # seconds; the machine may be slow and busy
FOREVER = 3600.0
DEADLINE = 3.0  # seconds for a head, and between pieces of a body
EVERY = 0.4  # seconds between what drips
DESCRIPTORS = 4096  # both ends of all connections are in this process
MEMORY = 32.0  # MB by which a bomb may make the process grow
HEADERS = {"Content-Type": "multipart/form-data; boundary=B"}

HEAD = b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: 100000\r\n\r\n"
BODY = b'--B\r\nContent-Disposition: form-data; name="d"; filename="d"\r\n\r\nMDMP'
KINDS = {
    "silent head": (b"", b""),
    "dripped head": (b"POST /submit HTTP/1.1\r\nX: ", b"x"),
    "stalled body": (HEAD + BODY, b""),
    "dripped body": (HEAD + BODY, b"x"),  # within every idle deadline, and below the least rate
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


@pytest.mark.parametrize("kinds", [["stalled body"], list(KINDS) * 125], ids=["one", "500"])
def test_slow_uploads_are_cut_at_their_deadlines_while_everybody_is_answered(
    running, field, file, many_descriptors, kinds
):
    with running(head_timeout=DEADLINE, idle_timeout=DEADLINE, total_timeout=FOREVER) as gatherer:
        before, while_all_hung = cut(gatherer), 0
        slow = Slow(gatherer.port, kinds)
        while slow.thread.is_alive():
            assert gatherer.post(b"", {}, "/__lbheartbeat__", "GET")[:2] == (200, "")
            gatherer.accept(field("a", "b"), file("upload_file_minidump", b"MDMP" * 5000))
            while_all_hung += slow.connected == len(kinds) and cut(gatherer) == before
        slow.thread.join()
        assert while_all_hung, "not once were all of them slow at the same time"
        assert sorted(kind for kind, _ in slow.answers) == sorted(kinds)
        for kind, answer in slow.answers:
            assert answer.startswith(b"HTTP/1.1 408"), (kind, answer)
            assert answer.endswith(b"\r\n\r\ntoo_slow\n"), (kind, answer)
        assert cut(gatherer) == before + len(kinds)
        assert gatherer.leftovers() == []
        gatherer.accept(field("a", "b"))
    reasons = {entry["reason"] for entry in gatherer.journal() if entry["verdict"] == "refused"}
    assert reasons == {"too_slow"}


def test_the_least_rate_is_that_of_the_settings(running, field):
    """A body that is slower than it has to be, and one that would be if the settings asked for more."""
    pieces = int(RATE_GRACE / EVERY) + 5
    body = b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * pieces + b"\r\n--B--\r\n"
    head = HEAD.replace(b"100000", b"%d\r\nConnection: close" % len(body))

    async def drip(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        at = len(body) - pieces - 9
        writer.write(head + body[:at])
        answer = asyncio.create_task(reader.read())
        while not answer.done():
            writer.write(body[at : at + 1] if at < len(body) - 9 else body[at:])
            at = at + 1 if at < len(body) - 9 else len(body)
            await asyncio.wait({answer}, timeout=EVERY)
        writer.close()
        return answer.result()

    async def both(*ports: int) -> list[bytes]:
        return await asyncio.gather(*map(drip, ports))

    # Two bytes and a half a second, and 60 at once: less than 64 a second, more than one.
    with running(min_rate=64) as strict:
        refused = strict.port
        del refused
