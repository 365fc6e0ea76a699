"""Programs that read crashes from Socorro read them from us: the same addresses, arguments, names and errors."""

import gzip
import hashlib
import json
from itertools import count

import pytest
from running import NOW
from shelf import event

from lae_monitor.core.names import ClusterName, HostName, new_crash_id
from lae_monitor.core.time import DAY, HOUR, format_time
from lae_monitor.kinds import KINDS
from lae_monitor.kinds.crashes.container import Writer
from lae_monitor.kinds.crashes.form import minidump
from lae_monitor.kinds.crashes.report import Report, envelope

_serial = count()
CAP = "URI:DIR2:ddddddddddddddddddddddddddd:eeeeeeeeeeeeeeeeeeeeeeee"


class Crash:
    """A crash in the archive, with a row only when `moved`."""

    def __init__(self, site, place, *, moved=True, host="h1", **annotations) -> None:
        received = NOW - HOUR + next(_serial)
        self.id = new_crash_id(received)
        self.dump = minidump(received)
        self.memory = gzip.compress(b'{"reports": []}')
        report = Report()
        for name, value in {"ProductName": "Lemmings", "Version": "1.0", **annotations}.items():
            report.set(name, value)
        pieces = []
        writer = Writer(pieces.append, received)
        for name, content in (("upload_file_minidump", self.dump), ("memory_report", self.memory)):
            report.add_file(name, len(content), hashlib.sha256(content).hexdigest())
            writer.add(name, content)
        about = envelope(
            peer="10.0.0.7", host=HostName(host), cluster=ClusterName(place), user_agent="Crashpad/0.8.0", size=4187,
            compressed=True, query={},
        )  # fmt: skip
        report.merge(
            b'{"odd": "\\ud800", "large": 123456789012345678901234567890, "inner": {"Email": "ada@example.org"}}'
        )
        writer.add("raw_crash.json", report.raw_crash(self.id, received, about))
        writer.finish()
        data = b"".join(pieces)
        path = f"crashes/{self.id.day}/{self.id}.zip"
        span = site.run(site.archive.store(path, [data]))
        if moved:
            site.put(*KINDS.reader(path).read(span, data))


def asked(site, target, status=200):
    answer = site.ask(target)
    assert answer.status == status, answer.text
    return json.loads(answer.body)


def test_the_raw_crash_is_the_stored_document_without_what_is_private(site, place):
    crash = Crash(site, place, Email="ada@example.org", URL=f"http://127.0.0.1/uri/{CAP}/", TelemetryClientId="c0ffee")
    found = asked(site, f"/api/RawCrash/?crash_id={crash.id}")
    assert (found["ProductName"], found["uuid"], found["version"]) == ("Lemmings", crash.id, 2)
    assert found["metadata"]["dump_checksums"]["upload_file_minidump"] == hashlib.sha256(crash.dump).hexdigest()
    assert (found["Email"], found["TelemetryClientId"]) == ("***", "***")
    assert (found["odd"], found["large"], found["inner"]) == (
        "\ud800",
        123456789012345678901234567890,
        {"Email": "***"},
    )
    assert "eeeeeeee" not in json.dumps(found)
    assert found == asked(site, f"/api/RawCrash/?crash_id=bp-{crash.id}&format=meta")


def test_dumps_come_byte_for_byte_under_socorros_names(site, place):
    crash = Crash(site, place)
    for name, content, filename in (
        ("", crash.dump, f"{crash.id}-upload_file_minidump.dmp"),
        ("&name=upload_file_minidump", crash.dump, f"{crash.id}-upload_file_minidump.dmp"),
        ("&name=memory_report", crash.memory, "memory_report.json.gz"),
    ):
        answer = site.ask(f"/api/RawCrash/?crash_id={crash.id}&format=raw{name}")
        assert (answer.status, answer.body) == (200, content)
        assert answer.headers["content-disposition"] == f'attachment; filename="{filename}"'
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_processed_crash_has_what_is_known_under_socorros_names(site, place):
    crash = Crash(site, place, BuildID="20261101093000", Comments="it jumped", Email="ada@example.org", guid="g")
    found = asked(site, f"/api/ProcessedCrash/?crash_id={crash.id}")
    expected = {
        "uuid": crash.id,
        "signature": "SIGSEGV | lae-test+0x1234",
        "product": "Lemmings",
        "version": "1.0",
        "build": "20261101093000",
        "os_name": "Linux",
        "cpu_arch": "x86-64",
        "reason": "SIGSEGV",
        "address": "0xdead0000",
        "crashing_module": "lae-test",
        "user_comments": "it jumped",
        "minidump_sha256_hash": hashlib.sha256(crash.dump).hexdigest(),
        "host": "h1",
        "guid": "g",
    }
    assert {name: found.get(name) for name in expected} == expected
    assert found["collector_metadata"]["user_agent"] == "Crashpad/0.8.0"
    assert found["date_processed"].startswith("2026-11-22T")
    assert "processor_notes" in found
    assert "ada@example.org" not in json.dumps(found)


def test_verify_says_what_there_is_of_a_crash(site, place):
    searched, waiting = Crash(site, place), Crash(site, place, moved=False)
    assert asked(site, f"/api/CrashVerify/?crash_id={searched.id}") == {
        "uuid": searched.id,
        "raw_crash": True,
        "processed_crash": True,
        "elasticsearch_crash": True,
        "telemetry_crash": False,
    }
    found = asked(site, f"/api/CrashVerify/?crash_id=bp-{waiting.id}")
    assert (found["raw_crash"], found["processed_crash"]) == (True, False)
    none = asked(site, f"/api/CrashVerify/?crash_id={new_crash_id(NOW)}")
    assert not any(none[name] for name in none if name != "uuid")


