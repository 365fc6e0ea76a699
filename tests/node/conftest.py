"""What watched hosts run, as they run it: `python3 FILE`, towards a real collector, or one that answers as it is told."""

import gzip
import importlib.util
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
NODE = ROOT / "lae_monitor" / "node"


def of_crashes():
    """The fixtures of the crash gatherer's own tests."""
    path = ROOT / "tests" / "kinds" / "crashes" / "conftest.py"
    spec = importlib.util.spec_from_file_location("conftest_of_crashes", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def collector(tmp_path):
    """A running crash collector, whose archive is on the disk."""
    with of_crashes()._running(tmp_path / "archive") as found:
        yield found


class Done(NamedTuple):
    code: int
    said: str


class Host:
    """A watched host: what the role leaves on it, in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.reports = folder / "state"
        self.dumps = folder / "dumps"
        self.dumps.mkdir(parents=True)
        self.config = folder / "config.json"
        self.under = []  # a command to run the programs under
        self.settings = {"reports": str(self.reports), "folders": [str(self.dumps)], "settle": 0.05, "product": "Prog"}

    def point(self, port, **settings):
        self.settings |= {"url": f"http://127.0.0.1:{port}/submit", **settings}
        return self

    def run(self, program, *options) -> Done:
        self.config.write_text(json.dumps(self.settings))
        command = [*self.under, sys.executable, "-I", NODE / f"{program}.py", "--config", self.config, *options]
        environ = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
        done = subprocess.run(command, capture_output=True, timeout=120, check=False, env=environ)
        return Done(done.returncode, (done.stdout + done.stderr).decode())

    def find(self, *options) -> Done:
        return self.run("crash_finder", *options)

    def send(self, *options) -> Done:
        return self.run("crash_reporter", "--once", *options)

    def both(self) -> tuple[Done, Done]:
        """As the unit does."""
        return self.find(), self.send()

    def dump(self, name: "str | bytes", data: bytes = b"MDMP and more", old: bool = True) -> Path:
        path = Path(os.fsdecode(os.path.join(os.fsencode(self.dumps), os.fsencode(name))))
        path.write_bytes(data)
        if old:
            os.utime(path, (1_790_000_000, 1_790_000_000))
        return path

    def waiting(self):
        return sorted(path.name for path in self.reports.glob("*.report"))

    def refused(self):
        return sorted(path.name for path in self.reports.glob("*.refused"))


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path / "host")


class Scripted(ThreadingHTTPServer):
    """Answers as `answers` say, in turn, the last one for ever: status, text, headers. `bodies` is what came."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answering)
        self.answers, self.bodies, self.heads = [(200, "CrashID=bp-1\n", {})], [], []
        self.then = lambda: None  # what happens before it answers
        self.poison = b""  # what is in a report that it never takes


class Answering(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        server.heads.append(dict(self.headers))
        if server.poison and server.poison in gzip.decompress(server.bodies[-1]):
            server.answers.insert(0, (503, "", {}))
        status, text, headers = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        server.then()
        self.send_response(status)
        for name, value in {"Content-Length": len(text), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def scripted():
    with Scripted() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def crashes(collector):
    """What the collector has: raw crash and minidump of each, by the order of their names."""
    loaded = [collector.stored(f"CrashID=bp-{path.stem}\n") for path in sorted(collector.files())]
    return [(json.loads(files["raw_crash.json"]), files.get("upload_file_minidump")) for files in loaded]


@pytest.fixture(name="crashes")
def crashes_fixture():
    return crashes
