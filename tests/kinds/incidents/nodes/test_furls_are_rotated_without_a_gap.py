"""A new FURL for a host: the old one is let in for a while, and not a moment longer; revoked means all of them."""

import os
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from lae_monitor.core.names import ClusterName, HostName
from lae_monitor.core.secrets import Furl
from lae_monitor.net.furls.door import WATCH_EVERY
from lae_monitor.net.furls.files import MAX_OLD, OLD, HostFurls, OpenFurl

ROOT = Path(__file__).parents[4]
CLUSTER, HOST = ClusterName("lae"), HostName("node1")
TUB, WHERE = "a" * 32, "tcp:monitoring.example:3118"
DAY = 86400.0


class Clock:
    now = 1.8e9

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def furls(tmp_path, clock):
    return HostFurls(tmp_path / "incidents", clock)


def swissnum(known):
    return known.furl.swissnum.reveal()


def cli(gatherer, *arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "lae_monitor", "--config", str(gatherer.config), "fleet", *arguments],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout.strip(), done.stderr


# ---- the files -----------------------------------------------------------------------------------------------------


def test_old_furl_is_let_in_until_its_time_is_over_and_the_new_one_from_now_on(furls, clock):
    old, _ = furls.issue(CLUSTER, HOST, TUB, WHERE)
    assert furls.find(swissnum(old)).until is None
    new = furls.rotate(CLUSTER, HOST, TUB, WHERE, DAY)
    assert swissnum(new) != swissnum(old)
    kept = old.path.with_name(f"{HOST}{OLD}")
    assert stat.S_IMODE(kept.stat().st_mode) == stat.S_IMODE(new.path.stat().st_mode) == 0o600
    for reader in (furls, HostFurls(furls.folder, clock)):
        assert reader.find(swissnum(new)).until is None
        found = reader.find(swissnum(old))
        assert (found.cluster, found.host, found.until) == (CLUSTER, HOST, clock.now + DAY)
    clock.now += DAY - 1
    assert furls.find(swissnum(old)) is not None
    clock.now += 1
    assert furls.find(swissnum(old)) is None
    assert furls.find(swissnum(new)) is not None


def test_without_grace_the_old_one_ends_at_once_and_those_before_it_too(furls):
    first, _ = furls.issue(CLUSTER, HOST, TUB, WHERE)
    second = furls.rotate(CLUSTER, HOST, TUB, WHERE, DAY)
    assert furls.find(swissnum(first)) is not None
    third = furls.rotate(CLUSTER, HOST, TUB, WHERE, 0)
    assert [furls.find(swissnum(known)) is not None for known in (first, second, third)] == [False, False, True]
    assert not first.path.with_name(f"{HOST}{OLD}").exists()


def test_who_rotates_again_in_the_meantime_cuts_nobody_off_until_there_are_many(furls):
    made = [furls.issue(CLUSTER, HOST, TUB, WHERE)[0]]
    made += [furls.rotate(CLUSTER, HOST, TUB, WHERE, DAY) for _ in range(MAX_OLD + 1)]
    assert [furls.find(swissnum(known)) is not None for known in made] == [False] + [True] * (MAX_OLD + 1)


def test_removing_the_hosts_file_ends_its_old_furls_too(furls):
    old, _ = furls.issue(CLUSTER, HOST, TUB, WHERE)
    new = furls.rotate(CLUSTER, HOST, TUB, WHERE, DAY)
    assert furls.find(swissnum(old)) is not None
    new.path.unlink()
    assert furls.find(swissnum(old)) is None
    assert furls.find(swissnum(new)) is None
    assert HostFurls(furls.folder).find(swissnum(old)) is None
    newest, _ = furls.issue(CLUSTER, HOST, TUB, WHERE)
    assert [furls.find(swissnum(known)) is not None for known in (old, new, newest)] == [False, False, True]


def test_revoked_is_every_furl_of_that_host_and_of_no_other(furls):
    other, _ = furls.issue(CLUSTER, HostName("node2"), TUB, WHERE)
    old, _ = furls.issue(CLUSTER, HOST, TUB, WHERE)
    new = furls.rotate(CLUSTER, HOST, TUB, WHERE, DAY)
    assert furls.revoke(CLUSTER, HOST)
    assert [furls.find(swissnum(known)) is not None for known in (old, new, other)] == [False, False, True]
    assert not furls.revoke(CLUSTER, HOST)
    assert not furls.revoke(ClusterName("nowhere"), HOST)


def test_rotation_that_was_killed_between_its_two_steps_has_cut_nobody_off(furls, clock):
    known, _ = furls.issue(CLUSTER, HOST, TUB, WHERE)
    known.path.with_name(f"{HOST}{OLD}").write_text(f"{known.furl.reveal()} {clock.now + 5:.0f}\n")
    assert furls.find(swissnum(known)).until is None
    clock.now += DAY
    assert furls.find(swissnum(known)) is not None


def test_old_file_that_is_damaged_lets_nobody_in_and_harms_no_other(furls):
    known, _ = furls.issue(CLUSTER, HOST, TUB, WHERE)
    old = Furl.build(TUB, WHERE, "b" * 32)
    known.path.with_name(f"{HOST}{OLD}").write_text(f"nonsense\n\n{old.reveal()}\n{old.reveal()} soon\n\xff 5\n")
    assert furls.find("b" * 32) is None
    assert furls.find(swissnum(known)) is not None


@contextmanager
def files_opened(below):
    """What of ours is opened, or listed, meanwhile."""
    seen = []

    def hook(event, arguments):
        if watching and event in {"open", "os.scandir"} and str(arguments[0]).startswith(str(below)):
            seen.append((event, str(arguments[0])))

    watching = [True]
    sys.addaudithook(hook)
    try:
        yield seen
    finally:
        watching.clear()


