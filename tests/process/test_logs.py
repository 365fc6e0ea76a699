"""What processes log, line by line, and what they hand on to Sentry: what went wrong in us, and nothing that came from others."""

import gzip
import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lae_monitor import __version__

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0

SAYS = """
import logging
from lae_monitor.process.logs import set_up_log
set_up_log("gather-crashes", {form!r})
log = logging.getLogger("lae_monitor.part")
log.debug("too small a thing")
log.info("began with %s", "two\\nlines")
log.warning("beware")
try:
    raise ValueError("it broke")
except ValueError:
    log.exception("failed")
"""


def said(script: str, **environment: str) -> list[str]:
    """The lines that a process writes to standard error."""
    kept = {name: value for name, value in os.environ.items() if name not in {"JOURNAL_STREAM", "SENTRY_DSN"}}
    kept |= {"PYTHONPATH": str(ROOT), "TZ": "Asia/Tokyo", **environment}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=kept, timeout=PATIENCE, check=False
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_a_line_of_json_has_the_fields_of_mozlog():
    begun = time.time_ns()
    lines = [json.loads(line) for line in said(SAYS.format(form="json"), JOURNAL_STREAM="8:1")]
    fields = {"Timestamp", "Type", "Logger", "Hostname", "EnvVersion", "Severity", "Pid", "Fields"}
    assert [set(line) for line in lines] == [fields] * 3
    assert [line["Severity"] for line in lines] == [6, 4, 3]
    assert [line["Fields"]["msg"] for line in lines] == ["began with two\nlines", "beware", "failed"]
    for line in lines:
        assert begun - 10**9 < line["Timestamp"] < time.time_ns() + 10**9
        assert (line["Type"], line["Logger"], line["EnvVersion"]) == ("lae_monitor.part", "gather-crashes", "2.0")
        assert line["Hostname"] == os.uname().nodename
        assert type(line["Pid"]) is int


def test_an_exception_stays_on_its_line_of_json():
    lines = [json.loads(line) for line in said(SAYS.format(form="json"))]
    assert [set(line["Fields"]) for line in lines] == [{"msg"}, {"msg"}, {"msg", "error", "traceback"}]
    assert lines[2]["Fields"]["error"] == "ValueError"
    assert lines[2]["Fields"]["traceback"].startswith("Traceback")
    assert lines[2]["Fields"]["traceback"].endswith("ValueError: it broke\n")


def test_text_has_the_time_in_utc_and_the_process():
    begun = time.time()
    first, second, beware, failed, *trace = said(SAYS.format(form="text"))
    when, _, rest = first.partition(" ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", when)
    assert when >= time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(begun - 1))
    assert when <= time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 1))
    assert (rest, second) == ("INFO gather-crashes: began with two", "lines")
    assert beware.endswith(" WARNING gather-crashes: beware")
    assert failed.endswith(" ERROR gather-crashes: failed")
    assert (trace[0], trace[-1]) == ("Traceback (most recent call last):", "ValueError: it broke")


def test_for_the_journal_each_line_has_its_priority():
    lines = said(SAYS.format(form="text"), JOURNAL_STREAM="8:1")
    assert lines[:4] == ["<6>INFO began with two", "<6>lines", "<4>WARNING beware", "<3>ERROR failed"]
    assert len(lines) > 5
    assert all(line.startswith("<3>") for line in lines[3:])
    assert lines[-1] == "<3>ValueError: it broke"


# ---- Sentry ------------------------------------------------------------------------------------------------------------


class Sentry(BaseHTTPRequestHandler):
    """Takes envelopes, as https://develop.sentry.dev/sdk/data-model/envelopes/ has them."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(
            (self.path, gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
        )
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_arguments):
        pass


@contextmanager
def listening():
    """A Sentry; `requests` is what came, path and body."""
    server = HTTPServer(("127.0.0.1", 0), Sentry)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def events(requests: list[tuple[str, bytes]]) -> list[dict]:
    """The events in the envelopes; each has a header line, then a header and a payload for each item."""
    found = []
    for path, body in requests:
        assert path == "/api/7/envelope/"
        lines = body.splitlines()
        for head, payload in zip(lines[1::2], lines[2::2], strict=True):
            if json.loads(head)["type"] == "event":
                found.append(json.loads(payload))
    return found


SECRET = "swordfish-and-chips"  # the script does not have it: its lines may be sent
# A gatherer's server whose handler breaks, a client of it whose request is full of secrets, and an exception at the end.
BREAKS = """
import asyncio, os
from lae_monitor.net.http import Route, Router, serve
from lae_monitor.process.logs import set_up_log

