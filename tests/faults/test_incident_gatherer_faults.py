"""The incident gatherer is killed in the middle of fetches, its disk is full, its archive holds rubbish: nothing lost, nothing twice."""

import bz2
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "kinds" / "incidents"))
from gatherer_process import HERE, Process, await_that, gatherer_in
from recorded import made_incident, name_of

sys.path.insert(0, str(Path(__file__).parent.parent / "system"))
from monitor import Monitor

from lae_monitor.config import load
from lae_monitor.kinds import KINDS
from lae_monitor.net.furls.registry import Registry

KILLS = int(os.environ.get("LAE_KILLS", "3"))
INCIDENTS = 5 * min(KILLS, 8)  # of each host, to be fetched between kills
SIZE = 8 << 20  # bytes of the small disk


@pytest.fixture
def gatherer(tmp_path):
    with gatherer_in(tmp_path / "gatherer") as made:
        yield made


@pytest.mark.kills
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_ended_again_and_again_in_the_middle_of_fetches_it_has_everything_once(gatherer, ending):
    seed = int(os.environ.get("LAE_SEED", "0")) or random.randrange(1, 2**32)
    print("seed", seed)
    rng = random.Random(seed)
    expected = {}
    for host in ("node1", "node2", "node3"):
        names = [
            name_of(f"{rng.randint(9, 10):02}-{rng.randint(1, 28):02}", number, f"bcde{number:03}")
            for number in range(INCIDENTS)
        ]
        for name in names:
            made_incident(
                gatherer.folder / f"{host}-incidents", name, rng.choice([1, 1, 40, 40, 900]), text=f"{host} {name}"
            )
        expected[host] = sorted(names)
        gatherer.publisher(gatherer.register(host).furl, host)
    kills = 0
    while kills < KILLS and any(gatherer.names(host) != names for host, names in expected.items()):
        gatherer.start()
        wanted = gatherer.process.log().count("fetching incident") + rng.randint(1, 8)
        await_that(
            lambda wanted=wanted: (
                gatherer.process.log().count("fetching incident") >= wanted
                or all(gatherer.names(host) == names for host, names in expected.items())
            ),
            gatherer.process.log,
        )
        time.sleep(rng.random() * 0.05)  # anywhere within a fetch
        code = gatherer.process.kill(ending)
        assert code == (0 if ending == signal.SIGTERM else -ending), f"{seed}: {gatherer.process.log()}"
        kills += 1
    assert kills > 2
    gatherer.start()
    for host, names in expected.items():
        assert gatherer.await_names(host, len(names)) == names, seed
        for name in names:
            assert gatherer.lines(host, name)[1]["d"]["message"] == f"{host} {name} 0", seed
        gatherer.await_that(lambda host=host: gatherer.has_cursor(host), f"no cursor of {host}")
    may_lack = kills + 1 if ending == signal.SIGKILL else 0  # a kill may keep one receipt from the journal, not more
    receipts = gatherer.await_journal(3 * INCIDENTS - may_lack, verdict="accepted")
    assert set(Counter((entry["host"], entry["id"]) for entry in receipts).values()) <= {1}, seed
    assert gatherer.journal(verdict="refused") == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: a full disk. Mounting a small file system needs root")
