"""Slow clients, bombs, full disks, floods: each costs only itself, and nothing is acknowledged that is not durable."""

import asyncio
import gzip
import hashlib
import json
import os
import threading
import tracemalloc
import zlib

import pytest

from lae_monitor.archive.kernel import Kernel, Space
from lae_monitor.core.limits import MiB
from lae_monitor.core.refusals import Refused

FOREVER = 3600.0
ANNOTATION = b'Content-Disposition: form-data; name="ProductName"\r\n\r\nLaeTest'
HEAD = b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.parametrize(
    ("timeouts", "first", "piece"),
    [
        ({"head_timeout": 0.5, "idle_timeout": FOREVER, "total_timeout": FOREVER}, b"", b""),
        (
            {"head_timeout": 0.5, "idle_timeout": FOREVER, "total_timeout": FOREVER},
            b"POST /submit HTTP/1.1\r\nX: ",
            b"x",
        ),
        ({"head_timeout": FOREVER, "idle_timeout": 0.5, "total_timeout": FOREVER}, HEAD + b"--B\r\n", b""),
        ({"head_timeout": FOREVER, "idle_timeout": FOREVER, "total_timeout": 0.5}, HEAD + b"--B\r\nX: ", b"x"),
    ],
    ids=["silent", "dripped head", "stalled body", "dripped body"],
)
def test_slow_clients_are_cut_off_while_others_are_served(running, field, timeouts, first, piece):
    with running(**timeouts) as gatherer:
        answers = []

        def drip():
            with gatherer.connect() as connection:
                connection.sendall(first)
                connection.settimeout(0.02)
                while True:
                    try:
                        answers.append(connection.recv(65536))
                        return
                    except TimeoutError:
                        connection.sendall(piece)

        slow = [threading.Thread(target=drip) for _ in range(5)]
        for thread in slow:
            thread.start()
        while any(thread.is_alive() for thread in slow):
            assert gatherer.post(b"", {}, "/__lbheartbeat__", "GET")[0] == 200
            gatherer.accept(field("a", "b"))
        assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers)
        assert len(answers) == len(slow)
    cut = [entry["reason"] for entry in gatherer.journal() if entry["verdict"] == "refused"]
    assert cut == (["too_slow"] * 5 if first.startswith(HEAD) else [])


