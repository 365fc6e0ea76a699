"""The least that a durable crash collector has to do, on the server that ours runs on: python -m bench.crash_floor PORT FOLDER

Read the body, gunzip it, find the parts by their boundary, hash the dump, make the JSON and an id; one file, synced, renamed,
its folder synced; reply. No limits, no notes, no rules, no receipts, no metrics.
"""

import asyncio
import gzip
import hashlib
import json
import os
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvicorn

THREADS = 8  # the archive's own


def parse(body: bytes, boundary: bytes) -> tuple[dict[str, str], bytes]:
    """The annotations and the dump."""
    fields: dict[str, str] = {}
    dump = b""
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, data = part[2:-2].partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        if b"filename=" in head:
            dump = data
        else:
            fields[name] = data.decode()
    return fields, dump


class Floor:
    """The application."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._threads = ThreadPoolExecutor(THREADS)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        pieces = []
        more = True
        while more:
            message = await receive()
            pieces.append(message.get("body", b""))
            more = message.get("more_body", False)
        boundary = headers[b"content-type"].partition(b"boundary=")[2]
        compressed = b"content-encoding" in headers
        loop = asyncio.get_running_loop()
        crash_id = await loop.run_in_executor(self._threads, self._store, b"".join(pieces), boundary, compressed)
        reply = f"CrashID=bp-{crash_id}\n".encode()
        head = [(b"content-type", b"text/plain"), (b"content-length", str(len(reply)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": reply})

    def _store(self, body: bytes, boundary: bytes, compressed: bool) -> str:
        fields, dump = parse(gzip.decompress(body) if compressed else body, boundary)
        crash_id = str(uuid.uuid4())
        digest = hashlib.sha256(dump).hexdigest()
        document = json.dumps({**fields, "uuid": crash_id, "dump_checksums": {"upload_file_minidump": digest}})
        name = str(self._folder / crash_id)
        fd = os.open(f"{name}.tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.writev(fd, [document.encode(), dump])
        os.fsync(fd)
        os.close(fd)
        os.rename(f"{name}.tmp", name)
        os.fsync(self._place)
        return crash_id


def main() -> None:
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    config = uvicorn.Config(
        Floor(folder), port=port, http="httptools", loop="uvloop", lifespan="off", access_log=False, log_level="warning"
    )
    server = uvicorn.Server(config)

    async def run() -> None:
        serving = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        print("lae-monitor is ready", flush=True)
        await serving

    import uvloop  # noqa: PLC0415

    uvloop.run(run())


if __name__ == "__main__":
    main()
