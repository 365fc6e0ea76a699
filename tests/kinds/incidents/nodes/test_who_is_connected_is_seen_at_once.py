"""`lae-monitor fleet status` beside a real gatherer and real publishers: prompt and true, whatever ends how."""

import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from lae_monitor.net.furls.ledger import look
from lae_monitor.net.furls.registry import Registry

ROOT = Path(__file__).parents[4]
PROMPT = 2.0  # seconds; a second is promised, and the machine may be busy. The gatherer's own looks are 5 s apart


@pytest.fixture
def served(gatherer):
    """The gatherer as an operator starts it."""
    start(gatherer)
    return gatherer


def start(gatherer):
    command = [sys.executable, "-m", "lae_monitor", "--config", str(gatherer.config), "gather", "incidents"]
    gatherer.process = gatherer.run(command, "gatherer")
    gatherer.process.await_log("tub listening on")


def status(gatherer, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "lae_monitor", "--config", str(gatherer.config), "fleet", "status", "--json", *arguments],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def seconds(text):
    return datetime.fromisoformat(text).timestamp()


def connections(gatherer):
    return look(gatherer.state / "gather-incidents.db").connections


def within(limit, condition, what):
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_who_may_report_is_seen_without_a_look_at_the_credentials(served):
    """As `serve` does it, which is kept from them; also when the gatherer has ended."""
    path = served.state / "gather-incidents.db"
    served.register("node1"), served.register("node2", cluster="hpc")
    registry = Registry(served.settings, "incidents")
    registry.claim("192.0.2.7", "node3")
    address = {"192.0.2.7": ("lae", "node3")}
    within(20, lambda: look(path).expected == ({("lae", "node1"), ("hpc", "node2")}, address), "not seen")
    (served.state / "credentials/incidents/lae/node1.furl").unlink()
    registry.unclaim("192.0.2.7")
    within(20, lambda: look(path).expected == ({("hpc", "node2")}, {}), "seen no more")
    served.process.kill()
    assert look(path).expected == ({("hpc", "node2")}, {})


def test_a_node_is_seen_when_it_comes_and_when_it_goes(served):
    made, _never = served.register("node1"), served.register("node2")
    before = time.time()
    node = served.publisher(made.furl)
    node.await_output("asked since")
    code, said = status(served)
    assert code == 0
    assert said["gatherer"] == {"running": True}
    one, two = said["hosts"]
    assert (one["cluster"], one["host"], one["registered"], one["connections"]) == ("lae", "node1", True, 1)
    assert one["peer"] == "127.0.0.1"
    assert before < seconds(one["connected_since"]) <= seconds(one["last_heard"]) + 0.01 <= time.time() + 0.01
    nobody = {"connections": 0, "connected_since": None, "last_heard": None, "peer": "", "silent_since": None}
    nobody |= {"unclaimed": False, "addresses": [], "kind": "incident"}
    assert two == {"cluster": "lae", "host": "node2", "registered": True, **nobody}
    assert "on node2, set log_gatherer.furl" in said["next"]
    node.send(message="something bad", level=30)
    served.await_names("node1", 1)
    node.kill()
    within(PROMPT, lambda: not connections(served), "still connected")
    code, said = status(served, "--host", "node1")
    (gone,) = said["hosts"]
    assert code == 0
    assert (gone["connections"], gone["connected_since"], gone["peer"]) == (0, None, "127.0.0.1")
    assert seconds(gone["last_heard"]) > seconds(one["last_heard"])
    assert gone["silent_since"] == gone["last_heard"]
    assert one["silent_since"] is None
    assert "see whether every node on node1 runs" in said["next"]


def test_two_nodes_under_one_furl_count_and_connected_waits_for_both(served):
    furl = served.register("node1").furl
    first = served.publisher(furl, "first")
    first.await_output("asked since")
    code, said = status(served, "--host", "node1", "--connected", "2")
    assert (code, said["error"]) == (1, "not enough connections: node1 has 1 of 2")
    second = served.publisher(furl, "second")
    second.await_output("asked since")
    code, said = status(served, "--host", "node1", "--connected", "2")
    assert (code, said["hosts"][0]["connections"], "error" in said) == (0, 2, False)
    since = said["hosts"][0]["connected_since"]
    first.kill()
    within(PROMPT, lambda: len(connections(served)) == 1, "both still there")
    code, said = status(served, "--host", "node1", "--connected", "1")
    assert (code, said["hosts"][0]["connections"]) == (0, 1)
    assert said["hosts"][0]["connected_since"] > since
    code, said = status(served, "--host", "node1", "--host", "node7", "--connected", "1")
    assert (code, said["error"]) == (1, "not enough connections: node7 has 0 of 1")


