"""`lae-monitor fleet status` without a gatherer: it looks and leaves no trace, whatever is there."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lae_monitor.kinds.incidents.state import State
from lae_monitor.net.furls.ledger import Connection, LastContact, look
from lae_monitor.process.running import only_one

ROOT = Path(__file__).parents[3]
NOBODY = 65534
OLD = """
CREATE TABLE refused (cluster TEXT, host TEXT, name TEXT, code TEXT, time REAL,
    PRIMARY KEY (cluster, host, name)) WITHOUT ROWID;
CREATE TABLE heard (cluster TEXT, host TEXT, time REAL, tub TEXT, peer TEXT, PRIMARY KEY (cluster, host)) WITHOUT ROWID;
INSERT INTO refused VALUES ('lae', 'node1', 'incident-a', 'incident_too_large', 1.0);
INSERT INTO heard VALUES ('lae', 'node1', 1700000000.5, 'tub', '10.0.0.1');
"""  # as the first release made it


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "lae-monitor.toml"
    path.write_text(f'[state]\npath = "{tmp_path}/state"\n')
    return path


@pytest.fixture
def state(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


def status(config, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "lae_monitor", "--config", str(config), "fleet", "status", *arguments],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip


def register(config, host, cluster="lae"):
    folder = config.parent / "state" / "credentials" / "incidents" / cluster
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{host}.furl").write_text("pb://...")
    return folder


def traces(folder):
    return {
        str(path): (entry.st_mode, entry.st_size, entry.st_mtime_ns, entry.st_uid)
        for path in [folder, *folder.rglob("*")]
        for entry in [path.lstat()]
    }


def old_database(path, *, wal=True):
    database = sqlite3.connect(path, isolation_level=None)
    if wal:
        database.execute("PRAGMA journal_mode = WAL")
    database.executescript(OLD)
    database.close()


def test_nothing_is_made_where_nothing_ran(config):
    done = status(config)
    assert (done.returncode, "no host has a FURL" in done.stdout, "Next: " in done.stderr) == (0, True, True)
    assert status(config, "--connected", "1").returncode == 69
    assert [*config.parent.iterdir()] == [config]


def test_registered_hosts_are_there_before_the_database_is(config, state):
    folder = register(config, "node1")
    register(config, "node2", "other")
    (folder / ".lock").touch()
    (folder / "-no host.furl").touch()
    (folder.parent / "gatherer.pem").touch()
    before = traces(state)
    done = status(config, "--json")
    said = json.loads(done.stdout)
    assert [(host["cluster"], host["host"], host["registered"]) for host in said["hosts"]] == [
        ("lae", "node1", True),
        ("other", "node2", True),
    ]
    assert said["gatherer"] == {"running": False}
    assert set(said) == {"gatherer", "hosts", "next"}
    assert traces(state) == before


def test_hosts_and_clusters_are_chosen_and_unknown_ones_shown_as_such(config, state):
    for host, cluster in (("node1", "lae"), ("node1", "other"), ("node2", "other")):
        register(config, host, cluster)

    def places(*arguments):
        return [
            (one["cluster"], one["host"]) for one in json.loads(status(config, "--json", *arguments).stdout)["hosts"]
        ]

    assert places("--host", "node1") == [("lae", "node1"), ("other", "node1")]
    assert places("--host", "node1", "--cluster", "other") == [("other", "node1")]
    assert places("--cluster", "other") == [("other", "node1"), ("other", "node2")]
    assert places("--host", "node9", "--host", "node2") == [("lae", "node9"), ("other", "node2")]
    assert places("--host", "node9", "--cluster", "other") == [("other", "node9")]


@pytest.mark.parametrize(
    "arguments", [["--host", "../x"], ["--cluster", "a/b"], ["--connected", "-1"], ["--connected", "x"]]
)
def test_mistakes_are_usage_errors(config, arguments):
    assert status(config, *arguments).returncode == 2


def test_a_configuration_that_is_wrong_is_said(config):
    config.write_text("[stat]\n")
    assert status(config).returncode == 78


@pytest.mark.parametrize("wal", [True, False])
def test_a_database_of_the_previous_release_is_read_and_goes_on_to_be_used(config, state, wal):
    path = state / "gather-incidents.db"
    old_database(path, wal=wal)
    before = traces(state)
    (one,) = json.loads(status(config, "--json").stdout)["hosts"]
    assert (one["host"], one["registered"], one["last_heard"]) == ("node1", False, "2023-11-14T22:13:20.500Z")
    assert traces(state) == before
    opened = State(path)
    opened.settle_connections()
    assert opened.refused("lae", "node1") == ["incident-a"]
    number = opened.connected(Connection("lae", "node1", 1.7e9, "tub", "10.0.0.2"))
    opened.note([LastContact("lae", "node1", 1.8e9, "tub", "10.0.0.2")])
    seen = look(path)
    assert (seen.is_open, [one.peer for one in seen.connections], seen.contacts[0].time) == (True, ["10.0.0.2"], 1.8e9)
    opened.disconnected(number)
    assert look(path).connections == []
    opened.close()
    assert (look(path).is_open, look(path).contacts[0].time) == (False, 1.8e9)


def test_what_a_killed_process_left_is_believed_neither_before_nor_after_the_next_one_begins(state):
    path = state / "gather-incidents.db"
    killed = State(path)
    killed.settle_connections()
    killed.connected(Connection("lae", "node1", 1.7e9, "tub", "10.0.0.1"))
    assert len(look(path).connections) == 1
    os.close(killed._lock)  # as the kernel does
    killed._lock = None
    following = State(path)
    assert look(path)[::2] == (False, [])
    following.settle_connections()
    assert look(path)[::2] == (True, [])
    killed._connections.clear()
    killed.close()
    following.close()


def test_what_could_not_be_written_is_mended_when_it_can(state, caplog):
    path = state / "gather-incidents.db"
    opened = State(path)
    works = opened._database
    opened._database = sqlite3.connect(":memory:", isolation_level=None)  # has no tables, so that every write fails
    opened.settle_connections()
    assert not look(path).is_open, "nothing is believed before it is true"
    opened._database.close()
    opened._database = works
    opened.settle_connections()
    assert look(path).is_open
    stays = Connection("lae", "node1", 1.7e9, "a", "10.0.0.1")
    opened.connected(stays)
    leaves = opened.connected(Connection("lae", "node2", 1.7e9, "b", "10.0.0.2"))
    opened._database = sqlite3.connect(":memory:", isolation_level=None)
    comes = Connection("lae", "node3", 1.7e9, "c", "10.0.0.3")
    opened.connected(comes)
    opened.disconnected(leaves)
    opened._database.close()
    opened._database = works
    opened.settle_connections()
    assert look(path).connections == [stays, comes]
    opened.close()
    assert caplog.text.count("state not written") == 3


def test_of_several_nodes_of_a_host_the_latest_counts(state):
    opened = State(state / "x.db")
    opened.note([LastContact("lae", "node1", 9.0, "a", "10.0.0.1"), LastContact("lae", "node1", 7.0, "b", "10.0.0.2")])
    assert opened.last() == [LastContact("lae", "node1", 9.0, "a", "10.0.0.1")]
    opened.close()


def test_a_gatherer_that_says_nothing_of_connections_is_running_all_the_same(config, state):
    """It starts, or is of the previous release."""
    register(config, "node1")
    old_database(state / "gather-incidents.db")
    with only_one(state, "gather-incidents"):
        said = json.loads(status(config, "--json").stdout)
        assert status(config, "--connected", "1").returncode == 1
    assert said["gatherer"] == {"running": True}
    assert "does not say who is connected" in said["next"]


def test_a_damaged_database_is_try_again_and_not_a_traceback(config, state):
    (state / "gather-incidents.db").write_bytes(b"this is no database, whatever its name says" * 100)
    done = status(config)
    assert done.returncode == 75
    assert "gather-incidents.db: file is not a database" in done.stderr
    assert "error" in json.loads(status(config, "--json").stdout)


def test_it_does_not_wait_for_a_writer_and_no_writer_waits_for_it(config, state):
    path = state / "gather-incidents.db"
    opened = State(path)
    opened.settle_connections()
    opened.note([LastContact("lae", "node1", 1.7e9, "a", "10.0.0.1")])
    opened._database.execute("BEGIN IMMEDIATE")
    opened._database.execute("DELETE FROM heard")
    (one,) = json.loads(status(config, "--json").stdout)["hosts"]
    assert one["last_heard"] is not None
    opened._database.execute("COMMIT")
    assert json.loads(status(config, "--json").stdout)["hosts"] == []
    opened.close()


def test_the_lock_is_closed_to_others_and_the_process_that_has_it_keeps_it(state):
    opened = State(state / "x.db")
    opened.settle_connections()
    assert stat.S_IMODE((state / "x.open").stat().st_mode) == 0o600
    for _ in range(3):
        assert look(state / "x.db").is_open  # that another descriptor is closed here, too, does not release it
    opened.close()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="root only: it acts as the owner of the state folder")
@pytest.mark.parametrize("killed", [False, True])
def test_root_looks_as_the_owner_and_changes_nothing(config, state, killed):
    register(config, "node1")
    opened = State(state / "gather-incidents.db")
    opened.settle_connections()
    opened.connected(Connection("lae", "node1", 1.7e9, "tub", "10.0.0.1"))
    if killed:
        os.close(opened._lock)
        opened._lock = None
    for path in [state, *state.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    for folder in (config.parent, *config.parent.parents):
        if folder.stat().st_uid == 0 and folder.is_relative_to("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o011)
    before = traces(state)
    done = status(config, "--json")
    (one,) = json.loads(done.stdout)["hosts"]
    assert (done.returncode, one["connections"]) == (0, 0 if killed else 1)
    assert traces(state) == before
    opened.close()
