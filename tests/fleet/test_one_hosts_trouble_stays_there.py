"""What keeps a host from being reached costs that host alone, ends in time, and says what to do."""

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress

import paramiko
import pytest
from gatherer_process import await_that
from sshd import ME, keygen

from lae_monitor.fleet import trouble

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:twisted.*")


def at(port, name="bad"):
    return f"{name}=127.0.0.1:{getattr(port, 'port', port)}"


def register(fleet, *words, code=0, **others):
    answer = fleet("register", "incident", *words, "--wait", 0, "--json", code=code, **others)
    assert not re.search("pb://[a-z2-7]{32}@", answer.output)
    return json.loads(answer.stdout)


@contextmanager
def closed_port():
    with socket.socket() as probe:  # bound, and nobody listens: nobody else gets it meanwhile
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


@contextmanager
def silent():
    """Takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def dripping():
    """Says one letter now and then: a banner that never ends."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    while not stop.wait(0.2):
                        connection.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        yield server.getsockname()[1]
        stop.set()
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@contextmanager
def web_server():
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(10)


CASES = {
    "nobody listens": (closed_port, "unreachable", "Connection refused"),
    "says nothing": (silent, "timeout", "no answer within 3 s"),
    "never ends its first line": (dripping, ("timeout", "unreachable"), ""),
    "is no sshd": (web_server, "unreachable", "sshd"),
}


@pytest.mark.parametrize(("bad", "code", "words"), CASES.values(), ids=CASES)
def test_the_others_are_done(fleet, new_host, bad, code, words):
    good = new_host()
    fleet.know(good)
    with bad() as port:
        answer = register(fleet, at(port), at(good, "good"), "--timeout", 3, code=1)
    first, second = answer["hosts"]
    assert first["error"] in code
    assert words in first["message"]
    assert first["next"] == answer["next"] != ""
    assert (second["result"], good.restarts) == ("changed", 1)


@pytest.mark.parametrize("how", ["exec sleep 100", 'kill -STOP "$PPID"; exec sleep 100'])
def test_a_host_that_stops_answering_once_it_let_us_in_ends_in_time(fleet, new_host, how):
    host = new_host()
    fleet.know(host)
    (host.folder / "session.sh").write_text(f'#!/bin/sh\necho "$$ $PPID" >> {host.folder}/frozen\n{how}\n')
    first = register(fleet, at(host), "--timeout", 3, code=1)["hosts"][0]
    for pid in (host.folder / "frozen").read_text().split():
        with suppress(OSError):
            os.kill(int(pid), signal.SIGKILL)
    assert first["error"] == "timeout", first["message"]


@contextmanager
def opens_no_session(key):
    """Lets everybody in, opens a channel, and answers to nothing that is asked on it."""
    done = threading.Event()

    class Server(paramiko.ServerInterface):
        def check_auth_publickey(self, username, key):
            return paramiko.AUTH_SUCCESSFUL

        def check_channel_request(self, kind, chanid):
            return paramiko.OPEN_SUCCEEDED

        def check_channel_subsystem_request(self, channel, name):
            done.wait(100)
            return False

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            transport = paramiko.Transport(listening.accept()[0])
            transport.add_server_key(paramiko.Ed25519Key.from_private_key_file(str(key)))
            transport.start_server(server=Server())
            done.wait(100)
            transport.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        done.set()
        thread.join(10)


def test_a_host_that_opens_no_session_ends_in_time(fleet, tmp_path):
    with opens_no_session(keygen(tmp_path / "host_key")) as port:
        first = register(fleet, at(port), "--timeout", 3, "--host-keys", "accept-new", code=1)["hosts"][0]
        assert first["error"] == "timeout", first["message"]


def test_a_name_without_an_address_is_said(fleet):
    answer = register(fleet, "nowhere.invalid", code=1)["hosts"][0]
    assert (answer["error"], "nowhere.invalid has no address" in answer["message"]) == ("unreachable", True)


