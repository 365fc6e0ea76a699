"""Crash gatherers in processes of their own, as crash_gatherer_driver.py makes them."""

import os
import subprocess
import sys
from pathlib import Path

PATIENCE = 120.0  # seconds; the machine may be slow and busy
HERE = Path(__file__).parent


class Gatherers:
    """Makes gatherers that work on `folder`, one after the other."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
        command = [sys.executable, HERE / "crash_gatherer_driver.py", folder]
        pipe = subprocess.PIPE
        self.maker = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        self.pid = 0
        self.port = 0
        self.status: int | None = None

    def start(self) -> None:
        self.pid, self.port, self.status = 0, 0, None
        self.maker.stdin.write("\n")
        self.maker.stdin.flush()
        while not self.pid:
            self.hear()

    def hear(self) -> None:
        word, number = self.maker.stdout.readline().split()
        setattr(self, {"ended": "status"}.get(word, word), int(number))

    def wait_until_ready(self) -> None:
        while not self.port:
            self.hear()

    def end(self, number: int) -> int:
        os.kill(self.pid, number)
        while self.status is None:
            self.hear()
        return self.status

    def close(self) -> None:
        self.maker.stdin.close()
        self.maker.wait(PATIENCE)
        self.maker.stdout.close()
