"""An archive disk that is not mounted, goes, or is replaced: nothing is acknowledged where a mount hides it, and the gatherers
stay up, say why they refuse, and go on by themselves when the right disk is back."""

import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "system"))
from monitor import LAE_MONITOR, Monitor, await_that

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: a disk that is not mounted. Mounting needs root"),
]


class Disk:
    """A file system on a folder, at `path`: it can be taken away, and come back as it was."""

    def __init__(self, folder: Path, path: Path) -> None:
        self.folder = folder
        self.path = path
        for made in (folder, path):
            made.mkdir(parents=True)

    def mount(self) -> None:
        subprocess.run(["mount", "--bind", self.folder, self.path], check=True)

    def unmount(self) -> None:
        """As `umount --lazy`, or a device that fails: open files stay open."""
        subprocess.run(["umount", "--lazy", self.path], check=True)

    def close(self) -> None:
        while subprocess.run(["umount", "--lazy", self.path], check=False, capture_output=True).returncode == 0:
            pass


@pytest.fixture
def disk(tmp_path):
    disk = Disk(tmp_path / "disk", tmp_path / "mnt" / "archive")
    yield disk
    disk.close()


class Crashes:
    """A client that knows what it was told."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.acknowledged: set[str] = set()

    def post(self) -> int:
        body = (
            b'--B\r\nContent-Disposition: form-data; name="ProductName"\r\n\r\nP\r\n'
            b'--B\r\nContent-Disposition: form-data; name="upload_file_minidump"; filename="x.dmp"\r\n'
            b"Content-Type: application/octet-stream\r\n\r\nMDMP\r\n--B--\r\n"
        )
        status, text = ask(f"{self.url}/submit", body, {"Content-Type": "multipart/form-data; boundary=B"})
        if status == 200:
            self.acknowledged.add(re.fullmatch(r"CrashID=bp-(\S+)\n", text)[1])
        return status

    def stored(self, *folders: Path) -> set[str]:
        return {path.stem for folder in folders for path in (folder / "crashes").rglob("*.zip")}


def ask(url: str, body: bytes | None = None, head: dict[str, str] | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url, body, head or {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(monitor: Monitor, time: str) -> int:
    line = f"v=0.12.1,time={time},host=n1,user=a,cmd=c,job=1,pid=1,cpu%=1,cpukib=1,rssanonkib=1,cputime_sec=1\n"
    return ask(f"{monitor.sonar}/sonar-freecsv?cluster=c", line.encode(), {"Content-Type": "text/csv"})[0]


def test_the_only_disk_is_not_there_at_the_start_goes_and_is_replaced(tmp_path, disk):
    disk.mount()
    with Monitor(tmp_path / "monitor", "crashes", "sonar", roots=[disk.path]) as monitor:
        crashes = Crashes(monitor.crashes)
        assert (crashes.post(), samples(monitor, "2026-11-22T10:00:00+00:00")) == (200, 200)
    disk.unmount()
    monitor.arguments = ("crashes", "sonar", "serve")
    with monitor:
        for url in (monitor.crashes, monitor.sonar, monitor.web):
            status, said = ask(f"{url}/__heartbeat__")
            assert status == 503
            assert f"lae-monitor archive adopt {disk.path}" in said
        assert (crashes.post(), samples(monitor, "2026-11-22T10:01:00+00:00")) == (503, 503)
        assert list(disk.path.iterdir()) == [], "the mount point is not touched"
        status = json.loads(monitor.cli("archive", "status", "--json", code=1))
        assert [root["health"] for root in status["roots"]] == ["refused"]
        assert f"archive adopt {disk.path}" in monitor.cli("check", "config", code=1)
        assert list(disk.path.iterdir()) == []
        disk.mount()
        await_that(lambda: crashes.post() == 200 and samples(monitor, "2026-11-22T10:02:00+00:00") == 200, "it is back")

        # While both send, the disk goes, another one takes its place, and it comes back: three times.
        over = threading.Event()
        second = [0]

        def send() -> None:
            while not over.is_set():
                crashes.post()
                second[0] += 1
                samples(monitor, f"2026-11-22T11:{second[0] // 60 % 60:02}:{second[0] % 60:02}+00:00")

        sender = threading.Thread(target=send)
        sender.start()
        other = Disk(tmp_path / "other", tmp_path / "nowhere")
        try:
            for round_ in range(3):
                count = len(crashes.acknowledged)
                disk.unmount()
                if round_:
                    subprocess.run(["mount", "--bind", other.folder, disk.path], check=True)
                await_that(lambda: ask(f"{monitor.crashes}/__heartbeat__")[0] == 503 or _refused(monitor), "noticed")
                if round_:
                    disk.unmount()
                disk.mount()
                await_that(lambda count=count: len(crashes.acknowledged) > count + 3, "it is back")
        finally:
            over.set()
            sender.join()
        # Each gatherer looks for itself whether the disk is back.
        await_that(lambda: samples(monitor, "2026-11-22T12:00:00+00:00") == 200, "Sonar's gatherer has it back")
    under = disk.path
    assert crashes.acknowledged <= crashes.stored(disk.folder), "what was acknowledged is on the disk"
    disk.unmount()
    assert list(under.iterdir()) == []
    assert list(other.folder.iterdir()) == []


def _refused(monitor: Monitor) -> bool:
    return any(root["health"] == "refused" for root in json.loads(ask(f"{monitor.crashes}/__heartbeat__")[1])["roots"])


def test_a_fallback_takes_what_comes_and_the_disk_gets_it_when_it_is_back(tmp_path, disk):
    away = tmp_path / "away"
    disk.mount()
    with Monitor(tmp_path / "monitor", "crashes", "serve", roots=[disk.path, away]) as monitor:
        crashes = Crashes(monitor.crashes)
        assert crashes.post() == 200
        await_that(lambda: monitor.search("kind:crash"), "it is moved")
    disk.unmount()
    with monitor:
        assert crashes.post() == 200
        assert ask(f"{monitor.crashes}/__heartbeat__")[0] == 200, "one root works"
        assert crashes.stored(away)
        assert list(disk.path.iterdir()) == []
        await_that(lambda: len(monitor.search("kind:crash")) == 2, "what the disk has stays in the store")
        assert "not rebuilt" in _failing(monitor, "store", "rebuild"), "what the disk has would vanish"
        disk.mount()
        await_that(lambda: crashes.stored(disk.folder) == crashes.acknowledged, "it came home")
        assert len(monitor.search("kind:crash")) == 2


def _failing(monitor: Monitor, *words: str) -> str:
    done = subprocess.run(
        [*LAE_MONITOR, "--config", str(monitor.config), *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    return done.stdout + done.stderr