def test_a_crash_that_was_not_moved_yet_can_be_read(site, place):
    crash = Crash(site, place, moved=False)
    assert asked(site, f"/api/RawCrash/?crash_id={crash.id}")["uuid"] == crash.id
    assert asked(site, f"/api/ProcessedCrash/?crash_id={crash.id}")["signature"] == "SIGSEGV | lae-test+0x1234"


@pytest.mark.parametrize("address", ["RawCrash", "ProcessedCrash", "CrashVerify"])
def test_errors_are_said_as_socorro_says_them(site, address):
    for given, status in (
        ("", 400),
        ("?crash_id=", 400),
        ("?crash_id=../../x", 400),
        ("?crash_id=bp-bp-x", 400),
        ("?x=y", 400),
    ):
        assert set(asked(site, f"/api/{address}/{given}", status)) == {"error"}
    assert asked(site, f"/api/{address}/?crash_id=x", 400) == {"error": "unknown crash id"}
    if address != "CrashVerify":
        assert asked(site, f"/api/{address}/?crash_id={new_crash_id(NOW)}", 404) == {"error": "crash id not found"}
    assert site.ask(f"/api/{address}/", "POST").status == 405
    assert site.ask(f"/api/{address}/", client="203.0.113.9").status == 403


def test_a_dump_that_is_not_there_is_not_found_whatever_its_name(site, place):
    crash = Crash(site, place)
    for name in ("other", "raw_crash.json", "..%2F..%2Fetc%2Fpasswd", "a%0d%0ab"):
        found = asked(site, f"/api/RawCrash/?crash_id={crash.id}&format=raw&name={name}", 404)
        assert "upload_file_minidump" in found["error"]
    assert asked(site, f"/api/RawCrash/?crash_id={crash.id}&format=zip", 400)["error"].startswith("a parameter")


def row(place, **attrs):
    given = {"product": "Lemmings", "version": "1.0", "platform": "Linux", "signature": "Jump", **attrs}
    ago = given.pop("ago", HOUR)
    return event(place, given.pop("host", "h1"), time=NOW - ago - 1, attrs=given)


@pytest.fixture
def searched(site, place):
    site.put(
        row(place),
        row(place, version="1.1", host="h2", ago=2 * HOUR),
        row(place, product="Firefox", signature="OOM | small", ago=3 * HOUR),
        row(place, product="Firefox", signature="memcpy | Jump", ago=10 * DAY),
        event(place, kind="incident", time=NOW - HOUR),
    )
    return place


def search(site, place, query="", status=200):
    return asked(site, f"/api/SuperSearch/?cluster={place}&{query}", status)


def test_super_search_finds_counts_and_sorts(site, searched):
    found = search(site, searched)
    assert (found["total"], found["errors"]) == (3, [])
    assert [hit["version"] for hit in found["hits"]] == ["1.0", "1.1", "1.0"]
    assert found["hits"][0]["date"] == format_time(NOW - HOUR, digits=6)
    assert found["facets"] == {"signature": [{"term": "Jump", "count": 2}, {"term": "OOM | small", "count": 1}]}
    found = search(
        site, searched, "_columns=host&_sort=host&_sort=-date&_results_number=2&_facets=product&_facets=host"
    )
    assert found["hits"] == [{"host": "h1"}, {"host": "h1"}]
    assert found["facets"]["product"] == [{"term": "Lemmings", "count": 2}, {"term": "Firefox", "count": 1}]
    assert search(site, searched, "_results_number=0")["hits"] == []
    assert search(site, searched, "_results_offset=2&_sort=-date")["hits"][0]["product"] == "Firefox"


@pytest.mark.parametrize(
    ("query", "total"),
    [
        ("product=Firefox", 1),
        ("product=firefox", 1),
        ("product==firefox", 0),
        ("product=Firefox&product=Lemmings", 3),
        ("product=!Firefox", 2),
        ("product=!=Firefox&product=!=Lemmings", 0),
        ("signature=~jump", 2),
        ("signature=^OOM", 1),
        ("signature=$small", 1),
        ("signature=~%27%20OR%201%3D1", 0),
        ("version=1.1&host=h2", 1),
        ("version=1.1&host=h1", 0),
        ("platform=Linux", 3),
        ("date=%3E2026-11-01", 4),
        (f"date=%3E%3D{format_time(NOW - 2.5 * HOUR)}", 2),
        (f"date=%3C{format_time(NOW - 2.5 * HOUR)}", 1),
        (f"date=%3E2026-11-01&date=%3C{format_time(NOW - DAY)}", 1),
    ],
)
def test_super_search_understands_fields_and_operators(site, searched, query, total):
    assert search(site, searched, query)["total"] == total


@pytest.mark.parametrize(
    "query",
    [
        "colour=red", "_facets=colour", "_facets=date", "_columns=x", "_sort=x", "_results_number=many",
        "date=2026-11-01", "date=%3Enever", "product=%3E5", "&".join(["host=x"] * 200), f"host={'x' * 600}",
    ],
)  # fmt: skip
def test_super_search_says_what_it_does_not_understand(site, searched, query):
    assert set(search(site, searched, query, 400)) == {"error"}
