"""What one input of the fuzzer means, and what has to hold for it, whatever it is.

Its first byte chooses what it is tried as. Whatever comes is accepted, or refused with a code that is registered, within a
second of CPU time; pieces of any size give the same; the parts of a form are those that the library's own parser finds;
what was accepted can be read and shown. Nothing here needs the fuzzer: tests/fuzz/test_fuzz.py tries what it once found.
"""

import gzip
import io
import json
import random
import time
import zipfile
import zlib
from itertools import pairwise
from pathlib import Path

from multipart import MultipartError, MultipartSegment, PushMultipartParser

from lae_monitor.core.names import ClusterName, HostName, new_crash_id
from lae_monitor.core.reasons import REASONS
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.kinds.crashes.config import Settings
from lae_monitor.kinds.crashes.container import Writer
from lae_monitor.kinds.crashes.form import minidump
from lae_monitor.kinds.crashes.intake.parts import Parts
from lae_monitor.kinds.crashes.intake.upload import Intake
from lae_monitor.kinds.crashes.intake.wire import Part
from lae_monitor.kinds.crashes.limits import MAX_HELD, MAX_HELD_PEER, MAX_PART_HEADER, MAX_PART_HEADERS
from lae_monitor.kinds.crashes.minidump import looking
from lae_monitor.kinds.crashes.read import read
from lae_monitor.kinds.crashes.report import MINIDUMP, RAW_CRASH, Report, envelope
from lae_monitor.kinds.crashes.show import show
from lae_monitor.kinds.crashes.throttle.rules import rules_file
from lae_monitor.kinds.pace import Budget
from lae_monitor.net.http import Request

NOW = 1.79e9
SLOW = 1.0  # seconds of CPU time for one input
MOST_CUTS = 6  # of one body; more show nothing new, and cost time
EVERY_BYTE = 64  # bytes of a body that is also cut after each of them
FORM = b"multipart/form-data; boundary=B"
SETTINGS = Settings()
RULES = rules_file("socorro", lambda: NOW)
ABOUT = envelope(
    peer="", host=HostName("h"), cluster=ClusterName("c"), user_agent="", size=1, compressed=False, query={}
)


# ---- what an input is tried as -----------------------------------------------------------------------------------------


def form(body: bytes) -> None:
    """A body with parts, which has to be cut as the library cuts it."""
    request(body, FORM)
    ours, theirs = parts_of_ours(cuts_of(body)), parts_of_the_librarys(body)
    if ours is not None and theirs is not None:
        assert ours == theirs, f"ours {ours}, the library's {theirs}"
    elif ours is not None:  # it takes lines that end in LF alone, and reads Content-Length
        assert b"content-length" in body.lower() or b"\n" in body.replace(b"\r\n", b""), f"only ours takes {ours}"


def packed(body: bytes) -> None:
    """A body that its client compressed, so that what is inside is found by the fuzzer too."""
    request(gzip.compress(body, 1), FORM, b"gzip")


def gzipped(body: bytes) -> None:
    request(body, FORM, b"gzip")


def deflated(body: bytes) -> None:
    request(body, FORM, b"deflate")


def bare(body: bytes) -> None:
    """A minidump alone, and what says that it is one."""
    request(b"MDMP" + body, b"application/octet-stream")


def media(body: bytes) -> None:
    """The head that says how the body is to be read."""
    line, _, rest = body.partition(b"\n")
    kind, _, encoding = line.partition(b"|")
    request(rest, kind, encoding)


def extra(body: bytes) -> None:
    """The JSON annotations of a Firefox client."""
    annotate({"extra": (body, "application/json")})


def stacks(body: bytes) -> None:
    """What signatures are made of."""
    names = ("StackTraces", "JavaException", "JavaStackTrace", "AsyncShutdownTimeout", "AbortMessage", "MozCrashReason")
    values = body.split(b"\0", len(names) - 1)
    annotate({name: (value, "") for name, value in zip(names, values, strict=False)})


def stored(body: bytes) -> None:
    """A file of the archive that somebody has changed."""
    span = Span("crashes/20260921/x.zip", 0, len(body))
    for reader in (lambda: list(read(span, body)), lambda: show(span, body)):
        try:
            reader()
        except Refused as refused:
            assert refused.code == "unreadable"


TRIED = (form, packed, gzipped, deflated, bare, media, extra, stacks, stored)


def one_input(data: bytes) -> None:
    """
    Raises:
        Exception: a promise is broken.
    """
    if not data:
        return
    begun = time.process_time()
    TRIED[data[0] % len(TRIED)](data[1:])
    taken = time.process_time() - begun
    assert taken < SLOW, f"{taken:.2f} s of CPU time for {len(data)} bytes"


