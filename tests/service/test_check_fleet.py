"""`lae-monitor check fleet` believes what a listener answers, not that it runs: against real processes, and impostors."""

import fcntl
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from command_line import lae_monitor
from monitor import LAE_MONITOR, Monitor, await_that, free_ports

from lae_monitor.config import load
from lae_monitor.core.limits import MiB
from lae_monitor.kinds import KINDS
from lae_monitor.net.tubs.identity import CERTIFICATE, identity
from lae_monitor.service import answering

ALL = {"serve", "crashes", "sonar", "incidents"}
QUICK = 0.2  # seconds of patience with impostors


def check(monitor, *parts: str, code: int) -> dict[str, dict]:
    """The answer of `check fleet`, by part."""
    done = lae_monitor("--config", str(monitor.config), "check", "fleet", "--json", *parts)
    assert done.returncode == code, done
    answer = json.loads(done.stdout)
    assert answer["ok"] == (code == 0)
    assert {"level", "about", "text"} == {key for found in answer["checks"] for key in found}
    return {found["about"]: found for found in answer["checks"]}


def levels(found: dict[str, dict]) -> dict[str, str]:
    return {about: one["level"] for about, one in found.items()}


@contextmanager
def one(monitor: Monitor, *command: str):
    """A process of its own, as a unit starts it."""
    with subprocess.Popen(
        [*LAE_MONITOR, "--config", str(monitor.config), *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        lines: list[bytes] = []
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stderr.readline, b"")), daemon=True)
        reader.start()
        process.log = lambda: b"".join(lines).decode()
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            reader.join(10)


def answers(monitor: Monitor, *parts: str) -> bool:
    return lae_monitor("--config", str(monitor.config), "check", "fleet", *parts).returncode == 0


@pytest.fixture
def idle(tmp_path):
    """A monitor that does not run."""
    return Monitor(tmp_path / "idle")


# ---- real processes ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Monitor(tmp_path_factory.mktemp("running") / "monitor") as monitor:
        await_that(lambda: answers(monitor), "the first probes have written")
        yield monitor


def test_everything_that_runs_answers(running):
    assert levels(check(running, code=0)) == dict.fromkeys(ALL, "ok")
    assert levels(check(running, "crashes", "incidents", code=0)) == {"crashes": "ok", "incidents": "ok"}
    said = running.cli("check", "fleet")
    assert f"sonar: 127.0.0.1:{running.ports['sonar']} answers, and writes to its archive" in said
    assert f"incidents: 127.0.0.1:{running.ports['incidents']} is the tub that our FURLs name" in said
    assert said.splitlines()[-1] == "Next: lae-monitor fleet status"


def test_the_figures_of_the_tub_are_asked_too(tmp_path):
    port = free_ports(1)[0]
    monitor = Monitor(tmp_path / "figures", extra=f'http = "127.0.0.1:{port}"\n')
    with one(monitor, "gather", "incidents"):
        await_that(lambda: answers(monitor, "incidents"), "both addresses answer")
        said = monitor.cli("check", "fleet", "incidents")
    assert f"incidents: 127.0.0.1:{port} answers, and writes to its archive" in said
    assert "is the tub that our FURLs name" in said


def test_being_asked_alarms_nobody(running):
    began = len(running.log)
    for _ in range(5):
        check(running, code=0)
    time.sleep(1)
    said = running.log[began:].decode()
    assert not [
        line for line in said.splitlines() if any(word in line for word in ("WARN", "ERROR", "CRIT", "Trace"))
    ], said
    journal = [path.read_text() for path in running.state.glob("archive/journal/*/*/*/*.jsonl")]
    assert not [line for text in journal for line in text.splitlines() if "refused" in line]


def test_nothing_runs(idle):
    said = idle.cli("check", "fleet", "--json", code=1)  # a process of its own
    found = {one["about"]: one for one in json.loads(said)["checks"]}
    assert found["serve"]["text"] == f"nothing runs on {idle.state}; start it: lae-monitor run"
    found = check(idle, "crashes", code=1)
    assert found == {
        "crashes": {
            "about": "crashes",
            "level": "problem",
            "text": "does not run; start it: systemctl start lae-monitor-crashes, or lae-monitor run",
        }
    }
    assert not idle.state.exists()


def test_a_part_that_was_killed(idle):
    with one(idle, "gather", "crashes") as crashes, one(idle, "gather", "incidents"):
        await_that(lambda: answers(idle, "crashes", "incidents"), "both answer")
        crashes.kill()
        crashes.wait()
        assert levels(check(idle, "crashes", "incidents", code=1)) == {"crashes": "problem", "incidents": "ok"}
        found = check(idle, code=0)  # who runs is asked; what ran is not forgotten
        assert levels(found) == {"crashes": "warning", "incidents": "ok"}
        assert "ran here before, and does not now; if it should, start it: systemctl start" in found["crashes"]["text"]


