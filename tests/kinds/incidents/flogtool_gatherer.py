"""flogtool's own incident gatherer, and nodes that report to it and are restarted: what people have who come to us."""

import re
import signal
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent


class Flogtool:
    """A gatherer in `folder`. `run` starts processes that end with the test, as conftest.Gatherer.run does."""

    def __init__(self, folder, port, run, await_that):
        self.folder = folder
        self.port = port
        self.run = run
        self.await_that = await_that
        where = f"tcp:127.0.0.1:{port}"
        subprocess.run(
            [
                BIN / "flogtool", "create-incident-gatherer", "--quiet", f"--port=tcp:{port}:interface=127.0.0.1",
                f"--location={where}", str(folder),
            ],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        self.process = None

    def start(self):
        twistd = ["sh", "-c", f'cd "{self.folder}" && exec {BIN}/twistd --nodaemon --python gatherer.tac']
        self.process = self.run(twistd, f"flogtool-{self.folder.name}")
        self.await_that(lambda: "Gatherer waiting at" in self.process.output(), self.process.output)
        return self

    def stop(self):
        self.process.kill(signal.SIGTERM)

    @property
    def furl(self):
        return (self.folder / "log_gatherer.furl").read_text().strip()

    def files(self):
        return sorted(self.folder.glob("incidents/*/incident-*.flog.bz2"))

    def names(self):
        return sorted({path.name.removesuffix(".flog.bz2") for path in self.files()})

    def live(self, logs, starts, location=""):
        """A node that reports one incident after each of its starts; flogtool fetches all that it has every time."""
        for number in range(1, starts + 1):
            before = len(self.files())
            node = publisher(self.run, self.furl, logs)
            if location:
                node.send(message=f"Tub location set to b'{location}'", level=20)
            node.send(message=f"trouble {number} of {logs.name}", level=30)
            self.await_that(
                lambda before=before, number=number: len(self.files()) == before + number, self.process.output
            )
            self.await_that(self._is_classified, "classified, so that all is written")
            node.kill()

    def _is_classified(self):
        listed = "".join(path.read_text() for path in (self.folder / "classified").iterdir())
        return all(str(path.relative_to(self.folder)) in listed for path in self.files())

    def state(self):
        """Every path below, with what would show that somebody touched it."""
        return {
            str(path.relative_to(self.folder)): (
                path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b""
            )
            for path in self.folder.rglob("*")
        }  # fmt: skip


def publisher(run, furl, logs):
    """A node with a log publisher, whose incidents are in `logs`."""
    script = Path(__file__).with_name("publisher.py")
    return run([sys.executable, str(script), furl, str(logs)], f"node-{logs.name}")


def tub_ids(folder):
    return sorted(path.name for path in (folder / "incidents").iterdir() if re.fullmatch("[a-z2-7]{32}", path.name))
