"""The product's main job: what is sent through the real entrances is on the timeline of its host, and stays there."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess

from monitor import Monitor, await_that


def submit_crash(monitor: Monitor, **annotations: str) -> str:
    options = [part for key, value in annotations.items() for part in ("--annotation", f"{key}={value}")]
    said = monitor.cli("crashes", "submit", "--url", f"{monitor.crashes}/submit", *options)
    return re.search(r"bp-([0-9a-f-]{36})", said)[1]


def post_samples(monitor: Monitor, lines: str, cluster: str = "hpc") -> None:
    subprocess.run(
        ["curl", "-sS", "--fail", "--noproxy", "*", "--data-binary", "@-", "-H", "Content-Type: text/csv",
         f"{monitor.sonar}/sonar-freecsv?cluster={cluster}"],
        input=lines.encode(), check=True, timeout=60, capture_output=True,
    )  # fmt: skip


def sample(host: str, time: str, pid: int) -> str:
    return (
        f"v=0.12.1,time={time},host={host},user=alice,cmd=python,job={pid},pid={pid},cpu%=99.5,cpukib=1000,"
        f"rssanonkib=500,cputime_sec={pid * 7}\n"
    )


def now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat(timespec="seconds")


def answers(monitor: Monitor) -> str:
    """A hash of what the search, the hosts and a timeline answer, without what may differ from run to run."""
    found = {
        "events": monitor.search("since:30d"),
        "hosts": sorted((host["cluster"], host["host"]) for host in monitor.get("/api/hosts")["hosts"]),
    }
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def test_a_crash_and_samples_are_on_the_timelines_of_their_hosts(monitor):
    crash_id = submit_crash(monitor, ProductName="Lemmings", Version="1.0", Comments="over the cliff")
    post_samples(monitor, sample("node1.hpc", now(), 4711) + sample("node1.hpc", now(), 4712))
    row = await_that(lambda: monitor.search("cliff"), "the crash is found by a word of its comment")[0]
    assert (row["kind"], row["id"], row["host"]) == ("crash", crash_id, "127.0.0.1")
    await_that(lambda: monitor.search("kind:sonar host:node1.hpc"), "the samples are on the timeline")
    shown = monitor.cli("report", "show", crash_id)
    assert "Lemmings" in shown
    assert "over the cliff" in shown
    target = monitor.folder / "saved.zip"
    monitor.cli("report", "save", crash_id, "-o", str(target))
    stored = monitor.state / "archive" / "crashes" / f"20{crash_id[-6:]}" / f"{crash_id}.zip"
    assert target.read_bytes() == stored.read_bytes()
    assert subprocess.run(["unzip", "-t", str(target)], capture_output=True, check=False).returncode == 0
    assert "node1.hpc" in monitor.cli("host", "list")
    assert "Lemmings" in monitor.cli("host", "show", "127.0.0.1")


def test_a_deleted_store_is_rebuilt_with_the_same_answers(tmp_path):
    with Monitor(tmp_path / "monitor") as monitor:
        ids = {submit_crash(monitor, ProductName="P", Version=str(number)) for number in range(5)}
        moment = now()
        post_samples(monitor, "".join(sample("n1", moment, 100 + number) for number in range(20)))
        post_samples(monitor, sample("n2", moment, 1))
        monitor.cli("crashes", "submit", "--url", f"{monitor.crashes}/nowhere", code=1)
        await_that(lambda: {row["id"] for row in monitor.search("kind:crash")} == ids, "all crashes are found")
        await_that(lambda: len(monitor.search("kind:sonar")) == 2, "both runs are found")
        await_that(lambda: monitor.search("kind:alarm"), "the alarm of a new group, which comes by itself, is found")
        before = answers(monitor)
        for name, value in (("Origin", "http://evil.example"), ("Host", "evil.example")):  # another site's page
            begin = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*", "-X", "POST", "-H"]
            done = subprocess.run(
                [*begin, f"{name}: {value}", f"{monitor.web}/api/store/rebuild"],
                capture_output=True, check=True, timeout=60,
            )  # fmt: skip
            assert done.stdout == b"403"
        monitor.cli("store", "rebuild")  # online: the old tables answer meanwhile
        assert answers(monitor) == before
        assert monitor.stop() == 0
        shutil.rmtree(monitor.state / "store")
        monitor.cli("store", "rebuild")  # offline, and the store is gone
        monitor.start()
        assert answers(monitor) == before


def test_what_ends_is_started_again_and_term_ends_all(tmp_path):
    with Monitor(tmp_path / "monitor") as monitor:
        before = monitor.child("gather", "crashes")
        assert before
        os.kill(before, signal.SIGKILL)
        await_that(lambda: monitor.child("gather", "crashes") not in {0, before}, "another crash collector")
        await_that(lambda: submit_crash_now(monitor), "it accepts")
        assert monitor.stop(signal.SIGINT) == 0
        assert monitor.children() == []
        assert not (monitor.state / "node.url").exists()
        assert b"Traceback" not in monitor.log


def submit_crash_now(monitor: Monitor) -> bool:
    return "CrashID" in monitor.cli("crashes", "submit", "--url", f"{monitor.crashes}/submit", code=None)


def test_a_second_monitor_on_the_same_state_is_refused(monitor):
    from monitor import LAE_MONITOR

    again = subprocess.run(
        [*LAE_MONITOR, "--config", str(monitor.config), "run"], capture_output=True, text=True, timeout=60, check=False
    )
    assert again.returncode == 75
    assert "already running" in again.stderr


def test_health_addresses_answer_on_every_listener(monitor):
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for base in (monitor.web, monitor.crashes, monitor.sonar):
        for path in ("/ping", "/__lbheartbeat__", "/__heartbeat__", "/__version__", "/metrics"):
            with opener.open(base + path, timeout=30) as answer:
                assert answer.status == 200, (base, path)
    with opener.open(monitor.web + "/metrics", timeout=30) as answer:
        assert b"lae_mover_waiting_files" in answer.read()
