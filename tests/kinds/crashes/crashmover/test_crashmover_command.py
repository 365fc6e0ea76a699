"""`lae-monitor crashmover` as operators and systemd use it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from command_line import lae_monitor

PROGRAM = [sys.executable, "-c", "from lae_monitor.cli import main; main()", "crashmover"]


class Command:
    """The program on a configuration of the test's."""

    def __init__(self, world) -> None:
        self.world = world
        self.config = world.folder / "config.toml"
        self.state = world.folder / "state"
        self.state.mkdir(mode=0o700)
        self.destinations = (
            f'[[gatherers.crashes.crashmover.destinations]]\ntype = "antenna"\nfs_root = "{world.folder}/out"\n'
        )

    def write(self, *lines, settings=()):
        self.config.write_text(
            "\n".join(
                [
                    f'[state]\npath = "{self.state}"',
                    f'[archive]\nroots = ["{self.world.archive}"]\nreserve = "1 MiB"',
                    "[gatherers.crashes.crashmover]",
                    'interval = "50ms"',
                    'retry_delay = "10ms"',
                    *settings,
                    *lines,
                ]
            )
        )

    def run(self, *arguments):
        return lae_monitor("crashmover", "--config", str(self.config), *arguments)

    def written(self) -> set[str]:
        return {path.stem for path in (self.world.folder / "out").glob("*/raw_crash/*")}


@pytest.fixture
def command(world):
    made = Command(world)
    made.write(made.destinations)
    return made


def test_without_destinations_it_says_so_and_exits_78(command):
    command.write()
    for arguments in ([], ["--all"], ["--count", "3"], ["--forever"]):
        done = command.run(*arguments)
        assert done.returncode == 78
        assert "gatherers.crashes.crashmover.destinations: there are none" in done.stderr


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["type = 's3'"], "destinations[0].bucket: has to be given"),
        (["type = 's3'", "bukcet = 'x'"], 'destinations[0].bukcet: unknown key, did you mean "bucket"?'),
        (["type = 's3'", "bucket = 5"], "destinations[0].bucket: wants text in quotes; this is 5"),
        (["type = 's4'"], "destinations[0].type: wants one of"),
        ([], "destinations[0].type: wants one of"),
        (["type = 'http'", "url = 'ftp://x'"], "destinations[0].url: 'ftp://x' is no URL"),
        (["type = 'null'", "from_day = '20260231'"], "destinations[0].from_day: '20260231' is no day"),
        (["type = 'null'", "publish = 'sqs://'"], "destinations[0].publish: 'sqs://' names no queue"),
        (["type = 'antenna'", "fs_root = 'x'", "umask = '9'"], "destinations[0].umask: '9' is no octal mask"),
        (["type = 'socorro'", "fs_root = 'x'", "name_branch_base = '..'"], "destinations[0].name_branch_base: wants"),
        (
            ["type = 'socorro'", "fs_root = 'x'", "minute_slice_interval = 0"],
            "destinations[0].minute_slice_interval: wants",
        ),
        (["type = 'null'", "name = 'a b'"], "destinations[0].name: wants letters"),
        (
            ["type = 'null'", "[gatherers.crashes.crashmover.destinations.fallback]", "type = 's3'"],
            "destinations[0].fallback.bucket: has to be given",
        ),
        (
            ["type = 'null'", "fallback = {type = 'null', only = 'deferred'}"],
            "destinations[0].fallback.only: counts only where",
        ),
        (
            ["type = 's3'", "bucket = 'x'", "endpoint_url = 'minio:9000'"],
            "destinations[0].endpoint_url: 'minio:9000' is no",
        ),
        (
            ["type = 'socorro'", "fs_root = 'x'", "dump_file_suffix = '.json'"],
            "destinations[0].dump_file_suffix: is json_file_suffix too",
        ),
        (
            [
                "type = 'tar'",
                "folder = '/tmp/x'",
                "[[gatherers.crashes.crashmover.destinations]]",
                "type = 'tar'",
                "name = 'second'",
                "folder = '/tmp/y/../x'",
            ],
            "destinations[1].folder: is that of destinations[0]",
        ),
        (
            ["type = 'tar'", "folder = '/tmp/x'", "fallback = {type = 'antenna', fs_root = '/tmp/x/'}"],
            "destinations[0].fallback.fs_root: is that of destinations[0]",
        ),
        (
            ["type = 'null'", "[[gatherers.crashes.crashmover.destinations]]", "type = 'null'"],
            "destinations[1].name: 'null' is the name of another one",
        ),
    ],
)
def test_every_mistake_is_a_sentence_with_its_place(command, lines, sentence):
    command.write("[[gatherers.crashes.crashmover.destinations]]", *lines)
    done = command.run("--all")
    assert done.returncode == 78
    assert f"gatherers.crashes.crashmover.{sentence}" in done.stderr
    checked = lae_monitor("check", "config", "--no-environment", "--config", str(command.config))
    assert checked.returncode == 78
    assert sentence.partition(": ")[2] in checked.stdout


