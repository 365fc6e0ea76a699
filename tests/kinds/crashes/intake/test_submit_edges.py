"""What clients really send, and what only hostile ones send: each has one answer."""

import gzip
import hashlib
import json
import zlib
from pathlib import Path

import pytest

DUMP = b"MDMP" + bytes(range(256)) * 8
ANNOTATION = b'Content-Disposition: form-data; name="ProductName"\r\n\r\nLaeTest'
JSON = "application/json"


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def document_of(stored: dict[str, bytes]) -> dict:
    return json.loads(stored["raw_crash.json"])


def notes_of(stored: dict[str, bytes]) -> str:
    return "\n".join(document_of(stored)["metadata"]["collector_notes"])


# ---- accepted ------------------------------------------------------------------------------------------------------


def test_a_plain_report_is_stored_whole(gatherer, file):
    status, text, headers = gatherer.submit(ANNOTATION, file("upload_file_minidump", DUMP), User_Agent="Breakpad/1.0")
    assert (status, headers["content-type"]) == (200, "text/plain")
    assert "transfer-encoding" not in headers
    stored = gatherer.stored(text)
    document = document_of(stored)
    metadata = document["metadata"]
    assert stored["upload_file_minidump"] == DUMP
    assert document["ProductName"] == "LaeTest"
    assert document["version"] == 2
    assert f"CrashID=bp-{document['uuid']}\n" == text
    assert document["submitted_timestamp"].endswith("+00:00")
    assert metadata.pop("payload_size") > len(DUMP)
    assert metadata == {
        "payload": "multipart",
        "payload_compressed": "0",
        "collector_notes": [],
        "dump_checksums": {"upload_file_minidump": hashlib.sha256(DUMP).hexdigest()},
        "filenames": {"upload_file_minidump": "x.dmp"},
        "user_agent": "Breakpad/1.0",
        "throttle_rule": "accept_everything",
        "throttle_result": "accept",
        "throttle_rate": 100,
        "legacy_processing": 0,
        "peer": "127.0.0.1",
        "host": "127.0.0.1",
        "cluster": "lae",
        "query": {},
        "replaced": {},
    }


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data; boundary=B",
        "multipart/mixed; boundary=B",
        'multipart/form-data; boundary="B"',
        "multipart/form-data; charset=utf-8; boundary=B",
        "Multipart/Form-Data; Boundary=B",
        "multipart/form-data;boundary=B;charset=utf-8",
        'MULTIPART/MIXED ; charset="a;b" ; BOUNDARY = "B"',
    ],
)
def test_every_way_to_name_a_boundary(gatherer, form, content_type):
    status, text, _ = gatherer.post(form(ANNOTATION), {"Content-Type": content_type})
    assert status == 200, text
    gatherer.stored(text)


