"""`lae-monitor demo`: a pretend fleet whose reports come through the real entrances, and nothing left when it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest
from monitor import LAE_MONITOR, await_that

from lae_monitor.demo.hosts import CLUSTERS, HOSTS, SICK
from lae_monitor.demo.part import happenings, parts_of
from lae_monitor.demo.story import Story
from lae_monitor.kinds import KINDS

PARTS = tuple(parts_of(KINDS).values())

HOURS = 1.0


def seed_with_a_crash_and_an_incident_soon() -> int:
    """The first seed whose life, after the history, has both soon."""
    for seed in range(1, 10_000):
        story = Story(seed, 0.0, HOURS)
        kinds = {item.what for item in happenings(PARTS, story, story.ends + 12, story.ends + 35)}
        if {"crash", "incident"} <= kinds:
            return seed
    raise AssertionError("no such seed")


class Demo:
    """A demo as a user starts it."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [*LAE_MONITOR, "demo", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, umask=0,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.said.append(line)

    @property
    def text(self) -> str:
        return "".join(self.said)

    def await_ready(self) -> None:
        await_that(lambda: "Ctrl-C" in self.text or self.process.poll() is not None, "the announcement")
        assert self.process.poll() is None, self.text

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(90)
        self._reader.join(10)
        self.process.stdout.close()
        return code

    def kill_all(self, state: Path) -> None:
        for pid in [self.process.pid, *processes_of(state)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(30)


def processes_of(state: Path) -> list[int]:
    """All processes that were told of `state`, other than those that have ended and wait to be reaped."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(state).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def ask(state: Path, path: str):
    url = (state / "node.url").read_text().strip()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url + path, timeout=30) as answer:
        return json.load(answer)


def search(state: Path, query: str) -> list[dict]:
    return ask(state, f"api/search?q={quote(query)}&limit=1000")["rows"]


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("demo") / "state"


@pytest.fixture(scope="module")
def demo(state):
    seed = seed_with_a_crash_and_an_incident_soon()
    print("seed", seed)
    running = Demo("--state", str(state), "--hours", str(HOURS), "--seed", str(seed))
    try:
        running.await_ready()
        yield running
    finally:
        running.kill_all(state)


def test_the_announced_host_has_a_story_of_crashes_incidents_and_samples(demo, state):
    page = re.search(r"http://127\.0\.0\.1:\d+/host/(\S+)/(\S+)", demo.text)
    assert page.groups() == (SICK.cluster, SICK.name)
    mine = f"cluster:{SICK.cluster} host:{SICK.name}"
    await_that(lambda: len(search(state, f"{mine} kind:crash")) >= 5, "crashes")
    await_that(lambda: len(search(state, f"{mine} kind:incident")) >= 4, "incidents")
    samples = await_that(lambda: len(found := search(state, f"{mine} kind:sonar")) >= 10 and found, "samples")
    memory = [int(row["attrs"]["memory"]) for row in sorted(samples, key=lambda row: row["time"])]
    assert max(memory) > 4 * memory[0]
    marks = ask(state, f"host/{SICK.cluster}/{SICK.name}.json")
    assert {"crash", "incident", "sonar"} <= set(re.findall(r'"kind": ?"(\w+)"', json.dumps(marks)))


def test_it_says_who_may_look(demo):
    (line,) = [line for line in demo.text.splitlines() if line.strip().startswith("Open to")]
    assert "root on this machine; other accounts need a token" in line


def test_12_hosts_in_3_clusters_are_there_each_by_its_own_name(demo, state):
    def hosts() -> set[tuple[str, str]]:
        return {(host["cluster"], host["host"]) for host in ask(state, "api/hosts")["hosts"]} - {("grid", "localhost")}

    wanted = {(host.cluster, host.name) for host in HOSTS}
    assert len(wanted) == 12
    assert {cluster for cluster, _ in wanted} == set(CLUSTERS)
    await_that(lambda: hosts() == wanted, "the hosts")


def test_life_goes_on_after_the_history_with_all_kinds(demo, state):
    ends = json.loads((state / "fleet" / "story.json").read_text())
    ends = ends["begins"] + ends["hours"] * 3600
    for kind in ("sonar", "crash", "incident"):
        since = f"kind:{kind} since:{_rfc3339(ends + 1)}"
        await_that(lambda since=since: search(state, since), f"a live {kind}")


def _rfc3339(seconds: float) -> str:
    from lae_monitor.core.time import format_time

    return format_time(seconds)


def test_the_printed_commands_work_as_printed(demo):
    commands = [line.strip() for line in demo.text.splitlines() if "--config" in line]
    assert len(commands) == 5
    for command in commands:
        if " tail " in command:  # goes on for ever
            continue
        # The program's name is that of a shell in which the demo was started by hand.
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        if "host show" in command:
            assert "crashed" in done.stdout


def test_the_crash_clients_are_crashpad_and_firefox_alike(demo, state):
    raw = [json.loads(_raw_crash(path)) for path in (state / "archive" / "crashes").rglob("*.zip")]
    by_client = {(crash["metadata"]["user_agent"].split("/")[0], crash["metadata"]["payload"],
                  crash["metadata"]["payload_compressed"]) for crash in raw}  # fmt: skip
    assert {("Crashpad", "multipart", "1"), ("crashreporter", "json", "0")} <= by_client
    assert not [note for crash in raw for note in crash["metadata"]["collector_notes"] if "Sha256" in note]


def _raw_crash(path: Path) -> bytes:
    import zipfile

    with zipfile.ZipFile(path) as zipped:
        return zipped.read("raw_crash.json")


def test_interrupted_it_ends_with_0_and_leaves_no_process(demo, state):
    assert len(processes_of(state)) >= 6
    assert demo.interrupt() == 0
    assert processes_of(state) == []
    assert not (state / "node.url").exists()
    made = list(state.rglob("*"))
    assert {path.name for path in made} >= {"alerts.db", "mover.db", "exfil-auth.txt", "gatherer.pem", "demo.log"}
    assert [path for path in made if not path.is_symlink() and path.stat().st_mode & 0o077] == [], (
        "made under umask 000"
    )
    log = (state / "demo.log").read_text()
    assert "Traceback" not in log, log[-3000:]


def test_interrupted_while_it_starts_it_leaves_no_process_and_no_folder(tmp_path):
    running = Demo(environment=os.environ | {"TMPDIR": str(tmp_path)})
    try:
        await_that(lambda: len(processes_of(tmp_path)) >= 3, "the first processes")
        assert running.interrupt() == 0
        assert processes_of(tmp_path) == []
        assert list(tmp_path.iterdir()) == []
    finally:
        running.kill_all(tmp_path)


def test_a_port_that_is_taken_is_a_sentence_and_nothing_is_left(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        done = subprocess.run(
            [*LAE_MONITOR, "demo", "--port-base", str(taken)],
            capture_output=True, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 69
    assert f"port {taken}" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("mine")
    done = subprocess.run(
        [*LAE_MONITOR, "demo", "--state", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_the_fleet_alone_reports_into_no_monitor_but_a_demo(tmp_path):
    config = tmp_path / "lae-monitor.toml"
    config.write_text(f'[state]\npath = "{tmp_path / "state"}"\n')
    done = subprocess.run(
        [*LAE_MONITOR, "demo", "--fleet-only", "--config", str(config)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no demo has been" in done.stderr
    assert not (tmp_path / "state").exists()
