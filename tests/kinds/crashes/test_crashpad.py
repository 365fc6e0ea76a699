"""Chromium's Crashpad client succeeds as it is: chunked, compressed or not, without a proxy before us."""

import hashlib
import json
import struct

import pytest

from lae_monitor.core.rows import Span
from lae_monitor.kinds.crashes.minidump import summarise
from lae_monitor.kinds.crashes.read import read

UPLOADED = 1


@pytest.mark.parametrize("options", [(), ("--no-upload-gzip",)], ids=["gzip", "plain"])
def test_a_real_crash_is_stored_byte_for_byte_and_the_client_knows(gatherer, crash_with_crashpad, tmp_path, options):
    attachment = tmp_path / "my-log.file.txt"
    attachment.write_bytes(b"the last words\n")
    dump, meta = crash_with_crashpad(
        f"http://127.0.0.1:{gatherer.port}/submit",
        '--annotation=odd%"key=odd\nvalue',
        f"--attachment={attachment}",
        *options,
    )
    version, attempts, _, _, attributes = struct.unpack_from("<iiqqB", meta)
    reply = meta[32:].decode()
    assert (version, attempts, attributes) == (1, 1, UPLOADED)
    stored = gatherer.stored(reply)
    assert stored["upload_file_minidump"] == dump
    assert stored["my-log.file.txt"] == b"the last words\n"
    document = json.loads(stored["raw_crash.json"])
    assert document["ProductName"] == document["prod"] == "LaeTest"
    assert document["Version"] == document["ver"] == "1.2.3"
    assert document['odd%"key'] == "odd\nvalue"
    assert document["guid"] == document["metadata"]["query"]["guid"]
    metadata = document["metadata"]
    assert metadata["dump_checksums"] == {
        "upload_file_minidump": hashlib.sha256(dump).hexdigest(),
        "my-log.file.txt": hashlib.sha256(b"the last words\n").hexdigest(),
    }
    assert metadata["payload_compressed"] == ("0" if options else "1")
    assert metadata["filenames"]["my-log.file.txt"] == "my-log.file.txt"
    assert metadata["user_agent"].startswith("Crashpad/")
    assert metadata["collector_notes"] == []


def test_a_real_crash_reads_as_one_event(gatherer, crash_with_crashpad):
    dump, _ = crash_with_crashpad(f"http://127.0.0.1:{gatherer.port}/submit")
    (path,) = gatherer.files()
    data = path.read_bytes()
    (event,) = read(Span(f"crashes/{path.parent.name}/{path.name}", 0, len(data)), data)
    assert event.title == "LaeTest 1.2.3 crashed: SIGSEGV"
    assert event.host == "127.0.0.1"
    assert event.attrs["dump.cpu"] == "x86-64"
    assert event.attrs["upload_file_minidump.size"] == str(len(dump))
    summary = summarise(dump)
    assert (summary.os, summary.streams, summary.code) == ("Linux", 9, 11)
    assert summary.address == 0xDEAD0000
    assert ".so" in summary.module


def test_a_client_that_is_refused_knows_too(running, crash_with_crashpad):
    with running(max_body=1000) as gatherer:
        _, meta = crash_with_crashpad(f"http://127.0.0.1:{gatherer.port}/submit", "--no-upload-gzip")
        assert struct.unpack_from("<iiqqB", meta)[4] == 0
        assert gatherer.files() == []
    assert [entry["reason"] for entry in gatherer.journal()] == ["body_too_large"]