def test_a_boundary_with_odd_characters_unquoted_and_inside_a_dump(gatherer, form, file):
    boundary = b"---MultipartBoundary-a'()+_,-./:=?B---"
    tricky = b"MDMP--" + boundary + b"\n--" + boundary + b"--\r--" + boundary + b"\r\n--" + boundary[:-1] + b"\r"
    body = form(ANNOTATION, file("upload_file_minidump", tricky), boundary=boundary)
    status, text, _ = gatherer.post(body, {"Content-Type": f"multipart/form-data; boundary={boundary.decode()}"})
    assert status == 200, text
    assert gatherer.stored(text)["upload_file_minidump"] == tricky


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data, wbits=-15)),
        ("gzip", lambda data: gzip.compress(data[:50]) + gzip.compress(b"") + gzip.compress(data[50:])),
        ("identity", lambda data: data),
    ],
    ids=["gzip", "GZIP", "x-gzip", "zlib", "raw deflate", "members", "identity"],
)
@pytest.mark.parametrize("step", [1, 7, 10**6])
def test_every_compression_in_pieces_of_any_size(gatherer, form, file, encoding, compress, step):
    body = compress(form(ANNOTATION, file("upload_file_minidump", DUMP)))
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    head = (
        b"POST /submit HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=B\r\n"
        b"Content-Encoding: " + encoding.encode() + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    answer = gatherer.exchange(head, chunked(*pieces))
    assert answer.startswith(b"HTTP/1.1 200"), answer
    stored = gatherer.stored(answer.partition(b"\r\n\r\n")[2].decode())
    assert stored["upload_file_minidump"] == DUMP
    assert document_of(stored)["metadata"]["payload_size"] == len(body)
    assert document_of(stored)["metadata"]["payload_compressed"] == "1"


def test_trailing_junk_after_gzip_is_noted(gatherer, form):
    body = gzip.compress(form(ANNOTATION)) + b"junk" * 100
    headers = {"Content-Type": "multipart/form-data; boundary=B", "Content-Encoding": "gzip"}
    status, text, _ = gatherer.post(body, headers)
    assert status == 200
    assert "after the end of the compressed data" in notes_of(gatherer.stored(text))


def test_crashpads_socket_transport_speaks_http_1_0_in_chunks(gatherer, form, file):
    body = gzip.compress(form(ANNOTATION, file("upload_file_minidump", DUMP)))
    head = (
        b"POST /submit?product=LaeTest&version=1 HTTP/1.0\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: multipart/form-data; boundary=B\r\n\r\n"
    )
    answer = gatherer.exchange(head, chunked(body[:100], body[100:]))  # returns: the server has closed
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"chunked" not in answer.lower()
    assert gatherer.stored(answer.partition(b"\r\n\r\n")[2].decode())["upload_file_minidump"] == DUMP


def test_preamble_epilogue_and_expect_are_fine(gatherer, form):
    body = b"preamble\r\n" + form(ANNOTATION) + b"epilogue\r\n"
    head = b"POST /submit HTTP/1.0\r\nExpect: 100-continue\r\nContent-Type: multipart/form-data; boundary=B\r\n"
    answer = gatherer.exchange(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert b"CrashID=bp-" in answer


def test_json_annotations_merge_with_fields_and_win(gatherer, field):
    extra = json.dumps({"ProductName": "FromJson", "Number": 7, "Nothing": None, "Deep": {"a": [1, 2]}, "é": "ü"})
    for parts in (
        (field("extra", extra, "Content-Type: application/json\r\n"), ANNOTATION, field("Only", "field")),
        (ANNOTATION, field("Only", "field"), field("other", extra, "Content-Type: application/json\r\n")),
        (ANNOTATION, field("Only", "field"), field("extra", extra)),
    ):
        stored = gatherer.accept(*parts)
        document = document_of(stored)
        assert document["ProductName"] == "FromJson"
        assert document["Only"] == "field"
        assert (document["Number"], document["Nothing"], document["Deep"], document["é"]) == (
            7,
            None,
            {"a": [1, 2]},
            "ü",
        )
        assert "extra" not in document
        assert document["metadata"]["payload"] == "json"
        notes = notes_of(stored)
        assert "includes annotations in both json-encoded extra and formdata parts" in notes
        assert "'Number' is not text" in notes


def test_firefox_sends_extra_with_a_file_name(gatherer, file):
    extra = json.dumps({"ProductName": "Firefox", "MinidumpSha256Hash": hashlib.sha256(DUMP).hexdigest()}).encode()
    report = (
        file("extra", extra, "extra.json", JSON),
        file("upload_file_minidump", DUMP),
        file("memory_report", gzip.compress(b"{}"), "memory.json.gz", "application/gzip"),
    )
    stored = gatherer.accept(*report)
    assert set(stored) == {"raw_crash.json", "upload_file_minidump", "memory_report"}
    assert notes_of(stored) == ""
    stored = gatherer.accept(*report[:1], file("upload_file_minidump", DUMP + b"x"))
    assert "MinidumpSha256Hash" in notes_of(stored)


def test_a_field_named_extra_that_is_no_object_is_an_annotation(gatherer, field):
    for text in ("just text", "{no json", "[1]"):
        assert document_of(gatherer.accept(ANNOTATION, field("extra", text)))["extra"] == text


def test_text_that_is_not_text_is_replaced_and_noted(gatherer, field):
    stored = gatherer.accept(
        field("Bad", b"a\xffb"),
        field("Latin", b"\xe9", "Content-Type: text/plain; charset=iso-8859-1\r\n"),
        field("Unknown", "é", "Content-Type: text/plain; charset=idna\r\n"),
        field("Nul", b"a\0b"),
        field("Twice", "1"),
        field("Twice", "2"),
        field("", "nobody"),
    )
    document, notes = document_of(stored), notes_of(stored)
    assert document["Bad"] == "a�b"
    assert document["Latin"] == "é"
    assert document["Unknown"] == "é"
    assert document["Nul"] == "ab"
    assert document["Twice"] == "2"
    for word in (
        "'Bad': invalid utf-8",
        "charset 'idna'",
        "'Nul': NUL",
        "'Twice' came more than once",
        "without a name",
    ):
        assert word in notes


def test_surrogates_and_numbers_beyond_json_do_not_make_the_document_unreadable(gatherer, field):
    extra = b'{"Half": "\\ud800", "Not": NaN, "Huge": 1e999, "\\ud801": "x", "Long": 1' + b"0" * 400 + b"}"
    document = document_of(gatherer.accept(field("extra", extra, "Content-Type: application/json\r\n")))
    assert document["Half"] == "\ud800"
    assert (document["Not"], document["Huge"]) == ("NaN", "1e999")
    assert document["Long"] == 10**400


def test_what_we_set_cannot_be_set_by_the_client_and_is_not_lost(gatherer, field):
    sent = {"metadata": "m", "submitted_timestamp": "1970", "version": "9"}
    stored = gatherer.accept(*(field(name, value) for name, value in sent.items()))
    document = document_of(stored)
    assert document["version"] == 2
    assert document["metadata"]["replaced"] == sent
    assert "metadata.replaced" in notes_of(stored)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("my-log.file.txt", "my-log.file.txt"),
        ("a.b/c-d", "a.b_c-d"),
        ("../../etc/passwd", "etc_passwd"),
        ("..\\\\evil.exe", "evil.exe"),
        ("../..", "file-1"),
        (".", "file-1"),
        ("-rf", "rf"),
        ("dump name", "dump_name"),
        ("é" * 150, "file-1"),
        ("x" * 150, "x" * 100),
        ("odd%25%22%0d%0akey", "odd____key"),
    ],
)
def test_file_names_cannot_hurt_and_are_noted_when_changed(gatherer, file, name, kept):
    stored = gatherer.accept(ANNOTATION, file(name, DUMP))
    assert set(stored) == {"raw_crash.json", kept}
    assert stored[kept] == DUMP
    assert ("is stored as" in notes_of(stored)) == (name != kept)


