"""The same collector under gunicorn: real servers, a real client, the same promise."""

import gzip
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

APPLICATION = "lae_monitor.gatherers.crashes.wsgi:application"
PATIENCE = 60.0
FORM = {"Content-Type": "multipart/form-data; boundary=B"}


class Served:
    """A running server and its archive."""

    def __init__(self, port: int, archive: Path, process: subprocess.Popen) -> None:
        self.port = port
        self.archive = archive
        self.process = process

    def exchange(self, *pieces: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            for piece in pieces:
                connection.sendall(piece)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def post(self, body: bytes, path="/submit", method="POST", **headers) -> tuple[int, str, str]:
        """Status, head and text of the answer."""
        lines = {"Host": "x", "Connection": "close", "Content-Length": str(len(body)), **FORM}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = (
            f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
        )
        top, _, text = self.exchange(head.encode(), body).decode().partition("\r\n\r\n")
        return int(top.split()[1]), top, text

    def files(self) -> list[Path]:
        return list((self.archive / "crashes").rglob("*.zip"))

    def stored(self, reply: str) -> dict[str, bytes]:
        crash_id = re.fullmatch(r"CrashID=bp-(\S+)\n", reply)[1]
        with zipfile.ZipFile(self.archive / "crashes" / f"20{crash_id[-6:]}" / f"{crash_id}.zip") as stored:
            return {name: stored.read(name) for name in stored.namelist()}


def environ_of(tmp_path: Path) -> dict[str, str]:
    config = tmp_path / "lae-monitor.toml"
    config.write_text(f'[state]\npath = "{tmp_path}/state"\n[archive]\nreserve = "1 MiB"\n')
    return {**os.environ, "LAE_MONITOR_CONFIG": str(config)}


@contextmanager
def gunicorn(tmp_path: Path, *options: str):
    environ = environ_of(tmp_path)
    log = tmp_path / "gunicorn.log"
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--bind",
        "127.0.0.1:0",
        "--access-logfile",
        "-",
        *options,
        APPLICATION,
    ]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environ, stdout=output, stderr=output, cwd=tmp_path, umask=0)
    try:
        yield Served(port_in(log, process), tmp_path / "state" / "archive", process)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, log.read_text()
    made = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
    assert [path for path in made if path.lstat().st_mode & 0o077] == [], "made under umask 000"


def port_in(log: Path, process: subprocess.Popen) -> int:
    until = time.monotonic() + PATIENCE
    while (found := re.search(r"Listening at: http://127.0.0.1:(\d+)", log.read_text())) is None:
        assert process.poll() is None and time.monotonic() < until, log.read_text()
        time.sleep(0.02)
    return int(found[1])


def form(dump: bytes) -> bytes:
    return (
        b'--B\r\nContent-Disposition: form-data; name="ProductName"\r\n\r\nLaeTest\r\n'
        b'--B\r\nContent-Disposition: form-data; name="upload_file_minidump"; filename="x.dmp"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + dump + b"\r\n--B--\r\n"
    )


@pytest.mark.parametrize(
    "options", [("--workers", "2"), ("--worker-class", "gthread", "--threads", "4")], ids=["sync", "gthread"]
)
def test_a_real_crashpad_client_succeeds_as_it_is(tmp_path, crash_with_crashpad, options):
    with gunicorn(tmp_path, *options) as served:
        for more in ((), ("--no-upload-gzip",)):
            dump, meta = crash_with_crashpad(f"http://127.0.0.1:{served.port}/submit", *more)
            assert struct.unpack_from("<iiqqB", meta)[4] == 1, "the client thinks that it failed"
            stored = served.stored(meta[32:].decode())
            assert stored["upload_file_minidump"] == dump
            document = json.loads(stored["raw_crash.json"])
            assert document["metadata"]["peer"] == "127.0.0.1"
            assert document["metadata"]["payload_compressed"] == ("0" if more else "1")


def test_answers_are_those_of_the_gatherer(tmp_path):
    dump = b"MDMP" + os.urandom(3_000_000)
    with gunicorn(tmp_path, "--worker-class", "gthread", "--threads", "8") as served:
        status, head, text = served.post(form(dump))
        assert status == 200
        assert f"content-length: {len(text)}" in head.lower()
        assert served.stored(text)["upload_file_minidump"] == dump
        assert served.post(gzip.compress(form(dump)), Content_Encoding="gzip")[0] == 200
        assert served.post(form(dump), Content_Type="text/plain")[::2] == (
            400,
            "Discarded=malformed_wrong_content_type",
        )
        assert served.post(b"")[::2] == (400, "Discarded=malformed_no_content_length")
        assert served.post(form(dump)[:-20])[::2] == (400, "Discarded=malformed_invalid_payload_structure")
        assert served.post(b"x" * 27_000_000)[::2] == (413, "Discarded=body_too_large")
        assert served.post(b"", method="GET", path="/__lbheartbeat__")[0] == 200
        assert served.post(b"", method="GET", path="/submit")[0] == 405
        assert served.post(b"", path="/nowhere")[0] == 404
        status, _, text = served.post(b"", method="GET", path="/__heartbeat__")
        assert (status, json.loads(text)["errors"]) == (200, [])
        assert len(served.files()) == 2


