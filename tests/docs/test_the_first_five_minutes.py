"""The commands of docs/getting-started.md do what the page says, one after the other, as a reader would type them."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent.parent
DEADLINE = 120.0  # seconds for the demo to be ready, and for a block to come right


class Reader:
    """Somebody at a shell, in an empty folder; what he exports stays from block to block."""

    def __init__(self, folder, replace):
        self.folder = folder
        self.replace = replace
        self.kept = folder / "variables"
        self.kept.write_text("")
        (folder / ".venv" / "bin").mkdir(parents=True)
        program = folder / ".venv" / "bin" / "lae-monitor"
        program.write_text(
            f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "from lae_monitor.cli import main; main()" "$@"\n'
        )
        program.chmod(0o755)
        path = f"{program.parent}:{os.environ['PATH']}"
        self.environ = {"PATH": path, "PYTHONPATH": str(HOUSE), "HOME": str(folder), "NO_COLOR": "1"}

    def type(self, block):
        """Runs a block, again until it comes right: what was sent a moment ago takes a moment to be found."""
        for one, other in self.replace.items():
            block = block.replace(one, other)
        script = f"set -eu -o pipefail; set -a; . {self.kept}\n{block}\nexport -p > {self.kept}\n"
        end = time.monotonic() + DEADLINE
        while True:
            done = subprocess.run(
                ["bash", "-c", script],
                check=False,
                cwd=self.folder,
                env=self.environ,
                capture_output=True,
                text=True,
                timeout=DEADLINE,
            )
            if done.returncode == 0:
                return done.stdout
            if time.monotonic() > end:
                pytest.fail(f"{block}\nexit code {done.returncode}\n{done.stdout}{done.stderr}")
            time.sleep(0.5)

    def begin(self, *arguments):
        """Starts a command that goes on; returns the process once it says that it is ready."""
        program = self.folder / ".venv" / "bin" / "lae-monitor"
        process = subprocess.Popen(
            ["bash", "-c", f'set -a; . {self.kept}; exec {program} "$@"', "bash", *arguments],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for line in process.stdout:
            if "is ready" in line:
                return process
        pytest.fail(f"{arguments} ended with {process.wait()} before it was ready")


def stop(process):
    process.send_signal(signal.SIGTERM)
    with process.stdout:
        process.stdout.read()
    assert process.wait(DEADLINE) == 0


def free_ports():
    """The first of four ports in a row that are free now."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            base = first.getsockname()[1]
        try:
            for number in range(base, base + 4):
                with socket.socket() as one:
                    one.bind(("127.0.0.1", number))
        except (OSError, OverflowError):
            continue
        return base


@pytest.fixture
def blocks(page, markdown):
    """The shell blocks of the two parts of the page."""
    first, second = page("getting-started.md").split("## A monitor of your own")
    return markdown.fences(first, "sh"), markdown.fences(second, "sh")


def test_the_pretend_fleet(tmp_path, blocks):
    start, *typed = blocks[0]
    assert start == "make run ARGS='--state demo-state'\n"
    assert "exec $(VENV)/bin/lae-monitor demo $(ARGS)" in (HOUSE / "Makefile").read_text()
    reader = Reader(tmp_path, {})
    demo = reader.begin("demo", "--state", "demo-state", "--hours", "0.5", "--port-base", str(free_ports()))
    try:
        listed, made, found, saved, zipped, rebuilt = (reader.type(block) for block in typed)
    finally:
        stop(demo)
    assert "store3" in listed
    crash_id = made.strip()
    assert found.partition("\n")[0].endswith(f"crashed: SIGSEGV  {crash_id}")
    assert "ProductName: lae-test" in found
    assert saved.endswith("MDMP")
    assert "upload_file_minidump" in zipped
    before, _, after = rebuilt.partition("rebuilt: ")
    assert crash_id in before
    assert after.splitlines()[-1] == before.splitlines()[-1]


def test_a_monitor_of_ones_own(tmp_path, blocks):
    ports = {
        "LAE_MONITOR__WEB__LISTEN": "127.0.0.1:0",
        "LAE_MONITOR__GATHERERS__CRASHES__LISTEN": "127.0.0.1:0",
        "LAE_MONITOR__GATHERERS__SONAR__LISTEN": "127.0.0.1:0",
        "LAE_MONITOR__GATHERERS__INCIDENTS__LISTEN": "tcp:0:interface=127.0.0.1",
    }
    reader = Reader(tmp_path, {})
    reader.environ |= ports  # the usual ones may be in use here
    write, prepare, start = blocks[1]
    reader.type(write)
    prepared = reader.type(prepare)
    assert "problem" not in prepared
    assert prepared.splitlines()[-1] == "Next: lae-monitor run"
    assert Path(tmp_path / "state" / "credentials" / "incidents" / "lae" / "node1.furl").exists()
    assert start == "lae-monitor run\n"
    monitor = reader.begin("run")
    stop(monitor)
    assert (tmp_path / "state" / "store").is_dir()


def test_the_first_session_with_crash_reports(tmp_path, page, markdown):
    """Start it, send a test report, see it: as docs/crashes.md has it, and the seed had it."""
    from lae_monitor.kinds.crashes.form import minidump

    text = page("crashes.md").partition("## A first session")[2].partition("\n## ")[0]
    start, verify, submit, curl, look = markdown.fences(text, "")
    base = free_ports()
    ports = {"WEB": base, "GATHERERS__CRASHES": base + 1, "GATHERERS__SONAR": base + 2}
    reader = Reader(tmp_path, {"127.0.0.1:8000": f"127.0.0.1:{base + 1}"})
    reader.environ |= {f"LAE_MONITOR__{part}__LISTEN": f"127.0.0.1:{port}" for part, port in ports.items()}
    reader.environ |= {
        "LAE_MONITOR__STATE__PATH": str(tmp_path / "state"),
        "LAE_MONITOR__GATHERERS__SONAR__AUTH_FILE": "",
        "LAE_MONITOR__GATHERERS__INCIDENTS__LISTEN": f"tcp:{base + 3}:interface=127.0.0.1",
    }
    (tmp_path / "test.dmp").write_bytes(minidump(time.time()))
    made, run = start.splitlines()
    reader.type(made)
    monitor = reader.begin(*run.split()[1:])
    try:
        assert '"errors":[]' in reader.type(commands(verify))
        assert reader.type(commands(submit)).startswith("CrashID=bp-")
        reply = reader.type(commands(curl))
        assert reply.startswith("CrashID=bp-")
        crash_id = reply.strip().removeprefix("CrashID=bp-")
        search, show = commands(look).splitlines()
        reader.type(f"{search} | grep -q {crash_id}")
        shown = reader.type(" ".join([*show.split()[:-1], crash_id]))
        assert "Test 1.0 crashed: SIGSEGV" in shown
    finally:
        stop(monitor)


def commands(block):
    """What a reader types of a block that shows a session."""
    return "\n".join(line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ "))