def test_names_that_become_alike_do_not_overwrite_each_other(gatherer, file):
    names = ["a/b", "a_b", "A_B", "a b", "a_b", "../..", ".."]
    stored = gatherer.accept(ANNOTATION, *(file(name, b"%d" % n) for n, name in enumerate(names)))
    assert sorted(stored[name] for name in stored.keys() - {"raw_crash.json"}) == [b"%d" % n for n in range(len(names))]
    assert len({name.casefold() for name in stored}) == len(names) + 1


def test_a_windows_path_keeps_its_last_part_as_the_file_name(gatherer, file):
    stored = gatherer.accept(ANNOTATION, file("upload_file_minidump", DUMP, "C:\\crashes\\a b.dmp"))
    assert document_of(stored)["metadata"]["filenames"] == {"upload_file_minidump": "a b.dmp"}


def test_a_file_without_a_name_is_dropped_and_noted(gatherer, file):
    stored = gatherer.accept(ANNOTATION, file("", DUMP))
    assert set(stored) == {"raw_crash.json"}
    assert "a file without a name" in notes_of(stored)


def test_a_thousand_annotations(gatherer, field):
    document = document_of(gatherer.accept(*(field(f"key{n}", str(n)) for n in range(1000))))
    assert document["key999"] == "999"


def test_a_large_dump_goes_through_a_temporary_file_and_is_whole(gatherer, file):
    import os

    dump = b"MDMP" + os.urandom(6_000_000)
    stored = gatherer.accept(ANNOTATION, file("upload_file_minidump", dump), file("upload_file_minidump_browser", DUMP))
    assert stored["upload_file_minidump"] == dump
    assert stored["upload_file_minidump_browser"] == DUMP
    assert document_of(stored)["metadata"]["dump_checksums"]["upload_file_minidump"] == hashlib.sha256(dump).hexdigest()
    assert gatherer.leftovers() == []


def test_info_zip_reads_what_we_store(gatherer, file, tmp_path):
    import subprocess

    gatherer.accept(ANNOTATION, file("upload_file_minidump", DUMP))
    (path,) = gatherer.files()
    assert path.stat().st_mode & 0o077 == 0
    subprocess.run(["unzip", "-q", path, "-d", tmp_path / "out"], check=True)
    assert (tmp_path / "out" / "upload_file_minidump").read_bytes() == DUMP


def test_a_bare_minidump_is_accepted(gatherer):
    for media in ("application/octet-stream", "application/x-dmp"):
        status, text, _ = gatherer.post(DUMP, {"Content-Type": media}, "/submit?product=P&version=1&token=secret")
        assert status == 200, text
        stored = gatherer.stored(text)
        assert stored["upload_file_minidump"] == DUMP
        document = document_of(stored)
        assert (document["prod"], document["ver"]) == ("P", "1")
        assert document["metadata"]["payload"] == "minidump"
        assert b"secret" not in stored["raw_crash.json"]


