"""A crash gatherer of ours in a thread, raw HTTP clients, and the archive as an outsider sees it."""

import asyncio
import gzip
import http.client
import io
import json
import socket
import threading
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop

from lae_monitor.archive import Archive, Journal, Reserve
from lae_monitor.config.settings import Fleet, State
from lae_monitor.config.settings import Settings as AllSettings
from lae_monitor.config.values import Listen
from lae_monitor.kinds.context import Context
from lae_monitor.kinds.crashes.config import Settings
from lae_monitor.kinds.crashes.gather import gather

PATIENCE = 60.0  # seconds; the machine may be slow and busy


class Gatherer:
    """A running gatherer."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def exchange(self, *pieces: bytes, half_close: bool = False) -> bytes:
        """Sends raw bytes; returns everything until the server closes."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def post(self, body, headers=None, path="/submit", method="POST"):
        """Status, text and headers of the reply."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(
                method, path, body=body, headers=headers or {}, encode_chunked=not isinstance(body, bytes)
            )
            reply = connection.getresponse()
            return reply.status, reply.read().decode(), dict(reply.getheaders())
        finally:
            connection.close()

    def submit(self, *parts: bytes, encoding: str | None = None, **headers: str):
        """Posts a form made of `parts`."""
        body = form(*parts)
        if encoding:
            body = gzip.compress(body)
            headers["Content-Encoding"] = encoding
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.post(body, {"Content-Type": "multipart/form-data; boundary=B", **named})

    def accept(self, *parts: bytes, **headers):
        """Posts a form that has to be accepted; returns the stored files by name."""
        status, text, _ = self.submit(*parts, **headers)
        assert (status, text[:12]) == (200, "CrashID=bp-"[:12] + text[11:12]), text
        return self.stored(text)

    def stored(self, reply: str) -> dict[str, bytes]:
        """What is in the archive for the crash that `reply` acknowledges."""
        assert reply.startswith("CrashID=bp-"), reply
        assert reply.endswith("\n")
        crash_id = reply[len("CrashID=bp-") : -1]
        data = (self.folder / "crashes" / f"20{crash_id[-6:]}" / f"{crash_id}.zip").read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert archive.testzip() is None
            assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
            names = archive.namelist()
            assert len(set(names)) == len(names)
            return {name: archive.read(name) for name in names}

    def files(self) -> list[Path]:
        return [path for path in (self.folder / "crashes").rglob("*") if path.is_file()]

    def leftovers(self) -> list[Path]:
        """Temporary files that stay; a probe of the archive leaves one for a moment."""
        deadline = time.monotonic() + PATIENCE
        while found := [path for path in (self.folder / ".tmp").rglob("*") if path.is_file() and path.name.isdecimal()]:
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        return found

    def journal(self) -> list[dict]:
        return [
            json.loads(line)
            for path in sorted((self.folder / "journal").rglob("*.jsonl"))
            for line in path.read_text().splitlines()
        ]


@contextmanager
def _running(folder: Path, *, reserve=None, fleet=None, kernel=None, on_context=None, **settings):
    """A gatherer whose archive is `folder`; it has ended, receipts written, when the context ends."""
    ready = threading.Event()
    state = {}

    async def main():
        options = {"kernel": kernel} if kernel else {}
        archive = Archive([folder], "gather-crashes", reserve=reserve or Reserve(size=0), **options)
        await archive.open()
        context = Context(
            settings=AllSettings(
                fleet=fleet or Fleet(),
                state=State(path=folder.parent / "state"),
                gatherers={"crashes": Settings(listen=Listen("127.0.0.1:0"), **settings)},
            ),
            archive=archive,
            journal=Journal(archive),
            ready=lambda text: (state.update(text=text), ready.set()),
        )
        state.update(loop=asyncio.get_running_loop(), context=context)
        if on_context:
            on_context(context)
        try:
            await gather(context)
        finally:
            await archive.close()

    def run():
        try:
            uvloop.run(main())
        except BaseException as error:
            state["error"] = error
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="gatherer")
    thread.start()
    assert ready.wait(PATIENCE)
    if "error" in state:
        raise state["error"]
    try:
        yield Gatherer(folder, int(state["text"].rpartition(":")[2].split("/")[0]))
    finally:
        state["loop"].call_soon_threadsafe(state["context"].stop.set)
        thread.join(PATIENCE)
        assert not thread.is_alive()
    if "error" in state:
        raise state["error"]


@pytest.fixture
def running(tmp_path):
    def start(**options):
        return _running(tmp_path / "archive", **options)

    return start


@pytest.fixture
def gatherer(running):
    with running() as found:
        yield found


def _field(name: str, value: bytes | str, headers: str = "") -> bytes:
    """A part of a form that is an annotation."""
    data = value if isinstance(value, bytes) else value.encode()
    return f'Content-Disposition: form-data; name="{name}"\r\n{headers}\r\n'.encode() + data


def _file(name: str, data: bytes, filename: str = "x.dmp", media: str = "application/octet-stream") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: {media}\r\n\r\n'
    return head.encode() + data


def form(*parts: bytes, boundary: bytes = b"B") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"


@pytest.fixture(name="field")
def field_fixture():
    return _field


@pytest.fixture(name="file")
def file_fixture():
    return _file


@pytest.fixture(name="form")
def form_fixture():
    return form
