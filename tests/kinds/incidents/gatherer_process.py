"""A gatherer in a process of its own, and programs that report to it."""

import bz2
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from lae_monitor.config import load
from lae_monitor.kinds import KINDS
from lae_monitor.net.furls.registry import Registry

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PATIENCE = 60.0  # seconds; the machine may be busy


def await_that(condition, what):
    """What `condition` returns, once that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.02)
    return found


def free_port():
    """One that nobody listens on, below those that connections which other tests open meanwhile are given."""
    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Process:
    """A child with its own process group, whose output goes to files."""

    def __init__(self, command, folder, name):
        folder.mkdir(parents=True, exist_ok=True)
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            )

    def send(self, **what):
        self.child.stdin.write(json.dumps(what).encode() + b"\n")
        self.child.stdin.flush()

    def output(self):
        return self.out.read_text(errors="replace")

    def log(self):
        return self.err.read_text(errors="replace")

    def await_output(self, text, count=1):
        self._await_text(self.output, text, count)

    def await_log(self, text, count=1):
        self._await_text(self.log, text, count)

    def _await_text(self, where, text, count):
        def seen():
            ended = self.child.poll()
            found = where().count(text) >= count
            assert found or ended is None, f"ended with {ended}: {self.log()}"
            return found

        await_that(seen, lambda: f"no {text!r}: {self.output()}\n{self.log()}")

    def kill(self, number=signal.SIGKILL):
        if self.child.poll() is None:
            os.killpg(self.child.pid, number)
        self.child.stdin.close()
        return self.child.wait(PATIENCE)


class Gatherer:
    """The gatherer of a test: its state outlives its processes."""

    def __init__(self, folder, loop, extra=""):
        self.folder = folder
        self.state = folder / "state"
        self.port = free_port()
        self.loop = loop
        self.config = folder / "lae-monitor.toml"
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f'[state]\npath = "{self.state}"\n[fleet]\nname = "lae"\n[gatherers.incidents]\n'
            f'listen = "tcp:{self.port}:interface=127.0.0.1"\nlocation = "tcp:127.0.0.1:{self.port}"\n{extra}'
        )
        self.process = None
        self.children = []

    @property
    def settings(self):
        return load(self.config, KINDS, {})

    def register(self, host, cluster=None):
        return Registry(self.settings, "incidents").register(host, cluster)

    def start(self, limits=()):
        """`limits` take the place of constants: {"kinds.incidents.nodes.shared.FETCH_TURN": 2}."""
        command = [sys.executable, str(HERE / "driver.py"), str(self.config), self.loop, json.dumps(dict(limits))]
        self.process = self.run(command, "gatherer")
        return self.listening()

    def listening(self):
        self.process.await_output("tub listening on")
        return self

    def stop(self):
        assert self.process.kill(signal.SIGTERM) == 0, self.process.log()

    def run(self, command, name):
        """Another program that ends with the test."""
        process = Process(command, self.folder, f"{name}-{time.time_ns()}")
        self.children.append(process)
        return process

    def publisher(self, furl, name=None, mode="", count=1):
        name = name or f"publisher{len(self.children)}"
        logs = self.folder / f"{name}-incidents"
        command = [sys.executable, str(HERE / "publisher.py"), furl.reveal(), str(logs), mode, str(count)]
        process = self.run(command, name)
        process.incidents = logs
        return process

    # ---- what it has stored ----------------------------------------------------------------------------------------

    def folder_of(self, host, cluster="lae"):
        return self.state / "archive" / "incidents" / cluster / "incidents" / host

    def names(self, host, cluster="lae"):
        folder = self.folder_of(host, cluster)
        return sorted(path.name.removesuffix(".flog.bz2") for path in folder.glob("incident*.flog.bz2"))

    def await_names(self, host, count):
        return await_that(
            lambda: (names := self.names(host)) and len(names) >= count and names,
            lambda: f"{self.names(host)}\n{self.process.log()}",
        )

    def lines(self, host, name):
        data = (self.folder_of(host) / f"{name}.flog.bz2").read_bytes()
        magic, *lines = bz2.decompress(data).splitlines(keepends=True)
        assert magic == b"# foolscap flogfile v1\n"
        assert lines[-1].endswith(b"\n")
        return [json.loads(line) for line in lines]

    def journal(self, **wanted):
        """Entries with these values."""
        entries = []
        for path in sorted((self.state / "archive" / "journal").glob("*/*/*/*.jsonl")):
            # The last line may be on its way.
            entries += [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [entry for entry in entries if all(entry.get(key) == value for key, value in wanted.items())]

    def await_journal(self, count=1, **wanted):
        return await_that(
            lambda: (found := self.journal(**wanted)) and len(found) >= count and found,
            lambda: f"no {wanted}: {self.journal()}\n{self.process.log()}",
        )

    def memory(self, which="VmRSS"):
        """MiB that the gatherer takes."""
        status = Path(f"/proc/{self.process.child.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith(which))) / 1024

    def forget_peak(self):
        """Has VmHWM begin again: others have used the same gatherer."""
        Path(f"/proc/{self.process.child.pid}/clear_refs").write_text("5")

    def fetched(self, host):
        """How often an incident was asked for."""
        return self.process.log().count(f"lae/{host}: fetching incident ")

    def has_cursor(self, host="node1"):
        return (self.folder_of(host) / "latest").exists()

    await_that = staticmethod(await_that)
    free_port = staticmethod(free_port)

    def close(self):
        for child in self.children:
            child.kill()


@contextmanager
def gatherer_in(folder, loop="uvloop", extra=""):
    made = Gatherer(folder, loop, extra)
    try:
        yield made
    finally:
        made.close()