def test_a_part_that_hangs(idle, monkeypatch):
    with one(idle, "gather", "crashes") as crashes:
        await_that(lambda: answers(idle, "crashes"), "it answers")
        crashes.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        found = check(idle, "crashes", code=1)
        assert "does not answer: " in found["crashes"]["text"]
        assert time.monotonic() - began < answering.PATIENCE + 10
        crashes.send_signal(signal.SIGCONT)
        await_that(lambda: answers(idle, "crashes"), "it answers again")


def test_a_certificate_that_was_replaced_under_the_gatherer(idle, tmp_path):
    with one(idle, "gather", "incidents") as gatherer:
        await_that(lambda: answers(idle, "incidents"), "it answers")
        kept = idle.state / "credentials" / "incidents" / CERTIFICATE
        own = kept.read_bytes()
        kept.write_bytes(identity(tmp_path / "other").pem)
        text = check(idle, "incidents", code=1)["incidents"]["text"]
        assert "was the certificate replaced?" in text
        assert "restart the gatherer" in text
        kept.write_text("damaged")
        assert (
            f"{kept}: no certificate; put the certificate back" in check(idle, "incidents", code=1)["incidents"]["text"]
        )
        kept.unlink()
        assert f"{kept}: No such file or directory; put" in check(idle, "incidents", code=1)["incidents"]["text"]
        kept.write_bytes(own)
        check(idle, "incidents", code=0)
        time.sleep(0.5)
        assert not [line for line in gatherer.log().splitlines() if "ERROR" in line or "Trace" in line], gatherer.log()


def test_listeners_on_ipv6_and_on_every_address(idle):
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError as error:
        pytest.skip(f"NOT TESTED: IPv6. This host has none: {error}")
    port, crashes = idle.ports["incidents"], idle.ports["crashes"]
    text = idle.config.read_text().replace(f"tcp:{port}:interface=127.0.0.1", f"tcp:{port}:interface=\\\\:\\\\:1")
    for listen, crashes_at in (
        (f"[::1]:{crashes}", f"[::1]:{crashes}"),
        (f"0.0.0.0:{crashes}", f"127.0.0.1:{crashes}"),
    ):
        idle.config.write_text(text.replace(f'"127.0.0.1:{crashes}"', f'"{listen}"'))
        with one(idle, "gather", "incidents"), one(idle, "gather", "crashes"):
            await_that(lambda: answers(idle, "incidents", "crashes"), "both answer")
            found = check(idle, "incidents", "crashes", code=0)
            assert found["incidents"]["text"] == f"[::1]:{port} is the tub that our FURLs name"
            assert found["crashes"]["text"].startswith(f"{crashes_at} answers")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: a full disk. Mounting a small file system needs root")
def test_an_archive_that_takes_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={8 * MiB}", "tmpfs", disk], check=True)
    try:
        monitor = Monitor(tmp_path / "monitor", roots=[disk / "root"])
        monitor.config.write_text(monitor.config.read_text().replace("[archive]\n", '[archive]\nreserve = "64 KiB"\n'))
        with one(monitor, "gather", "crashes"):
            await_that(lambda: answers(monitor, "crashes"), "it answers")
            with (disk / "hog").open("wb", buffering=0) as hog, suppress(OSError):
                while True:
                    hog.write(bytes(65536))
            await_that(lambda: not answers(monitor, "crashes"), "it says so", 60)
            text = check(monitor, "crashes", code=1)["crashes"]["text"]
            assert "answers, and cannot write" in text
            assert str(disk / "root") in text
            assert "full" in text or "No space" in text, text
            (disk / "hog").unlink()
            await_that(lambda: answers(monitor, "crashes"), "it is well again", 60)
            check(monitor, "crashes", code=0)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


# ---- impostors -----------------------------------------------------------------------------------------------------


@pytest.fixture
def impostor(idle, monkeypatch):
    """Listens where `part` should, while the lock says that it runs; `answer(connection)` is all it does. What is said then."""
    monkeypatch.setattr(answering, "PATIENCE", QUICK)
    idle.state.mkdir(mode=0o700)
    for name in (f"gather-{part}" for part in ("crashes", "incidents")):
        (idle.state / f"{name}.lock").write_text("")
    folder = idle.state / "credentials" / "incidents"
    identity(folder / CERTIFICATE)

    def ask(part: str, answer) -> str:
        settings = load(idle.config, KINDS, {})
        with (
            (idle.state / f"gather-{part}.lock").open() as lock,
            socket.create_server(("127.0.0.1", idle.ports[part])) as listening,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX)
            stop = threading.Event()

            def serve():
                with suppress(OSError):
                    connection, _ = listening.accept()
                    with connection, suppress(OSError):
                        answer(connection)
                        stop.wait(10)  # never closes first

            thread = threading.Thread(target=serve)
            thread.start()
            began = time.monotonic()
            (found,) = answering.ask(settings, (part,))
            took = time.monotonic() - began
            stop.set()
            thread.join()
        assert found.level == "problem", found
        assert found.about == part
        assert took < QUICK + 2, took
        assert found.text.isprintable()
        assert len(found.text) < 700
        assert f"127.0.0.1:{idle.ports[part]}" in found.text
        return found.text

    return ask