@pytest.mark.parametrize("listen", ["nonsense", "127.0.0.1:8000"])
def test_the_address_of_the_figures_is_looked_at(command, listen):
    command.write(command.destinations, settings=[f'metrics_listen = "{listen}"'])
    done = command.run("--all")
    assert (done.returncode, "gatherers.crashes.crashmover.metrics_listen" in done.stderr) == (78, True)


def test_a_variable_can_name_the_destinations(command, monkeypatch):
    command.write()
    command.world.put()
    name = "LAE_MONITOR__GATHERERS__CRASHES__CRASHMOVER__DESTINATIONS"
    monkeypatch.setenv(name, f'[{{type = "antenna", fs_root = "{command.world.folder}/out"}}]')
    assert json.loads(command.run("--all", "--json").stdout)["sent"] == 1
    monkeypatch.setenv(name, "[{type = 'antenna'}]")
    assert (
        f"{name}: gatherers.crashes.crashmover.destinations[0].fs_root: has to be given" in command.run("--all").stderr
    )
    monkeypatch.setenv(name, "[5]")
    assert "destinations[0]: wants a table" in command.run("--all").stderr


def test_config_explain_has_the_keys_of_every_type(command):
    from lae_monitor.kinds.crashes.crashmover import config

    key = "gatherers.crashes.crashmover.destinations"
    done = lae_monitor("config", "explain", key, "--json", "--config", str(command.config))
    (explained,) = json.loads(done.stdout)["keys"]
    tables = explained["tables"]
    assert {tag: {row["key"] for row in rows} for tag, rows in tables.items()} == {
        str(kind.__struct_config__.tag): set(kind.__struct_fields__)
        for kind in (config.Antenna, config.Socorro, config.S3, config.Http, config.Tar, config.Nowhere)
    }
    assert f'"{command.world.folder}/out"' in explained["value"]


def test_all_then_status(command):
    crashes = [command.world.put() for _ in range(3)]
    done = command.run("--all", "--json")
    assert (done.returncode, json.loads(done.stdout)["sent"]) == (0, 3)
    assert command.written() == {crash.id for crash in crashes}
    status = json.loads(command.run("status", "--json").stdout)["destinations"]["antenna"]
    assert (status["sent"], status["waiting"], status["dead"]) == (3, 0, 0)
    (one,) = json.loads(command.run("status", "--json", f"bp-{crashes[0].id}").stdout)["destinations"]
    assert one["state"] == "done" and len(one["checksum"]) == 64
    assert "antenna" in command.run("status").stdout
    assert command.run("status", "11111111-1111-4111-8111-111110261122").returncode == 1


def test_a_count_in_a_process_of_its_own(command):
    for _ in range(3):
        command.world.put()
    counted = [*PROGRAM, "--config", str(command.config), "--count", "2", "--json"]
    done = subprocess.run(counted, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, json.loads(done.stdout)["left"]) == (0, 1), done.stderr
    assert len(command.written()) == 2


def test_what_is_left_is_told_by_the_exit_code(command):
    command.world.put()
    (command.world.folder / "out").write_text("no folder")
    done = command.run("--all")
    assert (done.returncode, "Next: lae-monitor crashmover --all" in done.stderr) == (75, True)


def test_a_count_of_failed_tries_is_told_by_the_exit_code(command):
    command.world.put()
    (command.world.folder / "out").write_text("no folder")
    done = command.run("--count", "1", "--json")
    assert (done.returncode, json.loads(done.stdout)["failed"]) == (75, 1)