def zeros(size: int, level: int) -> bytes:
    """`size` zeros in a form, compressed 230 times at level 1, 1,000 times at level 9."""
    compressor = zlib.compressobj(level, wbits=31)
    head = b'--B\r\nContent-Disposition: form-data; name="d"; filename="d"\r\n\r\n'
    body = compressor.compress(head)
    for _ in range(size // MiB):
        body += compressor.compress(bytes(MiB))
    return body + compressor.flush()


@pytest.mark.parametrize(("limits", "level"), [({"max_inflated": 20 * MiB}, 1), ({}, 9)], ids=["size", "ratio"])
def test_a_bomb_is_refused_in_little_memory(running, limits, level):
    bomb = zeros(100 * MiB, level)
    headers = {"Content-Type": "multipart/form-data; boundary=B", "Content-Encoding": "gzip"}
    with running(**limits) as gatherer:
        gatherer.post(b"", {}, "/ping", "GET")
        tracemalloc.start()
        try:
            status, text, _ = gatherer.post(bomb, headers)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (status, text) == (413, "Discarded=inflates_too_far")
        assert peak < 8 * MiB
        assert gatherer.files() == gatherer.leftovers() == []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_the_limit_is_refused_readably(running, form, file, chunked):
    body = form(ANNOTATION, file("upload_file_minidump", os.urandom(30 * MiB)))
    with running() as gatherer:
        pieces = [body[at : at + 100_000] for at in range(0, len(body), 100_000)]
        headers = {"Content-Type": "multipart/form-data; boundary=B"}
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
        status, text, reply = gatherer.post(iter(pieces) if chunked else body, headers)
        assert (status, text, reply["connection"]) == (413, "Discarded=body_too_large", "close")
        assert gatherer.files() == gatherer.leftovers() == []
        gatherer.accept(ANNOTATION)


def metric(gatherer, name: str) -> float:
    (line,) = [
        line for line in gatherer.post(b"", {}, "/metrics", "GET")[1].splitlines() if line.startswith(f"{name} ")
    ]
    return float(line.split()[1])


def test_too_many_or_too_large_parts_are_refused(gatherer, field, file):
    many = gatherer.submit(*(field(f"k{n}", "") for n in range(2001)))
    files = gatherer.submit(ANNOTATION, *(file(f"f{n}", b"") for n in range(101)))
    one = gatherer.submit(field("k", b"x" * (2 * MiB + 1)))
    together = gatherer.submit(*(field(f"k{n}", b"x" * (3 * MiB // 2)) for n in range(3)))
    assert [answer[:2] for answer in (many, files, one, together)] == [
        (413, "Discarded=malformed_too_many_parts"),
        (413, "Discarded=malformed_too_many_parts"),
        (413, "Discarded=body_too_large"),
        (413, "Discarded=body_too_large"),
    ]
    assert gatherer.files() == []


def hold(gatherer, body: bytes, peer: str):
    """Sends a form that lacks its last bytes; the connection stays open."""
    connection = gatherer.connect()
    head = HEAD.replace(b"Length: 100000", b"Length: %d\r\nX-Forwarded-For: %s" % (len(body) + 100, peer.encode()))
    connection.sendall(head + body)
    return connection


def test_reports_in_progress_hold_a_bounded_amount_of_memory(running, field, form, file):
    """One peer that holds much has to wait, others pass; when all together hold too much, everybody waits."""
    body = form(field("k", b"x" * (2 * MiB)))
    held = []
    with running(trusted_proxies=["127.0.0.1"]) as gatherer:

        def fill(peer, count):
            before = metric(gatherer, "lae_crashes_held_bytes")
            held.extend(hold(gatherer, body, peer) for _ in range(count))
            while metric(gatherer, "lae_crashes_held_bytes") < before + count * 2 * MiB:
                pass

        def submit(peer):
            value = b"x" * (3 * MiB // 2)
            return gatherer.submit(field("k", value), field("l", value), X_Forwarded_For=peer)

        fill("192.0.2.1", 2)
        assert submit("192.0.2.1")[:2] == (503, "Discarded=busy")
        assert submit("192.0.2.2")[0] == 200
        fill("192.0.2.3", 2)
        fill("192.0.2.4", 2)
        status, text, headers = submit("192.0.2.5")
        assert (status, text) == (503, "Discarded=busy")
        assert int(headers["retry-after"]) > 0
        dump = file("upload_file_minidump", b"MDMP" + os.urandom(300_000))
        assert gatherer.submit(dump)[1] == "Discarded=malformed_no_annotations"  # a dump needs no memory
        for connection in held:
            connection.close()
        while metric(gatherer, "lae_crashes_held_bytes") > 0:
            pass
        assert submit("192.0.2.5")[0] == 200


class FillingKernel(Kernel):
    """A disk that can be filled: it says so, or it fails in the middle of a write."""

    full = False
    room = None  # bytes until ENOSPC

    def space(self):
        return Space(0, 10**9) if FillingKernel.full else Space(10**9, 10**9)

    def writev(self, fd, parts):
        if FillingKernel.room is not None:
            FillingKernel.room -= sum(map(len, parts))
            if FillingKernel.room < 0:
                raise OSError(28, "No space left on device")
        return super().writev(fd, parts)


@pytest.fixture
def filling():
    FillingKernel.full, FillingKernel.room = False, None
    yield FillingKernel
    FillingKernel.full, FillingKernel.room = False, None


def still_full(answer):
    """Whether this is a refusal for want of space."""
    status, text, headers = answer
    if text == "Discarded=no_space":
        assert status == 503
        assert int(headers["retry-after"]) > 0
        return True
    return False


@pytest.mark.parametrize("size", [100, 3_000_000], ids=["in memory", "in a temporary file"])
def test_a_full_archive_is_503_with_retry_after_and_recovers(running, file, filling, size):
    from lae_monitor.archive import Reserve

    dump = b"MDMP" + os.urandom(size)
    with running(kernel=filling, reserve=Reserve(size=1000)) as gatherer:
        gatherer.accept(ANNOTATION, file("upload_file_minidump", dump))
        filling.full = True
        for _ in range(3):
            assert still_full(gatherer.submit(ANNOTATION, file("upload_file_minidump", dump)))
        assert len(gatherer.files()) == 1
        filling.full = False
        while still_full(answer := gatherer.submit(ANNOTATION, file("upload_file_minidump", dump))):
            pass  # until the archive's probe finds room
        assert gatherer.stored(answer[1])["upload_file_minidump"] == dump
        assert gatherer.leftovers() == []
    refused = [entry for entry in gatherer.journal() if entry["verdict"] == "refused"]
    assert refused
    assert {entry["reason"] for entry in refused} == {"no_space"}


def test_a_disk_that_fills_in_the_middle_of_an_upload_leaves_nothing(running, file, filling):
    with running(kernel=filling) as gatherer:
        filling.room = 2_000_000
        assert still_full(gatherer.submit(ANNOTATION, file("upload_file_minidump", os.urandom(6_000_000))))
        filling.room = None
        assert gatherer.files() == gatherer.leftovers() == []


class BrokenJournal:
    async def write_all(self, what, entries):
        raise Refused("archive_failed", "the journal is broken")


class HangingJournal:
    async def write_all(self, what, entries):
        await asyncio.sleep(0.5)
        raise Refused("archive_failed", "the journal hung")


@pytest.mark.parametrize("journal", [BrokenJournal(), HangingJournal()], ids=["broken", "hanging"])
def test_a_journal_that_does_not_work_neither_fails_nor_delays_a_reply(running, field, journal):
    def break_it(context):
        context.journal = journal

    with running(on_context=break_it) as gatherer:
        for _ in range(20):
            gatherer.accept(field("a", "b"))
            assert gatherer.post(b"", {})[0] == 400
        assert len(gatherer.files()) == 20


def test_a_flood_of_bad_requests_is_counted_and_journaled_in_few_lines(running):
    with running(trusted_proxies=["127.0.0.1"]) as gatherer:
        for number in range(150):
            gatherer.post(b"", {"X-Forwarded-For": "192.0.2.1"})
            if number % 50 == 0:
                gatherer.post(b"x", {"X-Forwarded-For": "192.0.2.2", "Content-Type": "text/plain"})
    journal = gatherer.journal()
    flood = [entry for entry in journal if entry["peer"] == "192.0.2.1"]
    assert {entry["host"] for entry in flood} == {"192.0.2.1"}
    assert 20 <= len(flood) <= 30
    summaries = [entry for entry in flood if "more, not written" in entry["detail"]]
    assert len(flood) - len(summaries) + sum(int(entry["detail"].split()[0]) for entry in summaries) == 150
    assert sum(entry["peer"] == "192.0.2.2" for entry in journal) == 3


def test_an_accepted_crash_has_a_receipt_that_leads_to_its_file(running, field, file):
    with running() as gatherer:
        (reply,) = [gatherer.submit(ANNOTATION, file("upload_file_minidump", b"MDMP" * 100))[1]]
    (entry,) = gatherer.journal()
    (path,) = gatherer.files()
    assert f"CrashID=bp-{entry['id']}\n" == reply
    assert (entry["verdict"], entry["file"]) == ("accepted", str(path.relative_to(gatherer.folder)))
    assert (entry["start"], entry["end"]) == (0, path.stat().st_size)


def test_uploads_in_parallel_do_not_mix(gatherer, file, field):
    def upload(number, outcome):
        dump = b"MDMP" + os.urandom(200_000 * (number % 12))
        status, text, _ = gatherer.submit(
            field("number", str(number)), file("upload_file_minidump", dump), encoding="gzip" if number % 2 else None
        )
        outcome[number] = (status, text, hashlib.sha256(dump).hexdigest())

    outcome = {}
    threads = [threading.Thread(target=upload, args=(number, outcome)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, (status, text, digest) in outcome.items():
        assert status == 200
        stored = gatherer.stored(text)
        assert json.loads(stored["raw_crash.json"])["number"] == str(number)
        assert hashlib.sha256(stored["upload_file_minidump"]).hexdigest() == digest
    assert len(outcome) == 24


def test_stopping_waits_for_an_upload_and_acknowledges_it(running, form, file):
    body = gzip.compress(form(ANNOTATION, file("upload_file_minidump", b"MDMP" * 1000)))
    head = b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\n"
    head += b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    answers = []
    contexts = []
    with running(on_context=contexts.append) as gatherer:
        connection = gatherer.connect()
        connection.sendall(head + body[:50])
        while metric(gatherer, "lae_crashes_in_progress") < 1:
            pass

        def finish():
            with connection:
                while True:  # until nobody listens any more
                    try:
                        gatherer.connect().close()
                    except OSError:
                        break
                connection.sendall(body[50:])
                answers.append(b"".join(iter(lambda: connection.recv(65536), b"")))

        finishing = threading.Thread(target=finish)
        finishing.start()
    finishing.join()
    (answer,) = answers
    assert b"CrashID=bp-" in answer
    assert gatherer.stored(answer.partition(b"\r\n\r\n")[2].decode())["upload_file_minidump"] == b"MDMP" * 1000
