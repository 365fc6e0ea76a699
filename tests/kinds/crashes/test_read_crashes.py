"""One zip of the archive reads as one event; a damaged one is unreadable, and nothing worse."""

import gzip
import io
import json
import random
import struct
import zipfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lae_monitor.core.names import ClusterName, CrashId, HostName, row_key
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Event, Span
from lae_monitor.kinds import KINDS
from lae_monitor.kinds.crashes import read as reader
from lae_monitor.kinds.crashes.container import Writer, entries
from lae_monitor.kinds.crashes.form import minidump
from lae_monitor.kinds.crashes.intake.wire import Part
from lae_monitor.kinds.crashes.minidump import MAX_INFLATED, unwrapped
from lae_monitor.kinds.crashes.report import Report, envelope

RECEIVED = 1795340674.5  # 2026-11-22T09:44:34.5Z
CRASH = CrashId("a1b2c3d4-0000-4000-8000-000000261122")
FURL = "pb://" + "a" * 32 + "@tcp:host:1/" + "secretswissnum"


def crash(annotations, files=None) -> bytes:
    """A zip as the gatherer writes it."""
    report = Report()
    report.merge(json.dumps(annotations).encode())
    pieces = []
    writer = Writer(pieces.append, RECEIVED)
    for name, data in (files or {}).items():
        writer.add(report.name_of(Part(name, "x.dmp", "", "")), data)
        report.add_file(name, len(data), "f" * 64)
    about = envelope(
        peer="10.0.0.7",
        host=HostName("node1"),
        cluster=ClusterName("lae"),
        user_agent="test",
        size=1,
        compressed=False,
        query={},
    )
    writer.add("raw_crash.json", report.raw_crash(CRASH, RECEIVED, about))
    writer.finish()
    return b"".join(pieces)


def event_of(annotations, files=None) -> Event:
    data = crash(annotations, files)
    (event,) = reader.read(Span(f"crashes/20261122/{CRASH}.zip", 0, len(data)), data)
    return event


def test_the_mover_finds_the_reader():
    assert KINDS.reader(f"crashes/20261122/{CRASH}.zip") is reader
    assert reader.WHOLE
    assert reader.cut("crashes/x.zip", b"abc") == 3


def test_a_crash_is_one_event_with_its_place_and_key():
    event = event_of({"ProductName": "LaeTest", "Version": "1.2.3"}, {"upload_file_minidump": minidump(RECEIVED)})
    assert (event.kind, event.level, event.id) == ("crash", "error", CRASH)
    assert event.key == row_key("crash", CRASH)
    assert (event.cluster, event.host, event.received) == ("lae", "node1", RECEIVED)
    assert event.title == "LaeTest 1.2.3 crashed: SIGSEGV"
    assert event.group == "LaeTest | SIGSEGV | lae-test+0x1234"
    assert (event.file, event.offset) == (f"crashes/20261122/{CRASH}.zip", 0)
    assert event.length == len(
        crash({"ProductName": "LaeTest", "Version": "1.2.3"}, {"upload_file_minidump": minidump(RECEIVED)})
    )
    assert event.attrs["upload_file_minidump.sha256"] == "f" * 64
    assert "ProductName: LaeTest\n" in event.text


@pytest.mark.parametrize(
    ("annotations", "title"),
    [
        ({"prod": "Crashpad", "ver": "2"}, "Crashpad 2 crashed"),
        ({"_productName": "Electron", "_version": "3"}, "Electron 3 crashed"),
        ({"prod": "P", "version": "sent"}, "P sent crashed"),
        ({"ProductName": "P", "MozCrashReason": "assert\nfailed"}, "P crashed: assert failed"),
        ({"x": "y"}, "unknown program crashed"),
        ({"ProductName": "P\u202e\x1b[31m\n" * 100}, None),
        ({"ProductName": {"a": 1}}, "unknown program crashed"),
        ({"ProductName": 7, "Version": 1.5}, "7 1.5 crashed"),
    ],
)
def test_titles_say_what_crashed_and_why_in_one_printable_line(annotations, title):
    found = event_of(annotations).title
    assert found.isprintable()
    assert len(found) <= 300
    if title is not None:
        assert found == title


@pytest.mark.parametrize(
    ("sent", "time"),
    [
        ("1795340000", 1795340000.0),
        ("1795340000.25", 1795340000.25),
        (1795340000, 1795340000.0),
        ("5", RECEIVED),
        ("9999999999999", RECEIVED),
        ("nan", RECEIVED),
        ("inf", RECEIVED),
        ("yesterday", RECEIVED),
        ("9" * 5000, RECEIVED),
    ],
)
def test_the_time_is_the_crashs_own_when_that_can_be_true(sent, time):
    assert event_of({"CrashTime": sent}).time == time


def test_secrets_and_private_fields_do_not_reach_the_rows():
    event = event_of(
        {"furl": FURL, "Email": "someone@example.com", FURL: "x", "ProductName": FURL, "MozCrashReason": FURL}
    )
    shown = repr(event)
    assert "secretswissnum" not in shown
    assert "someone@example.com" not in shown
    assert event.attrs["Email"] == "***"