def test_an_unknown_host_key_is_refused_and_believed_once_when_that_is_asked(fleet, new_host):
    host, other = new_host(), new_host()
    before = register(fleet, at(host), code=1)["hosts"][0]
    assert before["error"] == "unknown_host_key"
    assert "SHA256:" in before["message"] and "ssh-keyscan -p" in before["next"]
    assert not fleet.known_hosts.exists()
    assert host.ran() == ""
    fleet.known_hosts.write_text("# mine, without an end of line")
    register(fleet, at(host, "one"), at(other, "two"), "--host-keys", "accept-new")
    lines = fleet.known_hosts.read_text().splitlines(keepends=True)
    assert lines[0] == "# mine, without an end of line\n"
    assert set(lines[1:]) == {host.known, other.known}
    register(fleet, at(host, "one"), at(other, "two"))
    register(fleet, at(host, "one"), "--host-keys", "accept-new")
    assert len(fleet.known_hosts.read_text().splitlines()) == 3


def test_a_revoked_host_key_is_never_new(fleet, new_host):
    host = new_host()
    fleet.known_hosts.write_text(f"@revoked * {host.known.partition(' ')[2]}")
    answer = register(fleet, at(host), "--host-keys", "accept-new", code=1)["hosts"][0]
    assert (answer["error"], "revoked" in answer["message"], host.ran()) == ("changed_host_key", True, "")


def test_what_else_is_in_known_hosts_keeps_nobody_out(fleet, new_host):
    """As OpenSSH writes it: hashed names, comments, marks, lines of later releases."""
    host = new_host()
    fleet.know(host)
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(fleet.known_hosts)], check=True, capture_output=True)
    hashed = fleet.known_hosts.read_text()
    assert "127.0.0.1" not in hashed
    odd = "# c\n\n@cert-authority *.x ssh-rsa AAAA\nx ssh-new-kind AAAA\nx ssh-rsa !!\nx\n"
    fleet.known_hosts.write_text(odd + hashed)
    register(fleet, at(host))
    assert host.restarts == 1


@pytest.mark.parametrize("policy", ["strict", "accept-new"])
def test_a_changed_host_key_is_always_refused(fleet, new_host, policy, tmp_path):
    host = new_host()
    kind, key, *_ = keygen(tmp_path / "other").with_suffix(".pub").read_text().split()
    fleet.known_hosts.write_text(f"[127.0.0.1]:{host.port} {kind} {key}\n")
    answer = register(fleet, at(host), "--host-keys", policy, code=1)["hosts"][0]
    assert answer["error"] == "changed_host_key"
    assert f"-R '[127.0.0.1]:{host.port}'" in answer["next"]
    assert host.ran() == ""


def test_a_wrong_key_and_one_that_is_none_are_told_apart(fleet, new_host, tmp_path):
    host = new_host()
    fleet.know(host)
    answer = register(fleet, at(host), code=1, key=keygen(tmp_path / "id_wrong"))["hosts"][0]
    assert (answer["error"], "id_wrong" in answer["message"]) == ("login_refused", True)
    (tmp_path / "none").write_text("hello")
    for key, words in ((tmp_path / "none", "no private key"), (tmp_path / "missing", "No such file")):
        said = fleet("register", "incident", at(host), code=2, key=key)
        assert words in said.output
    assert host.ran() == ""


def test_a_jump_host_is_believed_no_more_than_others(fleet, new_host):
    hop, host = new_host(options="AllowTcpForwarding yes\n"), new_host()
    ssh = fleet.folder.parent / "operator/.ssh"
    ssh.mkdir(mode=0o700)
    (ssh / "config").write_text(
        f"Host localhost\n  ProxyJump {ME}@127.0.0.1:{hop.port}\nHost 127.0.0.1\n  IdentityFile {fleet.key}\n"
    )
    fleet.known_hosts.write_text(host.known.replace("127.0.0.1", "localhost"))
    inner = f"inner=localhost:{host.port}"
    assert register(fleet, inner, code=1)["hosts"][0]["error"] == "unknown_host_key"
    fleet.know(hop)
    register(fleet, inner)
    assert (host.restarts, hop.ran()) == (1, "")