def test_ids_that_nobody_heard_are_told_by_the_exit_code(command):
    command.write(command.destinations, 'publish = "http://127.0.0.1:1/"', settings=["max_attempts = 2"])
    command.world.put()
    done = command.run("--all", "--json")
    assert (done.returncode, {"sent": 1, "left": 1, "failed": 1}.items() <= json.loads(done.stdout).items()) == (
        75,
        True,
    )
    until(lambda: json.loads(command.run("--all", "--json").stdout)["dead"] == 1)


def test_an_id_that_became_a_dead_letter_is_told_by_the_exit_code(command):
    command.write(command.destinations, 'publish = "http://127.0.0.1:1/"', settings=["max_attempts = 1"])
    command.world.put()
    done = command.run("--all", "--json")
    assert (done.returncode, json.loads(done.stdout)["dead"]) == (1, 1)


def test_a_profile_that_is_unknown_is_a_sentence(command, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobodys")
    command.write(
        "[[gatherers.crashes.crashmover.destinations]]", "type = 's3'", "bucket = 'x'", "region = 'eu-north-1'"
    )
    done = command.run("--all")
    assert done.returncode == 78
    assert "gatherers.crashes.crashmover.destinations[0]: " in done.stderr and "nobodys" in done.stderr


def test_dead_letters_are_listed_and_tried_again(command):
    crash = command.world.put()
    data = crash.path.read_bytes()
    crash.path.write_bytes(b"broken")
    assert command.run("--all").returncode == 1
    dead = command.run("dead")
    assert (dead.returncode, crash.id in dead.stdout, "unreadable" in dead.stdout) == (1, True, True)
    crash.path.write_bytes(data)
    assert command.run("retry").returncode == 2
    assert command.run("retry", "11111111-1111-4111-8111-111110261122").returncode == 1
    assert command.run("retry", f"bp-{crash.id}").returncode == 0
    assert command.run("--all").returncode == 0
    assert command.run("dead").returncode == 0
    assert command.written() == {crash.id}


@pytest.mark.parametrize("arguments", [["status"], ["dead"], ["retry", "--all"]])
def test_looking_makes_nothing(command, arguments):
    assert command.run(*arguments).returncode == 69
    assert list(command.state.iterdir()) == []


def test_exclusive_options(command):
    assert command.run("--all", "--forever").returncode == 2


class Service:
    """`crashmover --forever` as systemd starts it."""

    def __init__(self, command) -> None:
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = command.world.folder / "notify"
        self.notified.bind(str(address))
        self.notified.settimeout(60)
        self.log = (command.world.folder / "log").open("w+")
        self.process = subprocess.Popen(
            [*PROGRAM, "--forever", "--config", str(command.config)],
            env={**os.environ, "NOTIFY_SOCKET": str(address)}, stderr=self.log,
        )  # fmt: skip
        assert b"READY=1" in self.notified.recv(1000)

    def text(self) -> str:
        return Path(self.log.name).read_text()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            self.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.notified.close()
        self.log.close()


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def test_the_service_moves_what_comes_and_tells_its_figures(command):
    command.write(command.destinations, settings=['metrics_listen = "127.0.0.1:0"'])
    first = command.world.put()
    service = Service(command)
    try:
        until(lambda: command.written() == {first.id})
        second = command.world.put()
        second_bad = command.world.put()
        second_bad.path.write_bytes(b"broken")
        until(lambda: command.written() == {first.id, second.id})
        assert command.run("--all").returncode == 75, "one at a time"
        until(lambda: json.loads(command.run("dead", "--json").stdout)["count"] == 1)
        url = re.search(r"figures: (\S+)/metrics", service.text())[1]

        def figures():
            with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:
                return answer.read().decode()

        for line in (
            'socorro_crashmover_save_crash_count_total{destination="antenna"} 2.0',
            'socorro_crashmover_crash_save_time_count{destination="antenna"} 2.0',
            'socorro_crashmover_save_crash_dropped_count_total{destination="antenna"} 1.0',
            "socorro_crashmover_unreadable_count_total 1.0",
            'lae_crashmover_waiting_crashes{destination="antenna"} 0.0',
            "lae_crashmover_dead_letters 1.0",
        ):
            until(lambda line=line: line in figures())
        with urllib.request.urlopen(f"{url}/__heartbeat__", timeout=60) as answer:
            assert answer.status == 200
        assert command.run("retry", "--all").returncode == 0, "also while it runs"
        assert service.stop() == 0
    finally:
        service.close()
    assert "stopped" in (command.world.folder / "log").read_text()