def test_long_annotations_are_shortened_in_the_text_and_kept_out_of_the_attrs():
    event = event_of({"Long": "x" * 10_000, "Short": "y", **{f"k{n:04}": "z" for n in range(500)}, "n" * 5000: "v"})
    assert "[10000 characters]" in event.text
    assert len(event.text) <= 64 * 1024
    assert "Long" not in event.attrs
    assert len(event.attrs) <= 110
    assert max(map(len, event.attrs)) <= 100


def test_a_dump_that_is_none_does_not_matter():
    event = event_of({"ProductName": "P"}, {"upload_file_minidump": b"garbage", "log.txt": b"hello"})
    assert event.title == "P crashed"
    assert event.attrs["log.txt.size"] == "5"


DUMP = minidump(RECEIVED)
FAR = struct.pack("<I", len(DUMP) + 1)


@pytest.mark.parametrize(
    ("dump", "problem"),
    [
        (DUMP, None),
        (b"", "the minidump has 0 bytes, fewer than the header of a minidump"),
        (b"MZ" + DUMP[2:], "the minidump does not begin with MDMP, as a minidump does"),
        (b"PMDM" + DUMP[4:], "the minidump is of a big-endian machine, and not read"),
        (DUMP[:4] + b"\x01\x02" + DUMP[6:], "the minidump has the version 0x0201, a minidump 0xa793"),
        (DUMP[:40], "the minidump says that it has 5 streams, and their table ends beyond the file: it was cut short"),
        (
            DUMP[:12] + FAR + DUMP[16:],
            "the minidump says that it has 5 streams, and their table ends beyond the file: it was cut short",
        ),
        (DUMP[:-200], "the minidump has 3 of its 5 streams beyond the end of the file: it was cut short"),
    ],
    ids=range(8),
)
def test_what_is_wrong_with_a_dump_is_said_and_refuses_nothing(dump, problem):
    event = event_of({"ProductName": "P"}, {"upload_file_minidump": dump})
    assert event.attrs["upload_file_minidump.valid"] == ("no" if problem else "yes")
    assert event.attrs.get("dump.problem") == problem
    assert (f"dump.problem: {problem}" in event.text) == bool(problem)


@pytest.mark.parametrize(
    ("dump", "wrapped"),
    [
        (gzip.compress(DUMP), "gzip"),
        (
            b'--b\r\nContent-Disposition: form-data; name="upload_file_minidump"\r\n\r\n' + DUMP + b"\r\n--b--",
            "multipart",
        ),
        (gzip.compress(DUMP + bytes(64 * 1024 * 1024)), "gzip"),
    ],
    ids=["gzip", "multipart", "a bomb"],
)
def test_a_dump_within_something_else_is_looked_into(dump, wrapped):
    event = event_of({"ProductName": "P"}, {"upload_file_minidump": dump})
    assert event.title == "P crashed: SIGSEGV"
    assert event.attrs["dump.wrapped"] == wrapped
    assert event.attrs["upload_file_minidump.valid"] == "yes"


@pytest.mark.parametrize(
    "dump",
    [b"\x1f\x8b" + b"no gzip at all" * 9, b"--" + b"x" * 70_000 + DUMP, gzip.compress(b"x" * 99)],
    ids=["no gzip", "a boundary too long", "gzip of something else"],  # gzip's header has the time of day
)
def test_what_only_looks_like_a_wrapped_dump_is_none(dump):
    event = event_of({"ProductName": "P"}, {"upload_file_minidump": dump})
    assert event.title == "P crashed"
    assert event.attrs["upload_file_minidump.valid"] == "no"


def test_a_compressed_dump_is_inflated_only_so_far():
    inner, wrapped = unwrapped(gzip.compress(DUMP + bytes(2 * MAX_INFLATED)))
    assert (len(inner), wrapped) == (MAX_INFLATED, "gzip")


def test_two_products_never_share_a_group_and_versions_do():
    stacks = json.dumps({"threads": [{"frames": [{"function": "Lemming::Jump()"}]}]})

    def group(product, version):
        return event_of({"ProductName": product, "Version": version, "StackTraces": stacks}).group

    assert group("A", "1") == group("A", "2") == "A | Lemming::Jump"
    assert group("B", "1") == "B | Lemming::Jump"
    assert group("A | B", "1") == "A / B | Lemming::Jump"


def test_the_signature_and_what_it_was_made_from_are_attributes():
    event = event_of({"ProductName": "P", "signature": "the client's own"}, {"upload_file_minidump": DUMP})
    assert event.attrs["signature"] == "SIGSEGV | lae-test+0x1234"
    assert event.attrs["signature.why"] == "reason and module: there is no stack"
    assert event.attrs["dump.offset"] == "0x1234"
    hidden = event_of({"ProductName": "P", "AbortMessage": FURL, "JavaStackTrace": f"{FURL}\nx"})
    assert "secretswissnum" not in repr(hidden)