def say(data: bytes):
    def answer(connection):
        connection.recv(65536)
        connection.sendall(data)

    return answer


def drip(data: bytes):
    def answer(connection):
        connection.recv(65536)
        connection.sendall(data)
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)

    return answer


def flood(data: bytes):
    def answer(connection):
        connection.recv(65536)
        connection.sendall(data)
        while True:
            connection.sendall(b"[" * 65536)

    return answer


@pytest.mark.parametrize("part", ["crashes", "incidents"])
def test_one_that_accepts_and_never_answers_is_cut_off(impostor, part):
    text = impostor(part, lambda connection: None)
    assert "does not answer: " in text
    assert "ss -ltnp 'sport = :" in text


@pytest.mark.parametrize("part", ["crashes", "incidents"])
@pytest.mark.parametrize(
    "head",
    [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"HTTP/1.1 101 Y\r\n\r\n"],
)
def test_one_that_drips_is_cut_off_too(impostor, part, head):
    text = impostor(part, drip(head))
    assert "does not answer: no whole answer within" in text or "nothing of ours does" in text


@pytest.mark.parametrize("part", ["crashes", "incidents"])
@pytest.mark.parametrize(
    "head", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 101 Y\r\n\r\n"]
)
def test_one_that_floods_is_not_read_to_its_end(impostor, part, head):
    before = max_memory()
    assert impostor(part, flood(head))
    assert max_memory() - before < 64  # MiB


def max_memory() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


def http(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2p1 \x1b[31mDebian\r\n\r\n",
        b"\x1b]0;title\x07\r\n\r\n",
        b"\xff\xfe\0\0\r\n\r\n",
        http(b"<html>It works!</html>"),
        http(b""),
        http(b"[]"),
        http(b"{}"),
        http(b"null"),
        http(b'{"errors": [], "roots": []}'),
        http(b'{"errors": 5, "roots": [1]}'),
        http(b'{"errors": [[]], "roots": [1]}'),
        http(b"[" * 60000),
        http(b"\xff\xfe"),
        http(b"not found", "404 Not Found"),
        http(b"[]", "503 Service Unavailable"),
        http(b'{"errors": [{"name": "\\u001b[31m", "msg": "\\u001b]0;x\\u0007"}], "roots": [1]}', "503 No"),
        b"HTTP/1.1 \x1b[31m\r\n\r\n",
        b"HTTP/1.1 500 Internal Server Error: no\r\n\r\n",
    ],
)
@pytest.mark.parametrize("part", ["crashes", "incidents"])
def test_one_that_answers_rubbish_is_no_gatherer_of_ours(impostor, part, data):
    text = impostor(part, say(data))
    assert "answers" in text or "no whole answer within" in text


def test_one_that_closes_at_once(impostor):
    assert "127.0.0.1" in impostor("crashes", lambda connection: connection.shutdown(socket.SHUT_RDWR))
    assert "127.0.0.1" in impostor("incidents", lambda connection: connection.shutdown(socket.SHUT_RDWR))


def test_a_tub_with_another_certificate(impostor, tmp_path):
    """One that agrees to be the tub we ask for, and cannot prove it."""
    identity(tmp_path / "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "other")

    def answer(connection):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        context.wrap_socket(connection.dup(), server_side=True).close()

    assert "was the certificate replaced?" in impostor("incidents", answer)


def test_a_port_that_nobody_listens_on_while_the_lock_says_so(idle, impostor):
    settings = load(idle.config, KINDS, {})
    with (idle.state / "gather-crashes.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (found,) = answering.ask(settings, ("crashes",))
    assert (found.level, "does not answer: Connection refused" in found.text) == ("problem", True), found


def test_any_free_port_cannot_be_asked(idle, impostor):
    idle.config.write_text(idle.config.read_text().replace(f"127.0.0.1:{idle.ports['crashes']}", "127.0.0.1:0"))
    settings = load(idle.config, KINDS, {})
    with (idle.state / "gather-crashes.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (found,) = answering.ask(settings, ("crashes",))
    assert (found.level, "give gatherers.crashes.listen a port" in found.text) == ("warning", True)


# ---- check config PART ---------------------------------------------------------------------------------------------


def test_check_config_looks_only_at_the_parts_that_are_named(idle):
    def about(*parts: str, code: int = 0) -> set[str]:
        answer = json.loads(idle.cli("check", "config", "--json", *parts, code=code))
        return {one["about"] for one in answer["checks"] if one["about"].startswith(("gatherers.", "web."))}

    assert about("serve") == {"web.listen"}
    assert about("crashes") == {"gatherers.crashes", "gatherers.crashes.listen"}
    assert about("crashes", "incidents", "--no-environment") == {"gatherers.crashes", "gatherers.incidents"}
    assert len(about()) == 7
    with socket.create_server(("127.0.0.1", idle.ports["crashes"])):
        about("crashes", code=1)
        about("sonar", "serve", "incidents")
    idle.cli("check", "config", "rubbish", code=2)
    idle.cli("check", "fleet", "rubbish", code=2)
