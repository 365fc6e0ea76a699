"""A real Tahoe-LAFS storage node, for tests."""

import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

BIN = Path(sys.executable).parent


class Node:
    """A Tahoe-LAFS storage node."""

    def __init__(self, gatherer, furl):
        self.folder = gatherer.folder / "node"
        self.gatherer = gatherer
        port, self.web = gatherer.free_port(), gatherer.free_port()
        where = f"tcp:127.0.0.1:{port}"
        subprocess.run(
            [
                BIN / "tahoe", "create-node", f"--port=tcp:{port}:interface=127.0.0.1", f"--location={where}",
                "--nickname=n1", f"--webport=tcp:{self.web}:interface=127.0.0.1", str(self.folder),
            ],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        config = self.folder / "tahoe.cfg"
        text, count = re.subn(r"(?m)^#log_gatherer\.furl =.*$", f"log_gatherer.furl = {furl}", config.read_text())
        assert count == 1
        config.write_text(text)

    def start(self):
        self.run = self.gatherer.run([str(BIN / "tahoe"), "run", "--allow-stdin-close", str(self.folder)], "tahoe")

    def stop(self):
        self.run.kill(signal.SIGTERM)

    def report(self, details):
        """As an operator does on the node's page."""
        body = urllib.parse.urlencode({"details": details}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.web}/report_incident", body, timeout=60) as answer:
            assert b"incident report has been saved" in answer.read()

    def incidents(self):
        return sorted(
            path.name.removesuffix(".flog.bz2") for path in (self.folder / "logs/incidents").glob("*.flog.bz2")
        )
