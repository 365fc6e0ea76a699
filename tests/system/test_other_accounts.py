"""A monitor that is started with umask 000: what it makes is closed to other accounts, and they need a token to ask it."""

import json
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from monitor import Monitor, await_that, free_port

AS_OTHERS = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: requests of other accounts. Needs root")
OTHER = 31_337
# As another account, to which the files of our Python may be closed: the command runs once as root, which loads them.
COMMAND = f"""
import contextlib, io, os
from lae_monitor.cli.group import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
    main()
os.setresgid({OTHER}, {OTHER}, {OTHER})
os.setresuid({OTHER}, {OTHER}, {OTHER})
main()
"""
REQUEST = f"""
import encodings.idna, os, socket, sys
os.setresuid({OTHER}, {OTHER}, {OTHER})
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as client:
    client.sendall(sys.stdin.buffer.read())
    while piece := client.recv(65536):
        sys.stdout.buffer.write(piece)
"""


@pytest.fixture(scope="module")
def monitor():
    """In a folder that other accounts can reach: pytest closes its own at the start of any other session."""
    before = os.umask(0)
    try:
        with tempfile.TemporaryDirectory(prefix="lae-monitor-test-") as folder:
            Path(folder).chmod(0o755)
            figures = free_port()
            made = Monitor(Path(folder) / "monitor", extra=f'http = "127.0.0.1:{figures}"\n')
            made.ports["figures"] = figures
            with made:
                yield made
    finally:
        os.umask(before)


def request(port: int, target: str, *headers: str, method: str = "GET", user: int = 0) -> tuple[int, str]:
    """Status and body, asked by `user`."""
    lines = [f"{method} {target} HTTP/1.1", "Connection: close", "Content-Length: 0", *headers]
    if not any(header.startswith("Host") for header in headers):
        lines.append(f"Host: 127.0.0.1:{port}")
    sent = ("\r\n".join(lines) + "\r\n\r\n").encode()
    if user:
        done = subprocess.run([sys.executable, "-Sc", REQUEST, str(port)], input=sent, capture_output=True, timeout=60, check=True)  # fmt: skip
        got = done.stdout
    else:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(sent)
            got = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = got.decode().partition("\r\n\r\n")
    return int(head.split()[1]), body