def test_connections_of_a_gatherer_that_was_killed_are_not_open(served):
    node = served.publisher(served.register("node1").furl)
    node.await_output("asked since")
    assert status(served, "--connected", "1")[0] == 0
    served.process.kill()
    assert (served.state / "gather-incidents.db-wal").exists(), "it had no time to tidy up"
    kept = {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in served.state.iterdir()}
    code, said = status(served)
    assert (code, said["gatherer"], said["hosts"][0]["connections"]) == (0, {"running": False}, 0)
    assert said["hosts"][0]["last_heard"] is not None
    assert "lae-monitor gather incidents" in said["next"]
    code, said = status(served, "--connected", "1")
    assert (code, said["error"]) == (69, "the incident gatherer is not running: nobody is connected")
    assert kept == {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in served.state.iterdir()}


def test_a_killed_gatherers_connections_are_never_taken_for_those_of_the_next(served):
    made = served.register("node1")
    node = served.publisher(made.furl, count=3)
    node.await_output("asked since", 3)
    served.process.kill()
    node.kill()
    again = time.time()
    command = [sys.executable, "-m", "lae_monitor", "--config", str(served.config), "gather", "incidents"]
    served.process = served.run(command, "again")
    while "tub listening on" not in served.process.log():
        assert connections(served) == []
        assert served.process.child.poll() is None, served.process.log()
    fresh = served.publisher(made.furl, "fresh")
    fresh.await_output("asked since")
    (connection,) = connections(served)
    assert connection.since > again


def test_a_gatherer_that_stops_leaves_nobody_connected_and_is_not_waited_for(served):
    node = served.publisher(served.register("node1").furl)
    node.await_output("asked since")
    served.stop()
    assert "state not written" not in served.process.log()
    code, said = status(served)
    assert (code, said["gatherer"], said["hosts"][0]["connections"]) == (0, {"running": False}, 0)
    start(served)
    within(60, lambda: connections(served), "it did not come back")
    assert status(served, "--connected", "1")[0] == 0


def test_a_revoked_host_is_neither_registered_nor_connected_but_was_heard(served):
    made = served.register("node1")
    node = served.publisher(made.furl)
    node.await_output("asked since")
    made.path.unlink()
    within(5 + PROMPT, lambda: not connections(served), "still connected")
    said = status(served)[1]
    (one,) = said["hosts"]
    assert (one["registered"], one["connections"]) == (False, 0)
    assert one["last_heard"] is not None


def test_a_node_that_goes_while_the_gatherer_pauses_is_gone_at_once(gatherer):
    """When the archive is full, the node's task sleeps for minutes; it says nothing of the connection."""
    gatherer.start({"full": True})
    node = gatherer.publisher(gatherer.register("node1").furl)
    node.await_output("asked since")
    node.send(message="something bad", level=30)
    gatherer.process.await_log("not stored, next try in")
    node.kill()
    within(PROMPT, lambda: not connections(gatherer), "still connected")


def test_more_connections_than_a_host_may_have_are_not_shown(gatherer):
    gatherer.start({"net.furls.door.MAX_PEERS": 2})
    gatherer.publisher(gatherer.register("node1").furl, count=3)
    gatherer.process.await_log("more connections than a host needs")
    within(10, lambda: len(connections(gatherer)) <= 2, connections(gatherer))


def test_people_see_a_table(served):
    node = served.publisher(served.register("node1").furl)
    node.await_output("asked since")
    served.register("storage-with-a-long-name", "other")
    done = subprocess.run(
        [sys.executable, "-m", "lae_monitor", "--config", str(served.config), "fleet", "status"],
        capture_output=True, text=True, timeout=60, check=True, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    heading, one, two = done.stdout.splitlines()
    assert heading.split("  ")[0] == "host"
    assert one.split()[:3] == ["node1", "lae", "1"]
    assert one.endswith("127.0.0.1")
    assert "never heard" in two
    assert one.index("lae") == two.index("other") == heading.index("cluster")
    assert done.stderr.startswith("Next: on storage-with-a-long-name, ")
