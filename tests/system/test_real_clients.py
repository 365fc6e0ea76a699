"""A real Crashpad client and a real Tahoe-LAFS node report into a running monitor: both are on their hosts' timelines."""

import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

from monitor import await_that, free_port

BIN = Path(sys.executable).parent


def test_a_real_crash_is_on_the_timeline_with_its_dump_byte_for_byte(monitor, crash_with_crashpad):
    dump, meta = crash_with_crashpad(f"{monitor.crashes}/submit")
    crash_id = re.search(rb"bp-([0-9a-f-]{36})", meta)[1].decode()
    (row,) = await_that(lambda: monitor.search(f"id:{crash_id}"), "the crash is found")
    assert (row["kind"], row["host"], row["title"]) == ("crash", "127.0.0.1", "LaeTest 1.2.3 crashed: SIGSEGV")
    saved = monitor.folder / "saved.dmp"
    monitor.cli("report", "save", crash_id, "--dump", "upload_file_minidump", "-o", str(saved))
    assert saved.read_bytes() == dump


def test_an_incident_of_a_real_node_is_on_the_timeline_of_its_host(monitor):
    furl = monitor.cli("fleet", "register", "incident", "--host", "storage1.example", "--print-furl").strip()
    folder, port, web = monitor.folder / "node", free_port(), free_port()
    subprocess.run(
        [BIN / "tahoe", "create-node", f"--port=tcp:{port}:interface=127.0.0.1", f"--location=tcp:127.0.0.1:{port}",
         "--nickname=n1", f"--webport=tcp:{web}:interface=127.0.0.1", str(folder)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    config = folder / "tahoe.cfg"
    config.write_text(re.sub(r"(?m)^#log_gatherer\.furl =.*$", f"log_gatherer.furl = {furl}", config.read_text()))
    node = subprocess.Popen(
        [BIN / "tahoe", "run", "--allow-stdin-close", str(folder)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        await_that(lambda: b"storage1.example" in monitor.log or "connected to" in monitor.log.decode(), "it connects")
        body = urllib.parse.urlencode({"details": "the disk sounds like a coffee grinder"}).encode()

        def report() -> bool:
            with opener.open(f"http://127.0.0.1:{web}/report_incident", body, timeout=60) as answer:
                return b"incident report has been saved" in answer.read()

        await_that(report, "the node takes the report")
        (row,) = await_that(lambda: monitor.search("coffee kind:incident"), "the incident is found by its words")
        assert (row["cluster"], row["host"]) == ("lae", "storage1.example")
        assert row["attrs"]["umid"] == "LkD9Pw"
        shown = monitor.cli("report", "show", row["id"])
        assert "coffee grinder" in shown
        swissnum = furl.rpartition("/")[2]
        assert swissnum not in shown
        assert swissnum.encode() not in monitor.log
        assert "storage1.example" in monitor.cli("host", "list")
    finally:
        node.send_signal(signal.SIGTERM)
        node.wait(60)
