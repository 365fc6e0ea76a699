"""crash_finder.py and crash_reporter.py: no crash is lost, whatever answers, moves, or cannot be read."""

import contextlib
import json
import os
import socket
import threading
import time

import pytest

ACCEPTED = (200, "CrashID=bp-1\n", {})


def until_now(host):
    """All that waits may be tried at once."""
    path = host.reports / "waits.json"
    path.write_text(json.dumps({name: [tries, 0] for name, (tries, _) in json.loads(path.read_text()).items()}))


def unprivileged(host):
    if os.geteuid() == 0:
        host.under = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]


# ---- who answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        (200, "<html>login</html>", {}),
        (200, "", {}),
        (200, "CrashID=\n", {}),
        (202, "CrashID=bp-1\n", {}),
        (302, "", {"Location": "/login"}),
        *((status, "", {}) for status in (401, 403, 404, 405, 408, 409, 411, 425, 429)),
        (401, "Discarded=unauthorized", {}),
    ],
    ids=lambda answer: f"{answer[0]} {answer[1]!r}",
)
def test_what_does_not_say_that_it_has_the_crash_gets_it_later(host, scripted, answer):
    host.point(scripted.server_port, remove_sent=True).dump("a.dmp")
    host.dump("b.dmp", b"MDMPb")
    scripted.answers = [answer, ACCEPTED]
    _, sent = host.both()
    assert sent.code == 75
    assert f"not yet sent: {'no crash collector answers: ' * (answer[0] < 300)}{answer[0]}" in sent.said
    assert (len(scripted.bodies), len(host.waiting()), host.refused()) == (1, 2, []), "the others wait, too"
    assert (host.dumps / "a.dmp").exists()
    until_now(host)
    assert host.send().code == 0
    assert len(scripted.bodies) == 3
    assert not list(host.dumps.iterdir())


def test_a_test_report_that_no_collector_took_is_not_accepted(host, scripted):
    scripted.answers = [(200, "<html>login</html>", {})]
    done = host.point(scripted.server_port).send("--test")
    assert done.code == 75
    assert "not accepted: no crash collector answers: 200 <html>login</html>" in done.said


def test_too_many_requests_waits_as_long_as_it_says(host, scripted):
    host.point(scripted.server_port).dump("a.dmp")
    scripted.answers = [(429, "", {"Retry-After": "1000"})]
    assert host.both()[1].code == 75
    assert 900 < json.loads((host.reports / "waits.json").read_text())[""][1] - time.time() <= 1000


def test_each_refused_report_that_is_not_kept_is_told(host, scripted):
    host.point(scripted.server_port).dump("a.dmp")
    host.find()
    for number in range(201):
        path = host.reports / f"{number:032}.refused"
        path.write_text("{}")
        os.utime(path, (1_790_000_000 + number,) * 2)
    scripted.answers = [(400, "Discarded=x", {})]
    sent = host.send()
    assert [f"{number:032}.refused is removed" in sent.said for number in range(3)] == [True, True, False]
    assert len(host.refused()) == 200


def test_a_server_that_drips_holds_nobody(host):
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def drip():
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not ended.wait(0.05):
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            host.point(server.getsockname()[1], deadline=1).dump("a.dmp")
            _, sent = host.both()
        finally:
            ended.set()
            thread.join()
    assert sent.code == 75
    assert "it takes too long" in sent.said
    assert len(host.waiting()) == 1


# ---- what moves ----------------------------------------------------------------------------------------------------


def test_a_dump_that_was_touched_before_it_was_sent_is_sent(host, collector, crashes):
    host.point(collector.port).dump("a.dmp")
    host.find()
    os.utime(host.dumps / "a.dmp", (1_790_000_100, 1_790_000_100))
    assert host.send().code == 0
    host.both()
    assert len(crashes(collector)) == 1


@pytest.mark.parametrize("finds_first", [True, False])
def test_a_dump_that_was_moved_before_it_was_sent_is_sent_once(host, collector, crashes, finds_first):
    database = host.folder / "database"
    for name in ("pending", "completed"):
        (database / name).mkdir(parents=True)
    dump = host.dump("../database/pending/b.dmp")
    host.point(collector.port, folders=[str(database)]).find()
    (report,) = host.waiting()
    dump.rename(database / "completed" / "b.dmp")
    if finds_first:
        host.find()
        assert host.waiting() == [report]
    else:
        assert "gone: not sent" in host.send().said
    for _ in range(2):
        assert [done.code for done in host.both()] == [0, 0]
    assert len(crashes(collector)) == 1


def test_a_dump_that_went_before_it_was_sent_has_no_other_sent_again(host, collector, crashes):
    host.point(collector.port).dump("a.dmp")
    host.both()
    host.dump("b.dmp")  # says the same as the other
    host.find()
    (host.dumps / "b.dmp").unlink()
    for _ in range(2):
        assert [done.code for done in reversed((host.send(), host.find()))] == [0, 0]
    assert len(crashes(collector)) == 1


