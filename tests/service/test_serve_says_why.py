"""When `serve` cannot work it says why and ends with a code of its own; what comes meanwhile waits in the archive."""

import json
import os
import signal
import subprocess
import sys
import threading
from urllib.request import urlopen

import pytest
from monitor import LAE_MONITOR, Monitor, await_that

EX_UNAVAILABLE = 69


def serve(monitor: Monitor, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [*LAE_MONITOR, "--config", str(monitor.config), "serve"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options,
    )  # fmt: skip


def ended(process: subprocess.Popen) -> tuple[int, str]:
    said = process.communicate(timeout=120)[0].decode()
    return process.returncode, said


@pytest.fixture
def monitor(tmp_path):
    monitor = Monitor(tmp_path / "monitor")  # not started
    monitor.state.mkdir(mode=0o700)
    return monitor


def test_a_store_that_somebody_else_has_open(monitor):
    holder = (
        "import sys; from pathlib import Path; from lae_monitor.store.chdb_driver import ChdbDriver;"
        "driver = ChdbDriver(Path(sys.argv[1]), memory=400 << 20); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(monitor.state / "store")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"open\n"
        code, said = ended(serve(monitor))
        other.stdin.close()
    assert code == EX_UNAVAILABLE, said
    assert "is another lae-monitor using it?" in said
    assert "Traceback" not in said


def no_folder(state):
    (state / "store").write_text("not a folder")


def garbage_of_the_engine(state):
    folder = state / "store" / "metadata"
    folder.mkdir(parents=True)
    (folder / "lae.sql").write_bytes(os.urandom(100))


def garbage_ledger(state):
    (state / "mover.db").write_bytes(b"no database at all, but long enough to be looked at" * 100)


def garbage_alarms(state):
    (state / "alerts.db").write_bytes(os.urandom(5000))


@pytest.mark.parametrize("spoil", [no_folder, garbage_of_the_engine, garbage_ledger, garbage_alarms])
def test_what_cannot_be_opened_is_set_aside_and_made_anew(monitor, spoil):
    """`serve` runs, says so in its heartbeat and on the fleet page, and has every row again."""
    line = b'{"time": "2026-11-22T00:00:00Z", "what": "mark", "title": "before", "host": "h"}\n'
    day = monitor.state / "archive" / "journal" / "2026" / "11" / "22"
    day.mkdir(parents=True)
    (day / "gather-x.jsonl").write_bytes(line)
    spoil(monitor.state)
    process = serve(monitor)
    try:
        await_that((monitor.state / "node.url").exists, "serve is up")
        url = (monitor.state / "node.url").read_text().strip()
        await_that(lambda: monitor.search("before"), "the new store has the row")

        def warned() -> bool:
            with urlopen(f"{url}__heartbeat__") as answer:
                return any("set aside" in one or "made anew" in one for one in json.load(answer)["warnings"])

        asides = list(monitor.state.glob("*.aside-*"))
        await_that(
            lambda: warned() or not list(monitor.state.glob("*.aside-*")), "the heartbeat says it while it is there"
        )
        assert len(asides) <= 1
        await_that(lambda: monitor.search("kind:alarm"), "it is on the timeline")
    finally:
        process.terminate()
        said = process.communicate(timeout=120)[0].decode()
    assert process.returncode == 0, said
    assert "could not be opened and is made anew; the old one is" in said


def test_a_store_of_a_newer_release_is_not_set_aside(monitor):
    newer = (
        "import asyncio, sys; from pathlib import Path; from lae_monitor.store import Store\n"
        "from lae_monitor.store.chdb_driver import ChdbDriver\n"
        "async def main():\n"
        "    store = await Store(ChdbDriver(Path(sys.argv[1]), memory=400 << 20)).open()\n"
        "    await store.driver.command(\"INSERT INTO lae.migrations SELECT 9999, 'later', now(), ''\")\n"
        "    await store.close()\n"
        "asyncio.run(main())"
    )
    subprocess.run([sys.executable, "-c", newer, str(monitor.state / "store")], check=True)
    code, said = ended(serve(monitor))
    assert code == EX_UNAVAILABLE, said
    assert "install the newer release" in said
    assert list(monitor.state.glob("*.aside-*")) == []


def test_a_stale_address_goes_at_once(monitor):
    """Of a `serve` that was killed: whoever reads it would ask a stranger."""
    (monitor.state / "node.url").write_text("http://127.0.0.1:1/\n")
    process = serve(monitor)
    await_that(
        lambda: (
            (monitor.state / "node.url").exists() is False
            or "127.0.0.1:1/" not in (monitor.state / "node.url").read_text()
        ),
        "it is gone",
    )
    process.terminate()
    process.communicate(timeout=120)


@pytest.mark.parametrize("words", ["setting", "archive: ", "pages and API at"])
def test_term_ends_it_whenever_it_comes(monitor, words):
    process = serve(monitor)
    lines: list[bytes] = []
    reading = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, b"")))
    said = process.stdout.readline()
    while words.encode() not in said:
        said = process.stdout.readline()
        assert said, process.wait()
    process.send_signal(signal.SIGTERM)
    reading.start()
    code = process.wait(60)
    reading.join(30)
    process.stdout.close()
    assert code in ({0, -signal.SIGTERM} if words == "setting" else {0}), b"".join(lines).decode()
    assert not (monitor.state / "node.url").exists()
    assert b"Traceback" not in b"".join(lines)


def test_term_ends_what_does_not_end_by_itself(tmp_path):
    code = (
        "import asyncio, sys\n"
        "from lae_monitor.process import running\n"
        "async def main(stop):\n"
        "    print('busy', flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "sys.exit(running.run_until_stopped(main, grace=0.1))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"busy\n"
        process.terminate()
        assert process.wait(60) == 0


def test_a_second_serve_is_refused_and_harms_nothing(tmp_path):
    with Monitor(tmp_path / "monitor", "serve") as monitor:
        address = (monitor.state / "node.url").read_text()
        code, said = ended(serve(monitor))
        assert code == os.EX_TEMPFAIL, said
        assert "already running" in said
        assert (monitor.state / "node.url").read_text() == address
        await_that(lambda: monitor.get("/api/store")["tables"], "the first one answers")