def as_other(monitor: Monitor, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", COMMAND, "--config", str(monitor.config), *arguments],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def new_token(monitor: Monitor, role: str) -> str:
    return json.loads(monitor.cli("token", "new", "web", "--role", role, "--json"))["password"]


def test_root_and_our_own_account_need_no_login_unless_a_proxy_asks(monitor):
    web = monitor.ports["web"]
    assert request(web, "/api/hosts")[0] == 200
    for header in ("X-Forwarded-For: 10.0.0.7", "Forwarded: for=10.0.0.7", "X-Real-IP: 127.0.0.1", "Via: 1.1 proxy", "X_Forwarded_Host: a"):  # fmt: skip
        status, body = request(web, "/api/hosts", header)
        assert (status, json.loads(body)["error"]) == (401, "needs_token"), header
        assert request(web, "/api/reports/x/retry", header, method="POST")[0] == 401


@AS_OTHERS
def test_another_account_is_refused_and_let_in_by_a_token(monitor):
    web = monitor.ports["web"]
    for target in ("/", "/api/hosts", "/search?q=x", "/report/x", "/api/store", "/incidents.atom"):
        assert request(web, target, user=OTHER)[0] == 401, target
    assert request(web, "/api/reports/x/retry", method="POST", user=OTHER)[0] == 401
    _, body = request(web, "/", user=OTHER)
    assert "lae-monitor token new web" in body
    assert f"user {OTHER}" in body
    viewer = new_token(monitor, "viewer")
    assert request(web, "/api/hosts", f"Authorization: Bearer {viewer}", user=OTHER)[0] == 200
    assert request(web, "/api/reports/x/retry", f"Auth-Token: {viewer}", method="POST", user=OTHER)[0] == 403
    assert request(web, "/incidents.atom?token=" + new_token(monitor, "feed"), user=OTHER)[0] == 200
    (mine,) = [one for one in json.loads(monitor.cli("token", "list", "--json"))["tokens"] if one["role"] == "viewer"]
    monitor.cli("token", "revoke", "web", mine["id"])
    assert request(web, "/api/hosts", f"Authorization: Bearer {viewer}", user=OTHER)[0] == 401
    assert viewer not in monitor.log.decode()


@AS_OTHERS
def test_the_command_line_of_another_account(monitor):
    refused = as_other(monitor, "search", "x")
    assert refused.returncode == 69, refused
    assert "only root and the account of the monitor may ask without a token" in refused.stderr
    assert "Next: run it with sudo; or let root make a token" in refused.stderr
    file = monitor.folder / "token"
    file.write_text(new_token(monitor, "viewer") + "\n")
    os.chown(file, OTHER, OTHER)
    file.chmod(0o640)
    closed = as_other(monitor, "search", "x", LAE_MONITOR_TOKEN_FILE=str(file))
    assert closed.returncode == 69
    assert f"chmod 600 {file}" in closed.stderr
    file.chmod(0o600)
    found = as_other(monitor, "search", "x", "--json", LAE_MONITOR_TOKEN_FILE=str(file))
    assert json.loads(found.stdout)["matched"] == 0, found
    assert as_other(monitor, "store", "status", LAE_MONITOR_TOKEN_FILE=str(file)).returncode == 0
    denied = as_other(monitor, "report", "retry", "x", LAE_MONITOR_TOKEN_FILE=str(file))
    assert denied.returncode == 69
    assert "lae-monitor token new web --role operator" in denied.stderr


def test_the_command_line_comes_by_the_socket(monitor):
    address = (monitor.state / "node.url").read_text()
    (monitor.state / "node.url").write_text("http://127.0.0.1:9/\n")
    try:
        assert "matched" in monitor.cli("search", "kind:alarm", "--json", code=None)
        assert "mover:" in monitor.cli("store", "status")
    finally:
        (monitor.state / "node.url").write_text(address)


def test_health_is_told_to_everybody_by_any_name_and_folders_are_not(monitor):
    for part in ("web", "crashes", "sonar", "figures"):
        port = monitor.ports[part]
        for host in ("10.0.0.1", "balancer.example:443", "127.0.0.1"):
            for target in ("/ping", "/__lbheartbeat__", "/__heartbeat__", "/__version__"):
                status, body = request(port, target, f"Host: {host}", "X-Forwarded-For: 10.0.0.7")
                assert status == 200, (part, host, target)
                assert str(monitor.folder) not in body, (part, target)
        assert str(monitor.state) in request(port, "/__heartbeat__")[1], part
        pointed_here = "Host: evil.example"  # a site that lets root's browser ask, and points its own name at 127.0.0.1
        assert str(monitor.folder) not in request(port, "/__heartbeat__", pointed_here)[1], part
        assert request(port, "/metrics", pointed_here)[0] == 401, part
        assert "lae_http_requests_total" in request(port, "/metrics")[1]
        proxied = ("X-Forwarded-For: 10.0.0.7", "Host: balancer.example")
        assert request(port, "/metrics", *proxied)[0] == 401, part
        token = f"Authorization: Bearer {new_token(monitor, 'viewer')}"
        assert request(port, "/metrics", *proxied, token)[0] == 200, part
        assert request(port, "/metrics", *proxied, "Authorization: Bearer x")[0] == 401, part
        assert str(monitor.state) in request(port, "/__heartbeat__", *proxied, token)[1]


@AS_OTHERS
def test_every_local_account_may_read_figures(monitor):
    assert request(monitor.ports["crashes"], "/metrics", user=OTHER)[0] == 200
    assert str(monitor.state) not in request(monitor.ports["crashes"], "/__heartbeat__", user=OTHER)[1]


def test_all_that_was_made_is_closed_to_others(monitor):
    """After reports were stored, shown, saved and refused; credentials made; the store rebuilt."""
    said = monitor.cli("crashes", "submit", "--url", f"{monitor.crashes}/submit")
    crash = re.search(r"bp-([0-9a-f-]{36})", said)[1]
    await_that(lambda: monitor.search("kind:crash"), "the crash is found")
    monitor.cli("token", "new", "crashes", "--product", "P")
    saved = monitor.folder / "saved.zip"
    monitor.cli("report", "save", crash, "-o", str(saved))
    monitor.cli("store", "rebuild")
    monitor.cli("fleet", "register", "incident", "--host", "h1", "--print-furl", code=None)
    subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--data-binary", "v=0.12.1,time=2026", "-H", "Content-Type: text/csv",
         f"{monitor.sonar}/sonar-freecsv?cluster=lae"],
        check=True, timeout=60, capture_output=True,
    )  # fmt: skip
    made = [saved, monitor.state, *monitor.state.rglob("*")]
    assert len(made) > 40
    assert {path.name for path in made} >= {
        "serve.sock",
        "mover.sock",
        "mover.db",
        "node.url",
        "tokens.txt",
        "gatherer.pem",
    }
    open_ones = []
    for path in made:
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) & 0o077:
            open_ones.append((oct(mode), str(path)))
    assert open_ones == []
    assert stat.S_IMODE((monitor.state / "serve.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600


def test_the_socket_goes_at_the_end_and_a_stale_one_is_replaced(tmp_path):
    folder = tmp_path / ("deep" * 20) / ("folder" * 20)
    folder.mkdir(parents=True)
    with Monitor(folder / "monitor", "serve") as monitor:
        assert (monitor.state / "serve.sock").is_socket()
        os.kill(monitor.child(str(monitor.config), "serve"), 9)
        await_that(lambda: b"starting it again" in monitor.log, "it is started again")
        await_that(lambda: "mover:" in monitor.cli("store", "status", code=None), "it answers by its socket again")
        assert (monitor.state / "serve.sock").is_socket()
    assert not (monitor.state / "serve.sock").exists()
