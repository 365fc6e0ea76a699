"""A crash gatherer stays small, whatever is sent to it."""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from crash_gatherers import PATIENCE, Gatherers

MIB = 2**20
MOST = 80  # MB of resident memory, at any moment
NOISE = random.Random(1).randbytes(20 * MIB)
HEADERS = {"Content-Type": "multipart/form-data; boundary=B"}


@pytest.fixture
def gatherers(tmp_path):
    made = Gatherers(tmp_path / "archive")
    made.start()
    made.wait_until_ready()
    yield made
    made.end(signal.SIGTERM)
    made.close()


def form(*parts: bytes) -> bytes:
    return b"".join(b"--B\r\n" + part + b"\r\n" for part in parts) + b"--B--\r\n"


def field(name: str, value: bytes, media: str = "text/plain") -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\nContent-Type: {media}\r\n\r\n'.encode() + value


def dump(size: int) -> bytes:
    return field("upload_file_minidump", b"MDMP" + NOISE[:size], "application/octet-stream")


def bomb() -> bytes:
    deflate = zlib.compressobj(9, wbits=31)
    head = deflate.compress(b"--B\r\n" + field("d", b"", "application/octet-stream"))
    return head + b"".join(deflate.compress(bytes(MIB)) for _ in range(100)) + deflate.flush()


UPLOADS = {
    "a large dump": (form(field("a", b"b"), dump(20 * MIB)), {}, 1, {200}),
    "a bomb": (bomb(), {"Content-Encoding": "gzip"}, 1, {413}),
    "large annotations": (form(*(field(f"k{n}", b"x" * (2 * MIB - 9)) for n in range(2))), {}, 6, {200, 503}),
    "hungry JSON": (
        form(field("extra", json.dumps({f"k{n}": {} for n in range(24_000)}).encode(), "application/json")), {}, 6, {200, 503}
    ),
    "many middling dumps": (form(field("a", b"b"), dump(900_000)), {}, 30, {200}),
    "many large dumps": (form(field("a", b"b"), dump(3 * MIB)), {}, 20, {200}),
}  # fmt: skip


def test_memory_stays_below_the_limit(gatherers):
    def post(body, headers):
        connection = http.client.HTTPConnection("127.0.0.1", gatherers.port, timeout=PATIENCE)
        try:
            connection.request("POST", "/submit", body, {**HEADERS, **headers})
            return connection.getresponse().status
        finally:
            connection.close()

    for name, (body, headers, count, expected) in UPLOADS.items():
        with ThreadPoolExecutor(count) as clients:
            answers = set(clients.map(post, [body] * count, [headers] * count))
        print(name, answers, memory(gatherers.pid))
        assert answers <= expected
        assert memory(gatherers.pid)["VmHWM"] <= MOST


def memory(pid: int) -> dict[str, int]:
    """What the kernel says, in MB: now and at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) // 1000 for line in lines if line.startswith(("VmHWM", "VmRSS"))}


def test_nothing_heavy_is_imported():
    """The store's engine and the pages belong to other processes."""
    script = "import lae_monitor.kinds.crashes.gather, lae_monitor.archive, sys; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "uvicorn" in loaded
    assert not loaded & {"pyarrow", "chdb", "jinja2", "numpy", "starlette", "twisted"}