def test_uploads_in_parallel_do_not_mix_and_receipts_are_written(tmp_path):
    with gunicorn(tmp_path, "--workers", "2", "--worker-class", "gthread", "--threads", "8") as served:
        replies: dict[int, str] = {}

        def send(number: int) -> None:
            replies[number] = served.post(form(b"MDMP" + number.to_bytes(2, "big") * 50_000))[2]

        threads = [threading.Thread(target=send, args=(number,)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        for number, reply in replies.items():
            assert served.stored(reply)["upload_file_minidump"] == b"MDMP" + number.to_bytes(2, "big") * 50_000
        assert len(served.files()) == len(replies) == 40
    lines = [line for path in (served.archive / "journal").rglob("*.jsonl") for line in path.read_text().splitlines()]
    accepted = [json.loads(line) for line in lines]
    assert sorted(entry["id"] for entry in accepted) == sorted(path.stem for path in served.files())
    assert {path.stem for path in (served.archive / "journal").rglob("*.jsonl")} <= {"wsgi-0", "wsgi-1"}


def test_a_killed_workers_acknowledged_reports_are_whole_and_the_next_worker_clears_up(tmp_path):
    with gunicorn(tmp_path, "--workers", "1") as served:
        dump = b"MDMP" + os.urandom(2_000_000)
        replies = []
        stop = threading.Event()

        def send() -> None:
            while not stop.is_set():
                try:
                    status, _, text = served.post(form(dump))
                except (OSError, IndexError, ValueError):  # it was killed in the middle
                    continue
                if status == 200:
                    replies.append(text)

        sender = threading.Thread(target=send)
        sender.start()
        for round_ in range(5):
            until = time.monotonic() + PATIENCE
            while len(replies) < (round_ + 1) * 3:
                assert time.monotonic() < until
                time.sleep(0.01)
            children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
            for child in children:
                os.kill(int(child), signal.SIGKILL)
        stop.set()
        sender.join(PATIENCE)
        for reply in replies:
            assert served.stored(reply)["upload_file_minidump"] == dump
        assert served.post(form(b"MDMP"))[0] == 200  # a new worker has emptied the folder of temporary files
        assert [path for path in (served.archive / ".tmp").rglob("*") if path.is_file() and path.name.isdecimal()] == []
        assert {path.name for path in (served.archive / ".tmp").iterdir()} == {"wsgi-0"}


def test_a_server_that_does_not_mark_the_end_of_a_body_needs_its_length(tmp_path, monkeypatch):
    monkeypatch.setenv("LAE_MONITOR_CONFIG", environ_of(tmp_path)["LAE_MONITOR_CONFIG"])
    from lae_monitor.gatherers.crashes.wsgi import application

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_arguments) -> None:
            pass

    with make_server("127.0.0.1", 0, application, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        served = Served(server.server_port, tmp_path / "state" / "archive", None)
        assert served.post(form(b"MDMP"))[0] == 200
        chunks = b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\n"
        answer = served.exchange(chunks + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert b"Discarded=malformed_no_content_length" in answer
        server.shutdown()
        thread.join(PATIENCE)


def test_what_keeps_it_from_beginning_is_told_and_costs_no_descriptors(tmp_path):
    """It is asked again and again; each time used to take another slot."""
    rules = tmp_path / "rules.toml"
    rules.write_text("no rules")
    os.environ["LAE_MONITOR__GATHERERS__CRASHES__RULES"] = str(rules)
    try:
        with gunicorn(tmp_path, "--workers", "1", "--threads", "2", "--worker-class", "gthread") as served:
            for _ in range(6):
                status, head, text = served.post(form(b"MDMP"))
                assert (status, text) == (503, "Discarded=archive_failed")
                assert "retry-after" in head.lower()
            (worker,) = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
            held = [os.readlink(fd) for fd in Path(f"/proc/{worker}/fd").iterdir()]
            assert not [path for path in held if path.endswith(".lock")]
            rules.write_text('[[rule]]\nname = "all"\nkey = "*"\nresult = "accept"\n')
            until = time.monotonic() + PATIENCE
            while served.post(form(b"MDMP"))[0] != 200:
                assert time.monotonic() < until
                time.sleep(0.2)
    finally:
        del os.environ["LAE_MONITOR__GATHERERS__CRASHES__RULES"]
    assert "rules.toml" in (tmp_path / "gunicorn.log").read_text()


def test_a_root_that_is_not_ours_is_503_and_stays_as_it_is(tmp_path):
    for disk_is_there in (True, False, True):
        archive = tmp_path / "state" / "archive"
        if not disk_is_there:
            archive.rename(tmp_path / "disk")
            archive.mkdir(mode=0o700)
        elif (tmp_path / "disk").exists():
            archive.rmdir()  # nobody put anything there
            (tmp_path / "disk").rename(archive)
        with gunicorn(tmp_path, "--workers", "2") as served:
            status, _, text = served.post(form(b"MDMP"))
            assert status == (200 if disk_is_there else 503), text
    assert len(served.files()) == 2