def test_the_host_is_the_inventorys_name_of_the_peer(running, field):
    from lae_monitor.config.settings import Fleet

    fleet = Fleet(name="hpc", inventory={"127.0.0.1": "ml6.hpc", "2001:DB8::7": "v6host"})
    with running(fleet=fleet, trusted_proxies=["127.0.0.1"]) as gatherer:
        cases = [
            ({}, "ml6.hpc"),
            ({"X_Forwarded_For": "2001:db8:0::7"}, "v6host"),
            ({"X_Forwarded_For": "192.0.2.1"}, "192.0.2.1"),
        ]
        for headers, host in cases:
            metadata = document_of(gatherer.accept(ANNOTATION, **headers))["metadata"]
            assert (metadata["host"], metadata["cluster"]) == (host, "hpc")


# ---- refused -------------------------------------------------------------------------------------------------------


def by_code(value):
    return value if isinstance(value, str) and value.startswith("malformed") else ""


FORM = {"Content-Type": "multipart/form-data; boundary=B"}
GOOD = b"--B\r\n" + ANNOTATION + b"\r\n--B--\r\n"


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        ({}, GOOD, "malformed_no_content_type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, GOOD, "malformed_wrong_content_type"),
        ({"Content-Type": "multipart/related; boundary=B"}, GOOD, "malformed_wrong_content_type"),
        ({"Content-Type": "application/octet-stream"}, b"MDM", "malformed_wrong_content_type"),
        ({"Content-Type": "application/octet-stream"}, b"PK\x03\x04", "malformed_wrong_content_type"),
        ({"Content-Type": "multipart/form-data"}, GOOD, "malformed_no_boundary"),
        ({"Content-Type": "multipart/form-data; boundary="}, GOOD, "malformed_no_boundary"),
        ({"Content-Type": 'multipart/form-data; boundary=""'}, GOOD, "malformed_no_boundary"),
        ({"Content-Type": "multipart/form-data; boundary=" + "B" * 300}, GOOD, "malformed_no_boundary"),
        (FORM, b"", "malformed_no_content_length"),
        (FORM | {"Content-Encoding": "gzip"}, GOOD, "malformed_bad_gzip"),
        (FORM | {"Content-Encoding": "gzip"}, gzip.compress(GOOD, mtime=0)[:-9], "malformed_bad_gzip"),
        (FORM | {"Content-Encoding": "gzip"}, gzip.compress(GOOD, mtime=0)[:-1], "malformed_bad_gzip"),
        (FORM | {"Content-Encoding": "gzip"}, gzip.compress(GOOD, mtime=0)[:-8] + b"\0" * 8, "malformed_bad_gzip"),
        (FORM | {"Content-Encoding": "gzip"}, gzip.compress(b"") * 2000, "malformed_bad_gzip"),
        (FORM | {"Content-Encoding": "deflate"}, b"\xff" * 20, "malformed_bad_gzip"),
        (FORM | {"Content-Encoding": "deflate"}, b"x", "malformed_bad_gzip"),
        (FORM | {"Content-Encoding": "br"}, GOOD, "malformed_unknown_encoding"),
        (FORM, GOOD.replace(b"--B", b"--C"), "malformed_invalid_payload_structure"),
        (FORM, GOOD[:-20], "malformed_invalid_payload_structure"),
        (FORM, GOOD.replace(b"\r\n", b"\n"), "malformed_invalid_payload_structure"),
        (FORM, GOOD.replace(b"--B--", b"--B"), "malformed_invalid_payload_structure"),
        (FORM, b"--B\r\nX: y\r\n\r\nv\r\n--B--\r\n", "malformed_invalid_payload_structure"),
        (
            FORM,
            GOOD.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n"),
            "malformed_invalid_payload_structure",
        ),
        (FORM, b"--B\r\nX: " + b"y" * 10_000 + b"\r\n\r\n--B--\r\n", "malformed_invalid_payload_structure"),
        (FORM, b"--B--\r\n", "malformed_no_annotations"),
    ],
    ids=by_code,
)
def test_a_malformed_request_is_discarded_with_its_reason(running, headers, body, code):
    with running() as gatherer:
        status, text, _ = gatherer.post(body, headers)
        assert (status, text) == (400, f"Discarded={code}")
        assert gatherer.files() == gatherer.leftovers() == []
    (entry,) = gatherer.journal()
    assert {key: entry[key] for key in ("kind", "verdict", "reason", "peer", "host", "cluster")} == {
        "kind": "crash", "verdict": "refused", "reason": code, "peer": "127.0.0.1", "host": "127.0.0.1", "cluster": "lae",
    }  # fmt: skip