# ---- a request ---------------------------------------------------------------------------------------------------------


class Memory:
    """A spool that keeps everything: what is tried here is reading, not the archive."""

    def __init__(self):
        self.data = bytearray()
        self.budget = Budget(MAX_HELD, each=MAX_HELD_PEER)

    def add(self, piece):
        self.data += piece

    def reserve(self, size):
        if not self.budget.take("peer", size):
            raise Refused("busy")

    async def relieve(self):
        pass

    async def look(self, job):
        return job(looking(self.data))


def request(body: bytes, kind: bytes, encoding: bytes = b"") -> None:
    """The same body three times: whole, in some pieces, and if it is short in single bytes."""
    whole = outcome([body], kind, encoding, keep=True)
    ways = [cuts_of(body)] + ([[body[at : at + 1] for at in range(len(body))]] if len(body) <= EVERY_BYTE else [])
    for pieces in ways:
        cut = outcome(pieces, kind, encoding)
        if encoding and isinstance(whole, str) and isinstance(cut, str):
            continue  # damage inside a piece is seen before what was whole in front of it, or after
        assert cut == whole, f"{list(map(len, pieces))}: {cut} instead of {whole}"


def outcome(pieces: list[bytes], kind: bytes, encoding: bytes, *, keep: bool = False):
    """The code of a refusal; of what was accepted, all that is known of it. `keep`: store, read and show it too."""
    spool = Memory()
    intake = Intake(request_of(pieces, kind, encoding), spool, NOW, unkept=SETTINGS.removed_fields)
    try:
        run(intake.read(SETTINGS))
        report = intake.report
        found = (dict(report.annotations), list(report.notes), dict(report.checksums), bytes(spool.data))
        if keep:
            finish(intake._zip, report, spool)
    except Refused as refused:
        assert refused.code in REASONS
        return refused.code
    finally:
        intake.abandon()
    return found


