"""A whole monitor on loopback, as an operator starts it: `lae-monitor run` with a configuration of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Self

from command_line import lae_monitor

LAE_MONITOR = [sys.executable, "-m", "lae_monitor"]
DEADLINE = 120.0  # seconds; generous, the machine may be busy


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on, no two the same."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def await_that(condition, what: str, deadline: float = DEADLINE):
    """Waits until `condition()` is true, and returns what it returned."""
    end = time.monotonic() + deadline
    error = None
    while time.monotonic() < end:
        try:
            if result := condition():
                return result
        except (OSError, ValueError) as caught:
            error = caught
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {deadline:.0f} s {error or ''}")


class Monitor:
    """Started by `with`, stopped at its end; `log` is all that it said."""

    def __init__(self, folder: Path, *arguments: str, roots: list[Path] | None = None, extra: str = "") -> None:
        self.folder = folder
        self.program = LAE_MONITOR  # or [release.program]
        self.state = folder / "state"
        self.config = folder / "lae-monitor.toml"
        self.ports = dict(zip(("web", "crashes", "sonar", "incidents"), free_ports(4), strict=True))
        self.web = f"http://127.0.0.1:{self.ports['web']}"
        self.crashes = f"http://127.0.0.1:{self.ports['crashes']}"
        self.sonar = f"http://127.0.0.1:{self.ports['sonar']}"
        self.arguments = arguments
        self.log = b""
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(exist_ok=True)
        roots_line = f"[archive]\nroots = {json.dumps([str(root) for root in roots])}\n" if roots else ""
        self.config.write_text(
            f'[state]\npath = "{self.state}"\n{roots_line}'
            f'[web]\nlisten = "127.0.0.1:{self.ports["web"]}"\n'
            f'[gatherers.crashes]\nlisten = "127.0.0.1:{self.ports["crashes"]}"\n'
            f'[gatherers.sonar]\nlisten = "127.0.0.1:{self.ports["sonar"]}"\nauth_file = ""\n'
            f'[gatherers.incidents]\nlisten = "tcp:{self.ports["incidents"]}:interface=127.0.0.1"\n'
            f'location = "tcp:127.0.0.1:{self.ports["incidents"]}"\n{extra}'
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        self.log = b""
        self.process = subprocess.Popen(
            [*self.program, "--config", str(self.config), "run", *self.arguments],
            cwd=self.folder,  # not this tree, where Python would find its own code first
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        await_that(lambda: b"lae-monitor is ready" in self.log or self.process.poll() is not None, "ready")
        assert self.process.poll() is None, self.log.decode(errors="replace")

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _read(self) -> None:
        for line in self.process.stdout:
            self.log += line

    def __exit__(self, *_exc) -> None:
        self.stop()

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(60)
        finally:
            for pid in self.children():
                os.kill(pid, signal.SIGKILL)
        self._reader.join(10)
        self.process.stdout.close()
        return code

    def children(self) -> list[int]:
        """Our processes: all that run with this configuration."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes()
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                except OSError:
                    continue
                if str(self.config).encode() in line and state != "Z" and int(entry.name) != os.getpid():
                    found.append(int(entry.name))
        return found

    def child(self, *words: str) -> int:
        """The process that was started with `words`, such as `gather`, `crashes`."""
        wanted = b"\0".join(word.encode() for word in words) + b"\0"
        return next((pid for pid in self.children() if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(wanted)), 0)

    def cli(self, *arguments: str, code: int | None = 0) -> str:
        """What a command prints; it has to exit with `code`, None for any.

        While this tree's monitor runs, commands only ask it, and need no process of their own; except beside each other.
        """
        words = ["--config", str(self.config), *arguments]
        alone = threading.current_thread() is threading.main_thread()
        if self.is_running() and alone and self.program is LAE_MONITOR:
            done = lae_monitor(*words)
        else:
            done = subprocess.run(
                [*self.program, *words], cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
            )
        assert code is None or done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def get(self, path: str):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.web + path, timeout=30) as answer:
            return json.load(answer)

    def search(self, query: str, limit: int = 10_000) -> list[dict]:
        from urllib.parse import quote

        return self.get(f"/api/search?q={quote(query)}&limit={limit}")["rows"]