def test_a_newer_dump_of_the_same_name_is_not_removed(host, scripted):
    host.point(scripted.server_port, remove_sent=True).dump("a.dmp")
    host.find()

    def crash_again():
        new = host.dump("new", b"MDMP AND MORE")  # as large, and as old
        new.rename(host.dumps / "a.dmp")
        (host.dumps / "a.extra").write_text("{}")

    scripted.then = crash_again
    assert "not removed" in host.send().said
    assert (host.dumps / "a.dmp").read_bytes() == b"MDMP AND MORE"
    assert (host.dumps / "a.extra").exists()


# ---- what cannot be read -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("place", "mode"), [("", 0), ("", 0o400), ("..", 0)])
def test_a_folder_that_cannot_be_read_stops_no_other(host, scripted, place, mode):
    closed = host.folder / "closed" / "database"
    (closed / "pending").mkdir(parents=True)
    host.dump("../closed/database/pending/b.dmp", b"MDMPb")
    host.dump("a.dmp")
    host.point(scripted.server_port, folders=[str(closed), str(host.dumps)])
    unprivileged(host)
    shut = closed / place if place else closed
    shut.chmod(mode)
    try:
        found, sent = host.both()
        again = host.find()
    finally:
        shut.chmod(0o700)
    assert (found.code, sent.code) == (1, 0)
    assert found.said == f"{closed} cannot be reported: Permission denied\n"
    assert again == (1, ""), "it is said once"
    assert len(scripted.bodies) == 1
    assert [done.code for done in host.both()] == [0, 0]
    assert len(scripted.bodies) == 2


def test_a_folder_that_cannot_be_read_for_a_while_has_nothing_reported_twice(host, scripted):
    host.point(scripted.server_port).dump("a.dmp")
    host.both()
    unprivileged(host)
    for mode in (0, 0o400):
        host.dumps.chmod(mode)
        assert host.find().code == 1
        host.dumps.chmod(0o700)
    (host.dumps / "a.dmp").chmod(0)
    os.utime(host.dumps / "a.dmp")
    assert host.find().code == 1
    (host.dumps / "a.dmp").chmod(0o600)
    assert [done.code for done in host.both()] == [0, 0]
    assert len(scripted.bodies) == 1


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
@pytest.mark.parametrize("program", ["crash_finder", "crash_reporter"])
def test_reports_in_a_folder_that_may_not_be_entered_is_said(host, program, options):
    closed = host.folder / "closed"
    closed.mkdir()
    host.point(9, reports=str(closed / "state"))
    unprivileged(host)
    closed.chmod(0)
    try:
        done = host.run(program, *options, *["--once"] * (program == "crash_reporter"))
    finally:
        closed.chmod(0o700)
    assert done.code == 69
    assert "Permission denied. --reports has to be a folder" in done.said
    assert len(done.said.splitlines()) == 1


# ---- what is damaged -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "its own"])
def test_a_clock_that_was_ahead_keeps_nothing_waiting(host, scripted, name):
    host.point(scripted.server_port).dump("a.dmp")
    host.find()
    (report,) = host.waiting()
    (host.reports / "waits.json").write_text(json.dumps({name and report: [1, time.time() + 90 * 86_400]}))
    assert host.send().code == 0
    assert len(scripted.bodies) == 1


@pytest.mark.parametrize("damaged", ["[]", "5", '{"": 5}', '{"": [1, "x"]}', '{"": [1, NaN]}'])
def test_damaged_waits_keep_nothing_waiting(host, scripted, damaged):
    host.point(scripted.server_port).dump("a.dmp")
    host.find()
    (host.reports / "waits.json").write_text(damaged)
    assert host.send().code == 0
    assert len(scripted.bodies) == 1


@pytest.mark.parametrize("damaged", ['{"cursor": "", "files": []}', '{"cursor": "", "files": {"a": 5}}'])
def test_damaged_records_of_what_was_found_are_begun_anew(host, damaged):
    host.dump("a.dmp")
    host.reports.mkdir()
    (host.reports / "found.json").write_text(damaged)
    found = host.find()
    assert (found.code, "begun anew" in found.said, len(host.waiting())) == (0, True, 1)


def test_an_entry_of_the_journal_whose_cursor_is_no_text_stops_no_other(host):
    told = {"__REALTIME_TIMESTAMP": "1790000000000000", "COREDUMP_EXE": "/nowhere/prog"}
    journal = host.folder / "journal.json"
    journal.write_text("".join(json.dumps({"__CURSOR": cursor, **told}) + "\n" for cursor in (5, None, "s=1")))
    program = host.folder / "journalctl"
    program.write_text(f"#!/bin/sh\ncat {journal}\n")
    program.chmod(0o700)
    host.settings |= {"core_dumps": True, "journal_command": str(program)}
    found = host.find()
    assert (found.code, found.said.count("is not understood"), len(host.waiting())) == (0, 2, 1)


@pytest.mark.parametrize("options", [(), ("--test",)])
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:99999/submit",
        "http://127.0.0.1:0/",
        "http://:80/submit",
        "http://a:b/",
        "http://[::1/",
        "http://a..b/",
        5,
    ],
)
def test_an_address_that_there_cannot_be_is_said(host, url, options):
    host.dump("a.dmp")
    host.find()
    host.settings |= {"url": url}
    done = host.send(*options)
    assert done.code == 78
    assert done.said.startswith("wrong configuration: ")
    assert len(done.said.splitlines()) == 1
    assert len(host.waiting()) == 1