def test_finding_one_of_2000_furls_reads_no_file_and_one_that_is_new_is_all_that_is_read(furls):
    known = [furls.issue(CLUSTER, HostName(f"node{number}"), TUB, WHERE)[0] for number in range(2000)]
    long_ago = time.time() - 3600
    for one in known:
        os.utime(one.path, (long_ago, long_ago))
    os.utime(furls.folder / CLUSTER, (long_ago, long_ago))
    os.utime(furls.folder, (long_ago, long_ago))
    assert furls.find(swissnum(known[0])) is not None
    with files_opened(furls.folder) as seen:
        assert all(furls.find(swissnum(one)).host == one.host for one in known)
        assert all(furls.is_valid(furls.find(swissnum(one))) for one in known)
        assert seen == []
        assert furls.find("z" * 32) is None
        assert [event for event, _ in seen] == ["os.scandir"], "a stranger costs a look at the folders"
    new, _ = furls.issue(CLUSTER, HostName("new"), TUB, WHERE)
    with files_opened(furls.folder) as seen:
        assert furls.find(swissnum(new)) is not None
        assert [path for event, path in seen if event == "open"] == [str(new.path)]


def test_folder_that_cannot_be_read_for_a_moment_revokes_nobody(furls):
    known, _ = furls.issue(CLUSTER, HOST, TUB, WHERE)
    assert furls.find(swissnum(known)) is not None
    aside = furls.folder.with_name("aside")
    furls.folder.rename(aside)
    furls.folder.symlink_to(furls.folder)  # ELOOP, as from a broken disk
    assert furls.find("z" * 32) is None
    assert furls.find(swissnum(known)) is not None
    furls.folder.unlink()
    aside.rename(furls.folder)
    assert furls.find(swissnum(known)) is not None


def test_open_furl_is_made_once_and_one_of_flogtools_keeps_its_secret(tmp_path):
    made = OpenFurl(tmp_path / "new").issue(TUB, WHERE)
    path = tmp_path / "new" / "log_gatherer.furl"
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (made.reveal() + "\n", 0o600)
    assert OpenFurl(tmp_path / "new").issue(TUB, WHERE) == made
    theirs = tmp_path / "log_gatherer.furl"
    theirs.write_text(f"pb://{'c' * 32}@tcp:old.example:3118/{'d' * 32}\n")
    theirs.chmod(0o644)
    kept = OpenFurl(tmp_path)
    assert kept.issue(TUB, WHERE) == Furl.build(TUB, WHERE, "d" * 32)
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o600
    assert (kept.has("d" * 32), kept.has("e" * 32)) == (True, False)
    theirs.unlink()
    assert not kept.has("d" * 32)


# ---- a running gatherer --------------------------------------------------------------------------------------------


def test_node_stays_connected_by_its_old_furl_then_comes_by_the_new_one_and_nothing_is_fetched_twice(gatherer):
    gatherer.start({"net.furls.door.WATCH_EVERY": 0.2})
    old = gatherer.register("node1").furl
    node = gatherer.publisher(old, "p")
    node.await_output("asked since")
    node.send(message="before", level=30)
    gatherer.await_names("node1", 1)
    path, said = cli(gatherer, "rotate", "node1")
    assert path == str(gatherer.state / "credentials/incidents/lae/node1.furl")
    assert "valid until" in said
    assert "pb://" not in path + said
    new = Furl(Path(path).read_text())
    assert new.swissnum != old.swissnum
    node.send(message="by the old one", level=30)
    gatherer.await_names("node1", 2)
    assert node.output().count("asked since") == 1, "it stays connected"
    node.kill()
    again = gatherer.publisher(old, "p")  # restarted with the old one
    again.await_output("asked since")
    again.send(message="by the old one, again", level=30)
    gatherer.await_names("node1", 3)
    again.kill()
    fresh = gatherer.publisher(new, "p")
    fresh.await_output("asked since")
    fresh.send(message="by the new one", level=30)
    gatherer.await_names("node1", 4)
    gatherer.await_journal(4, verdict="accepted", host="node1")
    assert gatherer.fetched("node1") == 4
    assert gatherer.journal(verdict="refused") == []


def test_node_is_shown_out_when_the_grace_is_over_and_by_revoke(gatherer):
    gatherer.start({"net.furls.door.WATCH_EVERY": 0.2})
    made = gatherer.register("node1")
    node = gatherer.publisher(made.furl, "old")
    node.await_output("asked since")
    furl, _ = cli(gatherer, "rotate", "node1", "--grace", "2s", "--print-furl")
    gatherer.process.await_log("its FURL was revoked")
    gatherer.await_journal(verdict="refused", reason="unknown_furl")
    fresh = gatherer.publisher(Furl(furl), "fresh")
    fresh.await_output("asked since")
    said, following = cli(gatherer, "revoke", "node1")
    assert "cannot connect any more" in said
    assert "fleet register incident --host node1" in following
    gatherer.process.await_log("its FURL was revoked", 2)
    cli(gatherer, "revoke", "node1", code=1)


def test_host_without_a_furl_cannot_be_rotated_and_nonsense_is_refused(gatherer):
    assert "node1 of cluster lae has no FURL" in cli(gatherer, "rotate", "node1", code=1)[1]
    gatherer.register("node1")
    assert "bad_duration" in cli(gatherer, "rotate", "node1", "--grace", "soon", code=2)[1]
    assert "bad_host_name" in cli(gatherer, "rotate", "../node1", code=2)[1]
    assert "bad_host_name" in cli(gatherer, "revoke", "../node1", code=2)[1]


def test_five_seconds_are_what_the_page_promises():
    assert WATCH_EVERY == 5.0
    assert "within five seconds" in (ROOT / "docs" / "incidents.md").read_text()