def request_of(pieces: list[bytes], kind: bytes, encoding: bytes) -> Request:
    waiting = iter(pieces)

    async def receive():
        piece = next(waiting, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    headers = [(b"content-type", kind), (b"transfer-encoding", b"chunked")]
    if encoding:
        headers.append((b"content-encoding", encoding))
    query = b"product=P&version=1&guid=x" if sum(map(len, pieces)) % 2 else b"guid=x"  # else files may name the program
    scope = {"type": "http", "method": "POST", "path": "/submit", "query_string": query, "headers": headers}
    return Request({**scope, "client": None}, receive, None)


def cuts_of(body: bytes) -> list[bytes]:
    """`body` in pieces, always the same ones for the same body."""
    source = random.Random(zlib.crc32(body))
    at = sorted({0, len(body), *(source.randrange(len(body) + 1) for _ in range(source.randrange(1, MOST_CUTS)))})
    return [body[begin:end] for begin, end in pairwise(at)] or [b""]


def run(coroutine) -> None:
    """Runs what only ever gives others their turn."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        pass


# ---- a report ----------------------------------------------------------------------------------------------------------


def annotate(values: dict[str, tuple[bytes, str]]) -> None:
    report, spool = Report(SETTINGS.removed_fields), Memory()
    try:
        for name, (value, kind) in values.items():
            report.annotate(Part(name, None, kind, ""), value)
    except Refused as refused:
        assert refused.code in REASONS
        return
    report.read_program()
    finish(Writer(spool.add, NOW), report, spool)


def finish(zipped: Writer, report: Report, spool: Memory) -> None:
    """From a report to a row of the store, and to what people see."""
    crash_id = new_crash_id(NOW)
    RULES.current().decide(report.annotations, program=report.program, crash_id=crash_id, now=NOW, random=lambda: 0.5)
    report.remove(SETTINGS.removed_fields)
    report.check()
    document = report.raw_crash(crash_id, NOW, ABOUT)
    json.loads(document)
    zipped.add(RAW_CRASH, document)
    zipped.finish()
    data = bytes(spool.data)
    span = Span(f"crashes/{crash_id.day}/{crash_id}.zip", 0, len(data))
    (event,) = read(span, data)
    assert event.id == crash_id
    assert event.attrs["product"] == report.program.product, "what was admitted is what is shown"
    assert event.attrs.get("version", "") == report.program.version
    for text in (event.title, event.text, event.group, *event.attrs, *event.attrs.values()):
        text.encode()
    assert "\n" not in event.title + event.group
    show(span, data)


# ---- the parts of a form -----------------------------------------------------------------------------------------------


def parts_of_ours(pieces: list[bytes]) -> list[tuple[str, bytes]] | None:
    """Name and content of each part; None when it is refused."""
    parts = Parts(b"B")
    found: list[tuple[str, bytes]] = []
    name, data = "", b""
    try:
        for piece in pieces:
            for event in parts.feed(piece):
                if event is None:
                    found.append((name, data))
                elif isinstance(event, bytes):
                    data += event
                elif isinstance(event, Part):
                    name, data = event.name, b""
                else:
                    found.append((event[0].name, event[1]))
        parts.finish()
    except Refused as refused:
        assert refused.code in REASONS
        return None
    return found


def parts_of_the_librarys(body: bytes) -> list[tuple[str, bytes]] | None:
    limits = {"max_header_size": MAX_PART_HEADER, "max_header_count": MAX_PART_HEADERS}
    parser = PushMultipartParser(b"B", header_charset="latin-1", **limits)
    found: list[tuple[str, bytes]] = []
    name, data = "", b""
    try:
        for event in parser.parse(body):
            if event is None:
                found.append((name, data))
            elif isinstance(event, MultipartSegment):
                name, data = name_of(event), b""
            else:
                data += event
        parser.close()
    except (MultipartError, Refused):  # what we refuse for its head is of no interest
        return None
    return found


def name_of(segment: MultipartSegment) -> str:
    """The name as we read it: the library has its own view of quotes and escapes, which is not what is compared."""
    head = "".join(f"\r\n{key}: {value}" for key, value in segment.headerlist).encode("latin-1")[2:]
    parts = Parts(b"B")
    ((part, _),) = parts.feed(b"--B\r\n" + head + b"\r\n\r\n\r\n--B--")
    return part.name


# ---- to begin with -----------------------------------------------------------------------------------------------------


def seeds(folder: Path) -> None:
    """Writes inputs of every kind, small ones: the fuzzer makes more of them."""
    part = b'--B\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    dump = minidump(NOW)
    file = b'; filename="a.dmp"\r\nContent-Type: application/octet-stream'
    frames = [{"frames": [{"ip": "0x12", "module_index": 0, "function": "f"}]}]
    traces = {
        "threads": frames,
        "modules": [{"filename": "libxul.so", "base_addr": "0x1"}],
        "crash_info": {"type": "S"},
    }
    document = json.dumps({"ProductName": "P", "StackTraces": traces, "a": [1.5e3, None]}).encode()
    forms = [
        part % (b"prod", b"", b"P") + part % (MINIDUMP.encode(), file, b"MDMP") + b"--B--\r\n",
        part % (b"extra", b'; filename="extra.json"\r\nContent-Type: application/json', b'{"a":"b"}') + b"--B--\r\n",
        b"p\r\n" + part % (b"a%22b", b"\r\nContent-Type: text/plain; charset=utf-16", b"x\0y\0") + b"--B--\r\nepilogue",
    ]
    inputs = [(form, body) for body in forms] + [(packed, body) for body in forms]
    inputs += [
        (gzipped, gzip.compress(forms[0])),
        (gzipped, gzip.compress(forms[1][:40]) + gzip.compress(forms[1][40:])),
    ]
    inputs += [(gzipped, gzip.compress(forms[0]) + damaged_member())]
    inputs += [(deflated, zlib.compress(forms[0])), (deflated, zlib.compress(forms[1], wbits=-15))]
    inputs += [(bare, dump[4:]), (media, b'multipart/mixed; charset=x; boundary="B"|identity\n' + forms[0])]
    inputs += [(extra, document), (extra, b'{"a":' + b"[" * 60 + b"]" * 60 + b"}")]
    inputs += [
        (stacks, json.dumps(traces).encode() + b'\0{"exception":{}}\0java.lang.E: m\n\tat a.b(C.java:1)\0{}\0abort')
    ]
    inputs += [(stored, zipped())]
    for number, (kind, body) in enumerate(inputs):
        (folder / f"{number}-{kind.__name__}").write_bytes(bytes([TRIED.index(kind)]) + body)


def damaged_member() -> bytes:
    """A member of gzip that gives something before it breaks."""
    deflate = zlib.compressobj(wbits=31)
    return deflate.compress(b"y" * 100) + deflate.flush(zlib.Z_FULL_FLUSH) + b"\xff" * 9


def zipped() -> bytes:
    """A small report as it is stored."""
    report, out = Report(), io.BytesIO()
    report.set("prod", "P")
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(MINIDUMP, b"MDMP")
        archive.writestr(RAW_CRASH, report.raw_crash(new_crash_id(NOW), NOW, ABOUT))
    return out.getvalue()