def test_disk_that_is_full_while_it_saves_costs_nothing_but_time(gatherer, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)], check=True)
    try:
        gatherer.config.write_text(f'[archive]\nroots = ["{disk}"]\n' + gatherer.config.read_text())
        names = [name_of(f"10-{day:02}") for day in range(1, 8)]
        for name in names:
            made_incident(gatherer.folder / "p-incidents", name, events=50)
        hog = disk / "hog"
        gatherer.start({"kinds.incidents.nodes.node.FIRST_PAUSE": 0.2, "kinds.incidents.nodes.node.LAST_PAUSE": 0.4})
        with hog.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize)
        node = gatherer.publisher(gatherer.register("node1").furl, "p")
        gatherer.process.await_log("not stored, next try in", 3)
        folder = disk / "incidents/lae/incidents/node1"
        assert list(folder.glob("*")) == []
        hog.unlink()
        await_that(lambda: len(list(folder.glob("*.flog.bz2"))) == 7, gatherer.process.log)
        assert sorted(path.name.removesuffix(".flog.bz2") for path in folder.glob("*.bz2")) == names
        assert all(bz2.decompress(path.read_bytes()).endswith(b"}\n") for path in folder.glob("*.bz2"))
        await_that((folder / "latest").exists, "no cursor")
        assert f"asked {names[-1]}" in node.output()
        gatherer.stop()
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_rubbish_in_the_incidents_folder_and_among_the_furls_stops_nothing(gatherer):
    """Links, folders, names of no host, files that are no FURLs; whatever it is, it is left alone."""
    folder = gatherer.folder_of("node1")
    folder.mkdir(parents=True)
    names = [name_of(f"10-{day:02}") for day in range(1, 5)]
    secret = gatherer.folder / "secret"
    secret.write_text("not ours")
    (folder / f"{names[0]}.flog.bz2").symlink_to(secret)
    (folder / "latest").mkdir()
    (folder / ".hidden").write_text("x")
    (folder / "incident-").mkdir()
    (folder / f"{name_of('10-09')}.flog.bz2").write_bytes(b"BZh9truncated")
    (folder.parent / "no host\n").mkdir()
    (folder.parent / "loop").symlink_to(folder.parent)
    (folder.parent / "node9").symlink_to(secret)
    (folder.parent.parent / "log_gatherer.furl").mkdir()
    for name in names[1:]:
        made_incident(gatherer.folder / "p-incidents", name)
    furl = gatherer.register("node1").furl
    credentials = gatherer.state / "credentials/incidents"
    (credentials / "lae" / "broken.furl").mkdir()
    (credentials / "lae" / "empty.furl").touch()
    (credentials / "lae" / "gone.furl").symlink_to(gatherer.folder / "nowhere")
    (credentials / "lae" / "-no-name.furl").write_text(furl.reveal().replace(furl.swissnum.reveal(), "x" * 32))
    (credentials / "loop").symlink_to(credentials)
    (credentials / "claims").mkdir()
    gatherer.config.write_text(gatherer.config.read_text() + "unregistered = true\n")
    gatherer.start()
    gatherer.publisher(furl, "p")
    await_that(lambda: {*names[1:]} <= {*gatherer.names("node1")}, gatherer.process.log)
    gatherer.await_journal(3, verdict="accepted")
    gatherer.process.await_log("latest not written")
    gatherer.stop()
    assert "Traceback" not in gatherer.process.log()
    assert secret.read_text() == "not ours"


def test_folder_of_an_incidents_name_is_waited_for_and_what_comes_after_it_is_not(gatherer):
    names = [name_of("10-01"), name_of("10-02")]
    for name in names:
        made_incident(gatherer.folder / "p-incidents", name)
    planted = gatherer.folder_of("node1") / f"{names[0]}.flog.bz2"
    planted.mkdir(parents=True)
    gatherer.start({"kinds.incidents.nodes.node.FIRST_PAUSE": 0.1, "kinds.incidents.nodes.node.LAST_PAUSE": 0.2})
    gatherer.publisher(gatherer.register("node1").furl, "p")
    await_that(lambda: names[1] in gatherer.names("node1"), gatherer.process.log)
    gatherer.process.await_log("not stored, next try in", 2)
    planted.rmdir()
    await_that(planted.is_file, gatherer.process.log)


def monitor_log(monitor):
    return lambda: monitor.log.decode(errors="replace")


def publisher(monitor, host, name):
    """A Foolscap publisher that reports to a whole monitor as `host`."""
    furl = Registry(load(monitor.config, KINDS, {}), "incidents").register(host).furl
    logs = monitor.folder / f"{name}-incidents"
    command = [sys.executable, str(HERE / "publisher.py"), furl.reveal(), str(logs), "", "1"]
    return Process(command, monitor.folder, name)


def test_truncated_incident_is_in_quarantine_and_the_rest_is_found(tmp_path):
    with Monitor(tmp_path / "monitor", "incidents", "serve") as monitor:
        pass  # makes its folders
    folder = monitor.state / "archive/incidents/lae/incidents/node1"
    made_incident(folder, name_of("10-01"), text="first whole")
    made_incident(folder, name_of("10-02"), text="cut short")
    cut = folder / f"{name_of('10-02')}.flog.bz2"
    cut.write_bytes(cut.read_bytes()[:-40])
    made_incident(monitor.folder / "p-incidents", name_of("10-03"), text="second whole")
    with monitor:
        node = publisher(monitor, "node1", "p")
        try:
            await_that(lambda: len(monitor.search("kind:incident")) == 2, monitor_log(monitor))
            found = {row["id"]: row["title"] for row in monitor.search("kind:incident")}
            assert found == {name_of("10-01"): "first whole 0", name_of("10-03"): "second whole 0"}
            (alarm,) = await_that(lambda: monitor.search("kind:alarm"), "the alarm")
            assert cut.name in alarm["text"]
            node.send(message="live one", level=30)
            await_that(lambda: len(monitor.search("kind:incident")) == 3, monitor_log(monitor))
        finally:
            node.kill()