def test_a_host_that_vanishes_amid_its_restart_is_said(fleet, new_host):
    host = new_host()
    fleet.know(host)
    answer = register(fleet, at(host), "--restart", "kill -9 $(ps -o ppid= -p $PPID); kill -9 $PPID; sleep 1", code=1)[
        "hosts"
    ][0]
    assert answer["error"] == "restart_failed"
    assert "--restart-always" in answer["next"]


def test_one_damaged_furl_costs_only_its_host(fleet, new_host):
    one, two = new_host(), new_host()
    fleet.know(one, two)
    folder = fleet.folder / "state/credentials/incidents/lae"
    register(fleet, at(one, "one"))
    (folder / "one.furl").write_text("pb://rubbish\n")
    answer = register(fleet, at(one, "one"), at(two, "two"), code=1)
    assert [host.get("error") for host in answer["hosts"]] == ["no_furl", None]
    assert two.restarts == 1


def test_nobody_is_heard_while_no_gatherer_runs(fleet, new_host):
    host = new_host()
    fleet.know(host)
    done = fleet("register", "incident", at(host), "--json", code=1)
    assert json.loads(done.stdout)["hosts"][0]["error"] == "no_gatherer"


def test_a_line_for_each_host_says_what_became_of_it(fleet, new_host):
    host = new_host(nodes=["storageserver"])
    fleet.know(host)
    with closed_port() as port:
        done = fleet("register", "incident", at(host, "good"), at(port, "bad"), "--wait", 0, code=1)
    lines = [line.split("  ") for line in done.stdout.splitlines()]
    assert [line[0].strip() for line in lines] == ["host", "good", "bad"]
    assert "storageserver changed, introducer not there" in done.stdout
    assert "lae-monitor: bad: port" in done.stderr
    assert "Next: " in done.stderr


def test_ctrl_c_ends_it_after_the_hosts_that_are_begun(fleet, new_host, tmp_path):
    first, second = new_host(nodes=["storageserver"]), new_host(nodes=["storageserver"])
    fleet.know(first, second)
    begun, go_on = tmp_path / "begun", tmp_path / "go-on"
    configs = [host.home / "storageserver" / "tahoe.cfg" for host in (first, second)]
    before = configs[1].read_bytes()
    command = [
        sys.executable, "-m", "lae_monitor", "--config", fleet.config, "fleet", "set-option", "node", "nickname", "new",
        "--on", at(first, "first"), "--on", at(second, "second"), "--parallel", "1",
        "--restart", f"touch {begun}; until test -e {go_on}; do sleep 0.05; done",
        "--identity", fleet.key, "--user", ME, "--known-hosts", fleet.known_hosts, "--json",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            await_that(begun.exists, lambda: f"it never begins: {process.poll()}")
            process.send_signal(signal.SIGINT)
            assert "no further host is begun" in process.stderr.readline()
            go_on.touch()
            said, _ = process.communicate(timeout=60)
        finally:
            go_on.touch()
            process.kill()
    assert process.returncode == 1
    done, not_begun = json.loads(said)["hosts"]
    assert (done["result"], done["status"]) == ("changed", 0), done
    assert (not_begun["result"], not_begun["error"]) == ("failed", "not_begun")
    assert b"nickname = new" in configs[0].read_bytes()
    assert configs[1].read_bytes() == before


def test_every_code_is_documented():
    text = os.path.dirname(__file__) + "/../../docs/registering.md"
    with open(text) as page:
        documented = page.read()
    assert [code for code in trouble.CODES if f"`{code}`" not in documented] == []
