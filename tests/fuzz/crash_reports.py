"""What anybody can send to the crash collector, as atheris finds it: python tests/fuzz/crash_reports.py [libFuzzer options]

Each input is a whole request: its first bytes choose encoding and pieces, the rest is the body. A report is accepted or
refused with a code, within a second of CPU time; what was accepted can be read and shown.
"""

import asyncio
import gzip
import json
import sys
import tempfile
import time
import zlib
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lae_monitor", "multipart", "zipfile"]):
    from lae_monitor.core.ids import new_crash_id
    from lae_monitor.core.names import ClusterName, HostName
    from lae_monitor.core.refusals import Refused
    from lae_monitor.core.rows import Span
    from lae_monitor.gatherers.crashes.config import Settings
    from lae_monitor.gatherers.crashes.container import Writer
    from lae_monitor.gatherers.crashes.intake import Intake
    from lae_monitor.gatherers.crashes.read import read
    from lae_monitor.gatherers.crashes.report import RAW_CRASH, Report, envelope
    from lae_monitor.gatherers.crashes.sample import minidump
    from lae_monitor.gatherers.crashes.show import show
    from lae_monitor.gatherers.crashes.spool import Budget
    from lae_monitor.gatherers.crashes.wire import Part
    from lae_monitor.net.http import Request

NOW = 1.79e9
SLOW = 1.0  # seconds of CPU time for one input
ENCODINGS = (b"", b"gzip", b"deflate", b"x-gzip", b"identity")
STEPS = (1, 7, 100, 65536)
TYPES = (b"multipart/form-data; boundary=B", b'multipart/mixed; charset=x; boundary="B"', b"application/octet-stream")


class Memory:
    """A spool that keeps everything: what is tried here is reading, not the archive."""

    def __init__(self):
        self.data = bytearray()
        self.budget = Budget()

    def add(self, piece):
        self.data += piece

    def reserve(self, size):
        if not self.budget.take("peer", size):
            raise Refused("busy")

    async def relieve(self):
        pass


def request_of(data: bytes) -> Request:
    choice, body = data[0], data[1:]
    encoding, step = ENCODINGS[choice % 5], STEPS[choice // 5 % 4]
    media = TYPES[choice // 20 % 3]
    pieces = [body[at : at + step] for at in range(0, len(body), step)] or [b""]
    waiting = iter(pieces)

    async def receive():
        piece = next(waiting, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    headers = [(b"content-type", media), (b"transfer-encoding", b"chunked")]
    if encoding:
        headers.append((b"content-encoding", encoding))
    query = b"product=P&version=1&guid=" + body[:20].hex().encode()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/submit",
        "query_string": query,
        "headers": headers,
        "client": None,
    }
    return Request(scope, receive, None)


def whole_request(data: bytes) -> None:
    """A body on its way from the socket to a row of the store."""
    spool = Memory()
    request = request_of(data)
    intake = Intake(request, spool, NOW)
    try:
        try:
            run(intake.read(Settings()))
        except Refused:
            return
        finish(intake._zip, intake.report, spool, request.received)
    finally:
        intake.abandon()


def json_part(data: bytes) -> None:
    """The JSON annotations of a Firefox client."""
    report = Report()
    try:
        report.annotate(Part("extra", "extra.json", "application/json", ""), data)
    except Refused:
        return
    spool = Memory()
    finish(Writer(spool.add, NOW), report, spool, len(data))


def finish(zipped: Writer, report: Report, spool: Memory, size: int) -> None:
    report.check()
    report.remove(["Email"])
    crash_id = new_crash_id(NOW)
    about = envelope(
        peer="", host=HostName("h"), cluster=ClusterName("c"), user_agent="", size=size, compressed=False, query={}
    )
    document = report.raw_crash(crash_id, NOW, about)
    json.loads(document)
    zipped.add(RAW_CRASH, document)
    zipped.finish()
    stored = bytes(spool.data)
    span = Span(f"crashes/{crash_id.day}/{crash_id}.zip", 0, len(stored))
    (event,) = read(span, stored)
    assert event.id == crash_id
    event.title.encode()
    event.text.encode()
    show(span, stored)


def run(coroutine) -> None:
    """Runs what only ever gives others their turn."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        pass


def one_input(data: bytes) -> None:
    if not data:
        return
    begun = time.process_time()
    if data[0] == 255:
        json_part(data[1:])
    else:
        whole_request(data)
    taken = time.process_time() - begun
    assert taken < SLOW, f"{taken:.2f} s of CPU time for {len(data)} bytes"


def seeds(folder: Path) -> None:
    """Reports to begin with."""
    part = b'--B\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    dump = minidump(NOW)
    file = b'; filename="a.dmp"\r\nContent-Type: application/octet-stream'
    extra = json.dumps(
        {"ProductName": "P", "StackTraces": json.dumps({"threads": [{"frames": [{"ip": "0x1"}]}]})}
    ).encode()
    forms = [
        part % (b"prod", b"", b"P") + part % (b"upload_file_minidump", file, dump) + b"--B--\r\n",
        part % (b"extra", b'; filename="extra.json"\r\nContent-Type: application/json', extra) + b"--B--\r\n",
        part % (b"a%22b", b"\r\nContent-Type: text/plain; charset=utf-16", b"x\0y\0") + b"--B--\r\nepilogue",
    ]
    for number, form in enumerate(forms):
        bodies = {0: form, 1: gzip.compress(form), 2: zlib.compress(form), 5: form, 6: gzip.compress(form), 15: form}
        for choice, body in bodies.items():
            (folder / f"{number}-{choice}").write_bytes(bytes([choice]) + body)
    (folder / "bare").write_bytes(bytes([40]) + dump)
    (folder / "json").write_bytes(b"\xff" + extra)
    (folder / "deep").write_bytes(b"\xff" + b'{"a":' + b"[" * 60 + b"]" * 60 + b"}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        seeds(Path(folder))
        atheris.Setup([*sys.argv, folder], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    asyncio.set_event_loop(asyncio.new_event_loop())
    main()