def test_content_transfer_encoding_binary_is_no_encoding(gatherer, field):
    assert document_of(gatherer.accept(field("a", "b", "Content-Transfer-Encoding: binary\r\n")))["a"] == "b"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ('{"a": ' * 100_000 + "1" + "}" * 100_000, "malformed_invalid_json"),
        ('{"a": ' + "[" * 49_000 + "]" * 49_000 + "}", "malformed_invalid_json"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "malformed_invalid_json"),
        ('{"a": ' + "[" * 60 + "]" * 60 + "}", "malformed_invalid_json"),
        ('{"a": 1', "malformed_invalid_json"),
        ('{"a": 1' + "0" * 10_000 + "}", "malformed_invalid_json"),
        (b'{"a": "\xff"}', "malformed_invalid_json"),
        ("[1]", "malformed_invalid_json_value"),
        ('"text"', "malformed_invalid_json_value"),
        ("null", "malformed_invalid_json_value"),
        ("{}", "malformed_no_annotations"),
    ],
    ids=by_code,
)
def test_json_that_is_no_object_of_annotations_is_discarded(gatherer, field, value, code):
    status, text, _ = gatherer.submit(field("extra", value, "Content-Type: application/json\r\n"))
    assert (status, text) == (400, f"Discarded={code}")
    assert gatherer.files() == []


@pytest.mark.parametrize(
    "name", ["dump_names", "processed_crash", "raw_crash", "raw_crash.json", "RAW_CRASH", "../raw_crash"]
)
def test_reserved_dump_names_are_discarded(gatherer, file, name):
    status, text, _ = gatherer.submit(ANNOTATION, file(name, DUMP))
    assert (status, text) == (400, "Discarded=malformed_invalid_dump_name")
    assert gatherer.files() == []


def test_a_dump_without_any_annotation_is_discarded(gatherer, file):
    status, text, _ = gatherer.submit(file("upload_file_minidump", DUMP))
    assert (status, text) == (400, "Discarded=malformed_no_annotations")


def test_other_addresses_and_methods(gatherer):
    for path in ("/submit/", "/other"):
        status, text, headers = gatherer.post(GOOD, FORM, path)
        assert (status, json.loads(text), headers["content-type"]) == (
            404,
            {"title": "404 Not Found"},
            "application/json",
        )
    status, text, headers = gatherer.post(b"", {}, "/submit", "GET")
    assert (status, json.loads(text), headers["allow"]) == (405, {"title": "405 Method Not Allowed"}, "POST")
    assert gatherer.post(GOOD, FORM, "/submit?anything=%FF&a&a")[0] == 200


def test_a_content_length_that_is_no_number_is_bad(gatherer):
    answer = gatherer.exchange(b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")


def test_the_health_addresses_are_there(gatherer):
    assert gatherer.post(b"", {}, "/__lbheartbeat__", "GET")[:2] == (200, "")
    status, text, _ = gatherer.post(b"", {}, "/__heartbeat__", "GET")
    assert (status, json.loads(text)["errors"]) == (200, [])
    gatherer.post(GOOD, FORM)
    assert "lae_crashes_accepted_total" in gatherer.post(b"", {}, "/metrics", "GET")[1]


def test_an_upload_that_ends_early_leaves_nothing_and_is_journaled(running, form, file):
    body = form(ANNOTATION, file("upload_file_minidump", DUMP * 2000))
    assert len(body) > 4_000_000
    head = b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: %d\r\n\r\n"
    with running() as gatherer:
        answer = gatherer.exchange(head % len(body), body[:3_000_000], half_close=True)
        assert answer.startswith(b"HTTP/1.1 400")
    assert gatherer.files() == gatherer.leftovers() == []
    (entry,) = gatherer.journal()
    assert entry["reason"] == "body_incomplete"
    assert 0 < entry["size"] <= 3_000_000


def test_nothing_is_written_outside_the_archive(gatherer, file, tmp_path):
    before = {path for path in Path(tmp_path).rglob("*") if "archive" not in path.parts}
    for name in ("../../../../x", "/etc/x", "..", "a/../../b", "C:\\\\x"):
        gatherer.accept(ANNOTATION, file(name, DUMP, "../../../y"))
    assert {path for path in Path(tmp_path).rglob("*") if "archive" not in path.parts} == before