async def submit(request):
    local_variable = (await request.body(1000))[::-1]
    raise LookupError("the handler broke")

async def main():
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    app = Router([Route(path="/submit", methods={"POST": submit})])
    server = asyncio.create_task(serve(app, "127.0.0.1", 0, stop=stop, ready=ready.set_result))
    port = int((await ready).rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    secret = os.environ["SECRET"]
    lines = [
        f"POST /submit?token={secret} HTTP/1.1", f"Host: {secret}", f"Authorization: {secret}", f"Cookie: {secret}",
        f"User-Agent: {secret}", "Connection: close", f"Content-Length: {len(secret)}", "", secret,
    ]
    writer.write("\\r\\n".join(lines).encode())
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 500"), answer
    writer.close()
    stop.set()
    await server

set_up_log("gather-crashes")
asyncio.run(main())
raise ArithmeticError("the process broke")
"""


def test_what_goes_wrong_in_us_is_sent_and_nothing_that_was_received():
    with listening() as sentry:
        lines = said(BREAKS, SENTRY_DSN=f"http://public@127.0.0.1:{sentry.server_port}/7", SECRET=SECRET)
        found = events(sentry.requests)
    assert any("errors are reported to the Sentry that SENTRY_DSN names" in line for line in lines)
    broken = {event["exception"]["values"][-1]["type"]: event for event in found}
    assert set(broken) == {"LookupError", "ArithmeticError"}
    for event in found:
        assert event["release"] == f"lae-monitor@{__version__}"
        assert event["server_name"] == os.uname().nodename
        assert event["tags"]["process"] == "gather-crashes"
        assert "request" not in event
        assert "user" not in event
        frames = [frame for value in event["exception"]["values"] for frame in value["stacktrace"]["frames"]]
        assert frames
        assert not any("vars" in frame for frame in frames)
    sent = b"".join(body for _, body in sentry.requests)
    assert SECRET.encode() not in sent  # of the request
    assert SECRET[::-1].encode() not in sent  # of a local variable
    assert b"the handler broke" in sent


def test_without_the_variable_nothing_is_sent_and_nothing_of_it_imported():
    with listening() as sentry:
        script = BREAKS.replace("raise Arith", "import sys\nassert 'sentry_sdk' not in sys.modules\nraise Arith")
        lines = said(script, SECRET=SECRET)
    assert lines[-1] == "ArithmeticError: the process broke"
    assert sentry.requests == []


@pytest.mark.parametrize("form", ["text", "json"])
def test_without_the_library_a_warning_says_what_to_install(form):
    lines = said(
        "import sys\nsys.modules['sentry_sdk'] = None" + SAYS.format(form=form), SENTRY_DSN="http://a@127.0.0.1/1"
    )
    assert "SENTRY_DSN is set, and sentry-sdk is not installed; next: pip install 'lae-monitor[sentry]'" in lines[0]
    assert "beware" in "".join(lines), "the process went on"


@pytest.mark.parametrize(("form", "environment"), [("text", {}), ("text", {"JOURNAL_STREAM": "8:1"}), ("json", {})])
def test_no_traceback_shows_a_secret(form, environment):
    script = f"""
import logging
from lae_monitor.process.logs import set_up_log
set_up_log("serve", {form!r})
try:
    raise ValueError("URI:CHK:abcdefghijklmnop:qrstuvwxyz234567:3:10:99")
except ValueError:
    logging.exception("a node said pb://{"a" * 32}@tcp:host:1/swissnumswissnumswissnum")
"""
    text = "\n".join(said(script, **environment))
    assert "ValueError" in text
    assert "swissnums" not in text
    assert "abcdefgh" not in text
