"""A gatherer that follows logs, for tests."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from gatherer_process import HERE, Gatherer, await_that

from lae_monitor.core.rows import Span
from lae_monitor.kinds import KINDS
from lae_monitor.kinds.incidents.tail.tails import register_tail

BIN = Path(sys.executable).parent


def flogtool(*arguments):
    done = subprocess.run([BIN / "flogtool", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "truncated" not in done.stderr
    return done.stdout


def await_subscribers(program, count):
    """Returns once so many follow the program's log."""

    def seen():
        told = [line for line in program.output().splitlines() if line.startswith("subscribers ")]
        return told[-1:] == [f"subscribers {count}"]

    await_that(seen, lambda: f"no {count} subscribers: {program.output()}\n{program.log()}")


class LogGatherer(Gatherer):
    def program(self, host, name=None, run=""):
        """A program that reports as `host`, followed."""
        name = name or f"program-{len(self.children)}"
        furl = self.register(host).furl.reveal()
        command = [sys.executable, str(HERE / "logs_publisher.py"), furl, str(self.folder / f"{name}-logs"), run]
        return self.run(command, name)

    def followed(self, host, name=None, run="", subscribers=1):
        made = self.program(host, name, run)
        await_subscribers(made, subscribers)
        return made

    def tail_furl(self, host):
        return register_tail(self.settings, host)

    # ---- what it has stored ----------------------------------------------------------------------------------------

    def log_files(self, host):
        folder = self.state / "archive" / "incidents" / "lae" / "logs" / host
        return sorted(folder.glob("*/*/*.flog"))

    def wrappers(self, host):
        """What the files hold, line by line, without their heads."""
        found = []
        for path in self.log_files(host):
            if not (data := path.read_bytes()):
                continue  # made, and not yet written
            magic, header, *lines = data.splitlines(keepends=True)
            assert magic == b"# foolscap flogfile v1\n"
            assert json.loads(header)["header"]["type"] == "gatherer"
            found += [json.loads(line) for line in lines if line.endswith(b"\n")]
        return found

    def messages(self, host):
        return [one["d"].get("message") or one["d"].get("format", "") for one in self.wrappers(host)]

    def await_messages(self, host, *wanted):
        return self.await_that(
            lambda: (found := self.messages(host)) and set(wanted) <= {*found} and found,
            lambda: f"{self.messages(host)[-20:]}\n{self.process.log()}",
        )

    def rows(self, host):
        """The rows that the mover would make, read in pieces."""
        rows = []
        for path in self.log_files(host):
            name, data = str(path.relative_to(self.state / "archive")), path.read_bytes()
            found, start = KINDS.reader(name), 0
            assert not found.WHOLE
            while start < len(data):
                size = found.cut(name, data[start : start + 3_000]) or len(data)
                rows += found.read(Span(name, start, start + size), data[start : start + size])
                start += size
        return rows

    def missing(self, host, reason):
        return sum(int(one["title"].split()[0]) for one in self.journal(what="mark", host=host, reason=reason))


@contextmanager
def log_gatherer_in(folder, extra='log_level = "NOISY"\n', loop="uvloop"):
    made = LogGatherer(folder, loop, extra)
    try:
        yield made
    finally:
        made.close()
