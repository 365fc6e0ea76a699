"""kill -9 of `serve` at random moments while crashes come in: every id that was answered is found, once, without help."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "system"))
from monitor import LAE_MONITOR, Monitor, await_that

KILLS = int(os.environ.get("LAE_KILLS_SERVE", os.environ.get("LAE_KILLS", "3")))


@pytest.mark.kills
@pytest.mark.timeout(300 + 30 * KILLS)
def test_every_answered_crash_is_found_once_however_often_serve_is_killed(tmp_path):
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    issued: list[str] = []
    stop = threading.Event()

    with Monitor(tmp_path / "monitor", "crashes") as gatherer:

        def send() -> None:
            from http.client import HTTPConnection

            connection = HTTPConnection("127.0.0.1", gatherer.ports["crashes"], timeout=60)
            number = 0
            while not stop.wait(rng.random() * 0.1):
                number += 1
                body = (
                    '--B\r\nContent-Disposition: form-data; name="ProductName"\r\n\r\nKilled\r\n'
                    f'--B\r\nContent-Disposition: form-data; name="Serial"\r\n\r\n{number}\r\n--B--\r\n'
                ).encode()
                connection.request("POST", "/submit", body, {"Content-Type": "multipart/form-data; boundary=B"})
                answer = connection.getresponse()
                text = answer.read().decode()
                assert answer.status == 200, text
                issued.append(re.search(r"bp-([0-9a-f-]{36})", text)[1])
            connection.close()

        sender = threading.Thread(target=send)
        sender.start()
        ready = gatherer.state / "node.url"
        try:
            for _ in range(KILLS):
                serve = subprocess.Popen(
                    [*LAE_MONITOR, "--config", str(gatherer.config), "serve"],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
                await_that(lambda: ready.exists() and str(ready.read_text()), "serve is up")
                stop.wait(rng.random() * 0.7)  # the moment of the kill is what is tried here
                serve.send_signal(signal.SIGKILL)
                serve.wait()
                ready.unlink(missing_ok=True)
        finally:
            stop.set()
            sender.join()
        serve = subprocess.Popen([*LAE_MONITOR, "--config", str(gatherer.config), "serve"], stderr=subprocess.DEVNULL)
        try:
            await_that(
                lambda: sorted(_found(gatherer)) == sorted(issued),
                f"all {len(issued)} answered crashes are found, each once",
            )
        finally:
            serve.terminate()
            assert serve.wait(60) == 0


def _found(monitor: Monitor) -> list[str]:
    """The ids of all crashes: one answer holds 10,000 at most."""
    ids, before = [], ""
    while True:
        page = monitor.get(f"/api/events?q=kind:crash&limit=5000&before={before}")
        ids += [row["id"] for row in page["rows"]]
        before = page["older"]
        if not before:
            return ids
