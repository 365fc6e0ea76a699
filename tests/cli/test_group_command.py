"""`lae-monitor group`: the list and one group as a terminal shows them; decisions by a running serve, without one, and after a rebuild."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from running import NOW
from shelf import event

LAE_MONITOR = [sys.executable, "-m", "lae_monitor"]
PATIENCE = 60.0  # seconds; the machine may be slow and busy

FILL = """
import asyncio, sys, time
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from believable import Fleet
from lae_monitor.archive import Archive

async def main(state):
    archive = await Archive([state / "archive"], "test").open()
    fleet = Fleet(archive, None, time.time(), 1)
    for product, host in (("Firefox", "h1"), ("Firefox", "h2"), ("Lemmings", "h1")):
        await fleet._crash(host, time.time() - 60, product, "1.0", "")
    await archive.close()

asyncio.run(main(Path(sys.argv[1])))
"""


class Monitor:
    """The state folder of a monitor that runs when it is told to."""

    def __init__(self, state) -> None:
        self.state = state
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LAE_MONITOR")},
            "LAE_MONITOR__STATE__PATH": str(state),
            "LAE_MONITOR__WEB__LISTEN": "127.0.0.1:0",
            "NO_COLOR": "1",
        }
        self.environment.pop("LAE_MONITOR_CONFIG", None)

    def __call__(self, *arguments, code=0):
        command = [*LAE_MONITOR, *arguments]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=120,
            env=self.environment,
            check=False,
            cwd=self.state.parent,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert code is None or done.returncode == code, (arguments, done.stdout, done.stderr)
        return done

    def json(self, *arguments):
        return json.loads(self(*arguments, "--json", code=None).stdout)

    def groups(self, *arguments):
        return {found["group"].partition(" | ")[0]: found for found in self.json("group", "list", *arguments)["groups"]}

    @contextmanager
    def serving(self):
        log = (self.state.parent / "serve.log").open("w")
        with (
            log,
            subprocess.Popen(
                [*LAE_MONITOR, "serve"], env=self.environment, stderr=log, cwd=self.state.parent
            ) as served,
        ):
            try:
                self.until((self.state / "node.url").exists)
                yield
            finally:
                served.send_signal(signal.SIGTERM)
                served.wait(PATIENCE)

    @staticmethod
    def until(condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture(scope="module")
def monitor(tmp_path_factory):
    state = tmp_path_factory.mktemp("groups") / "state"
    folders = [str(Path(__file__).parents[1] / name) for name in ("web", "query")]
    subprocess.run([sys.executable, "-c", FILL, str(state), *folders], check=True, timeout=120)
    return Monitor(state)


def test_decisions_hold_with_serve_without_it_and_in_a_new_store(monitor):
    with monitor.serving():
        monitor.until(lambda: sum(found["events"] for found in monitor.groups().values()) == 3)
        firefox, lemmings = (monitor.groups()[name]["id"] for name in ("Firefox", "Lemmings"))
        said = monitor("group", "close", firefox[:10], "--note", "mended in 2.0")
        assert said.stdout == f"{firefox}: closed\n"
        assert said.stderr == f"Next: lae-monitor group show {firefox}\n"
        assert set(monitor.groups()) == {"Lemmings"}
        assert monitor.groups("--state", "closed")["Firefox"]["note"] == "mended in 2.0"
        assert monitor("group", "merge", firefox, firefox, code=2).stderr.startswith("lae-monitor: ")
        assert monitor("group", "close", "0" * 12, code=1).stderr
    monitor("group", "reopen", firefox)
    assert set(monitor.groups()) == {"Firefox", "Lemmings"}
    said = monitor("group", "merge", lemmings, firefox, "--note", "the same free()")
    assert said.stdout == f"{lemmings}: merged into {firefox}\n"
    assert monitor.groups()["Firefox"]["events"] == 3
    assert monitor("group", "merge", firefox, lemmings, code=2).stderr.startswith("lae-monitor: ")
    monitor("group", "close", "ffffffffffff", code=1)
    before = monitor.json("group", "show", firefox)
    monitor("store", "rebuild")
    after = monitor.json("group", "show", firefox)
    assert [step["act"] for step in after["decisions"]] == ["close", "reopen"]
    for name in ("hosts", "versions", "members", "decisions", "reports"):
        assert after[name] == before[name], name
    with monitor.serving():
        assert monitor.groups()["Firefox"]["merged"] == [lemmings]
        monitor("group", "unmerge", lemmings)
        assert set(monitor.groups()) == {"Firefox", "Lemmings"}
    journals = {path.name for path in (monitor.state / "archive" / "journal").rglob("*.jsonl")}
    assert {"serve.jsonl", "command.jsonl"} <= journals


HOLD = """
import sys
from pathlib import Path
from lae_monitor.store.chdb_driver import ChdbDriver
driver = ChdbDriver(Path(sys.argv[1]), memory=2**29)
print("open", flush=True)
sys.stdin.read()
"""


def test_while_another_command_has_the_store_nothing_is_decided(monitor):
    (id_,) = (found["id"] for found in monitor.groups("--state", "all", "--limit", "1").values())
    command = [sys.executable, "-c", HOLD, str(monitor.state / "store")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"open\n"
        assert monitor("group", "close", id_, "--note", "not to be", code=75).stderr.endswith("Next: try again\n")
        other.stdin.close()
    assert monitor.json("group", "show", id_)["group"]["note"] != "not to be"


def test_the_list_has_a_line_for_each_group_and_says_what_next(cli, site, place):
    site.put(
        event(place, "h1", group=f"{place} | SIGSEGV | a", time=NOW - 60, attrs={"Version": "1.0"}),
        event(place, "h2", group=f"{place} | SIGSEGV | a", time=NOW - 50, attrs={"Version": "1.0"}),
        event(place, "h2", group=f"{place} | SIGABRT | b", time=NOW - 40, level="warning"),
    )
    said = cli("group", "list", "--product", place, "--sort", "count")
    heading, *lines = said.out.splitlines()
    assert heading.split()[:2] == ["id", "last"]
    assert len(lines) == 2
    assert f"{place} | SIGSEGV | a" in lines[0]
    assert "2 hosts" in lines[0]
    assert "warning" in lines[1]
    assert said.err.splitlines()[-1] == f"Next: lae-monitor group show {lines[0][:12]}"
    assert cli("group", "list", "--product", place, "--kind", "incident").code == 1
    assert cli("group", "list", "--product", place, "--since", "45s").out.count("\n") == 2  # the heading, and one
    assert cli("group", "list", "--since", "tomorrow").code == 2
    limited = cli("group", "list", "--product", place, "--limit", "1")
    assert "shown are the first 1" in limited.err


def test_one_group_is_shown_with_all_that_is_known(cli, site, place):
    attrs = {"Version": "1.0", "signature.why": "7 frames of thread 2", "upload_file_minidump.sha256": "c" * 64}
    name = f"{place} | jump\x1b[31m"
    site.put(*[event(place, "h1", id=f"{place}-{at}", group=name, time=NOW - 60 + at, attrs=attrs) for at in (0, 1)])
    (found,) = json.loads(cli("group", "list", "--product", place, "--json").out)["groups"]
    said = cli("group", "show", found["id"][:11])
    assert said.code == 0
    for text in (
        "7 frames of thread 2",
        "2 (1) on 1 host",
        "1.0",
        "h1",
        f"{place}-1",
        "came before already",
        "\\x1b[31m",
    ):
        assert text in said.out, text
    assert "\x1b[31m" not in said.out
    assert said.err == f"Next: lae-monitor report show {place}-1\n"
    assert cli("group", "show", "0" * 12).code == 1
    report = cli("report", "show", f"{place}-0")
    assert f"{place}-1 is the same crash" in report.out
    assert found["id"] in report.out
