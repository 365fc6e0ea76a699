"""Commands find a running `serve`, do without one, and say so when there is neither; `tail` follows and ends cleanly."""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from running import NOW
from shelf import event

from lae_monitor.cli.search import Follower
from lae_monitor.core.time import format_time, parse_time
from lae_monitor.terminal.answers import Served

LAE_MONITOR = [sys.executable, "-m", "lae_monitor"]
QUERY = Path(__file__).parents[1] / "query"  # where `shelf` is

FILL = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from shelf import event
from lae_monitor.archive import Archive
from lae_monitor.store import Store
from lae_monitor.store.chdb_driver import ChdbDriver

async def main(state):
    archive = await Archive([state / "archive"], "test").open()
    span = await archive.store("crashes/20261122/x.bin", [b"original bytes"])
    store = await Store(ChdbDriver(state / "store", memory=400 * 2**20)).open()
    row = event("lae", "h1", title="found without serve", id="the-id", file=span.path, length=span.end)
    await store.insert("events", [row], [("x", 0)], "t")
    await store.close()
    await archive.close()

asyncio.run(main(Path(sys.argv[1])))
"""


def command(state, *arguments):
    environment = {**os.environ, "LAE_MONITOR__STATE__PATH": str(state)}
    done = subprocess.run([*LAE_MONITOR, *arguments], capture_output=True, timeout=120, env=environment, check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The state of a monitor that does not run."""
    state = tmp_path_factory.mktemp("stopped") / "state"
    subprocess.run([sys.executable, "-c", FILL, str(state), str(QUERY)], check=True, timeout=120)
    return state


def test_without_serve_the_store_itself_is_asked(stopped):
    done = command(stopped, "search", "without", "--json")
    assert done.returncode == 0
    assert [row["title"] for row in json.loads(done.stdout)["rows"]] == ["found without serve"]
    assert command(stopped, "report", "save", "the-id", "-o", "-").stdout == b"original bytes"


def test_an_address_at_which_nothing_answers_any_more_does_not_matter(stopped):
    (stopped / "node.url").write_text("http://127.0.0.1:9/\n")
    try:
        assert command(stopped, "search", "without").returncode == 0
    finally:
        (stopped / "node.url").unlink()


def test_without_serve_tail_and_retry_say_that_they_need_it(stopped):
    done = command(stopped, "tail")
    assert done.returncode == 69
    assert b"found without serve" in done.stdout
    assert b"Next: lae-monitor run" in done.stderr
    assert command(stopped, "report", "retry", "x").returncode == 69


def test_with_neither_serve_nor_store_nothing_is_made_and_the_way_out_said(cli, state):
    for path in (state / "node.url", state):
        path.unlink() if path.is_file() else path.rmdir()
    for arguments in (
        ["search", "x"],
        ["tail"],
        ["host", "list"],
        ["host", "show", "h"],
        ["report", "show", "x"],
        ["report", "retry", "x"],
    ):
        said = cli(*arguments)
        assert said.code == 69, arguments
        assert "lae-monitor run" in said.err
    assert not state.exists()


def test_a_store_that_another_process_has_open_is_said(stopped):
    opened = subprocess.Popen(
        [sys.executable, "-c", "import sys; from pathlib import Path; from lae_monitor.store.chdb_driver import ChdbDriver;"
         "d = ChdbDriver(Path(sys.argv[1]), memory=400 * 2**20); print('open', flush=True); sys.stdin.read()", str(stopped / "store")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert opened.stdout.readline() == b"open\n"
        done = command(stopped, "search", "x")
    finally:
        opened.communicate(timeout=60)
    assert done.returncode == 69
    assert b"another lae-monitor" in done.stderr


class Odd(http.server.BaseHTTPRequestHandler):
    """Something else that answers at the address; `kind` says how."""

    kind = ""

    def do_GET(self):
        self.send_response(404 if self.kind == "404" else 200)
        if self.kind == "short" and self.path != "/ping":
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"rows": [')
            return
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_args):
        pass


@pytest.fixture
def odd(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    (tmp_path / "node.url").write_text(f"http://127.0.0.1:{server.server_port}/\n")
    yield tmp_path
    server.shutdown()
    thread.join(30)
    server.server_close()


def test_what_is_no_monitor_is_not_believed(odd):
    for Odd.kind in ("", "404"):
        done = command(odd, "search", "x")
        assert done.returncode == 69
        assert b"not lae-monitor" in done.stderr


def test_an_answer_that_is_cut_short_is_an_error(odd):
    Odd.kind = "short"
    done = command(odd, "search", "x")
    assert done.returncode == 75
    assert b"cut short" in done.stderr


def test_proxies_of_the_environment_are_not_used(cli, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert cli("host", "list").code == 0


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "https://127.0.0.1/", "http://", "nonsense"])
def test_an_address_that_is_none_of_ours_is_not_asked(url):
    from lae_monitor.terminal.answers import NotServed

    with pytest.raises(NotServed):
        Served(url)


def test_tail_shows_what_comes_and_ends_cleanly_on_ctrl_c(site, state, place, tmp_path):
    site.put(event(place, time=NOW - 100, title="was there before"))
    process = subprocess.Popen(
        [*LAE_MONITOR, "--config", str(tmp_path / "lae.toml"), "tail", "-n", "5", f"cluster:{place}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert b"was there before" in process.stdout.readline()
        site.put(event(place, time=NOW - 5000, received=NOW + 1, title="came late"))
        assert b"came late" in process.stdout.readline()
        site.put(event(place, time=NOW + 2, received=NOW + 2, title="came next"))
        assert b"came next" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert (out, err) == (b"", b"")


def row(number: int, received: float) -> dict:
    return {"kind": "log", "cluster": "c", "host": "h", "id": str(number), "time": format_time(received), "title": "t", "received": format_time(received)}  # fmt: skip


def test_a_follower_shows_each_event_once_and_asks_from_a_little_before():
    shown = []
    follower = Follower(lambda row: shown.append(row["id"]))
    follower.begin({"rows": [row(2, NOW - 1), row(1, NOW - 2)], "next": format_time(NOW, digits=6)}, 1)
    assert shown == ["2"]
    assert parse_time(follower.after) == NOW - 15
    follower.take(
        {"rows": [row(1, NOW - 2), row(2, NOW - 1), row(3, NOW + 1)], "complete": True, "next": format_time(NOW + 1)}
    )
    follower.take({"rows": [row(3, NOW + 1), row(0, NOW - 3)], "complete": True, "next": format_time(NOW - 3)})
    assert shown == ["2", "3", "0"]
    assert parse_time(follower.after) == NOW - 14
    follower.take({"rows": [row(4, NOW + 2)], "complete": False, "next": format_time(NOW + 2)})
    assert follower.behind
    assert parse_time(follower.after) == NOW + 2