@pytest.mark.parametrize(
    ("digit", "metadata", "attrs"),
    [
        ("0", {}, {}),
        ("1", {}, {"throttle": "defer"}),
        (
            "1",
            {"throttle_rule": "has_comments", "throttle_result": "defer"},
            {"throttle": "defer", "throttle.rule": "has_comments"},
        ),
        ("0", {"throttle_rule": "all", "throttle_result": "accept"}, {}),
        ("1", {"throttle_rule": 7, "throttle_result": ["x"]}, {"throttle": "defer"}),
    ],
)
def test_what_the_throttle_rules_put_off_is_told(digit, metadata, attrs):
    def change(document):
        document["uuid"] = f"{CRASH[:-7]}{digit}{CRASH[-6:]}"
        document["metadata"] |= metadata

    data = rezipped(change)
    (event,) = reader.read(Span("crashes/x.zip", 0, len(data)), data)
    assert {name: value for name, value in event.attrs.items() if name.startswith("throttle")} == attrs


def rezipped(change, compression=zipfile.ZIP_STORED) -> bytes:
    """A zip with its document changed by `change`."""
    files = {name: bytes(content) for name, content in entries(crash({"a": "b"})).items()}
    document = json.loads(files["raw_crash.json"])
    change(document)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("raw_crash.json", json.dumps(document))
    return out.getvalue()


def without(*path):
    def change(document):
        for part in path[:-1]:
            document = document[part]
        del document[path[-1]]

    return change


def with_value(value, *path):
    def change(document):
        for part in path[:-1]:
            document = document[part]
        document[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zip",
        crash({"a": "b"})[:-30],
        crash({"a": "b"})[10:],
        rezipped(without("metadata")),
        rezipped(without("uuid")),
        rezipped(with_value("../../x", "uuid")),
        rezipped(with_value("../../x", "metadata", "host")),
        rezipped(with_value(None, "metadata", "cluster")),
        rezipped(with_value("never", "submitted_timestamp")),
        rezipped(with_value([], "metadata", "dump_checksums")),
        rezipped(lambda document: None, zipfile.ZIP_DEFLATED),
    ],
    ids=range(12),
)
def test_what_is_no_crash_is_unreadable(data):
    with pytest.raises(Refused) as refused:
        list(reader.read(Span("crashes/x.zip", 0, len(data)), data))
    assert refused.value.code == "unreadable"


def test_a_dump_whose_bytes_have_changed_is_unreadable():
    data = crash({"a": "b"}, {"upload_file_minidump": b"MDMP-of-the-test"})
    with pytest.raises(Refused, match="checksum"):
        entries(data.replace(b"MDMP-of-the-test", b"MDMP-of-the-text"))


def test_a_document_that_is_missing_nested_or_no_object_is_unreadable():
    for content in (None, b"[" * 100_000 + b"]" * 100_000, b"[]", b"\xff", b"7"):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("other" if content is None else "raw_crash.json", content or b"")
        with pytest.raises(Refused, match="unreadable"):
            list(reader.read(Span("crashes/x.zip", 0, 1), out.getvalue()))


def test_entries_that_overlap_or_claim_more_than_there_is_are_unreadable():
    """A zip bomb needs compression or overlapping entries; we read neither."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("raw_crash.json", b"x" * 1000)
        info = archive.infolist()[0]
        for number in range(50):
            twin = zipfile.ZipInfo(f"twin{number}")
            for slot in ("compress_size", "file_size", "CRC", "header_offset", "compress_type", "flag_bits"):
                setattr(twin, slot, getattr(info, slot))
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
    with pytest.raises(Refused, match="unreadable"):
        entries(out.getvalue())


WHOLE = crash(
    {"ProductName": "LaeTest", "Version": "1", "CrashTime": "1795340000"}, {"upload_file_minidump": minidump(RECEIVED)}
)


def outcome(data: bytes) -> str:
    try:
        rows = list(reader.read(Span("crashes/x.zip", 0, len(data)), data))
    except Refused as refused:
        return refused.code
    return "one event" if len(rows) == 1 else "another number of rows"


@given(seed=st.integers(0, 2**32), changes=st.integers(1, 20))
@example(seed=0, changes=1)
def test_damage_gives_rows_or_unreadable_and_nothing_else(seed, changes):
    damaged = bytearray(WHOLE)
    source = random.Random(seed)
    for _ in range(changes):
        match source.randrange(3):
            case 0:
                damaged[source.randrange(len(damaged))] = source.randrange(256)
            case 1:
                start = source.randrange(len(damaged))
                del damaged[start : start + source.randrange(1, 50)]
            case 2:
                damaged[source.randrange(len(damaged)) :][:4] = source.randbytes(4)
        if not damaged:
            break
    assert outcome(bytes(damaged)) in {"unreadable", "one event"}
