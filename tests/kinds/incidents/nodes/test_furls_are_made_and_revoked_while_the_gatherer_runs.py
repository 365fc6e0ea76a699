"""A host is let in by its FURL, at once after it was made, and no more once its file is gone."""

import time

from lae_monitor.kinds.incidents.state import State


def test_furl_made_while_the_gatherer_runs_lets_its_host_in(running):
    made = running.register("fresh", cluster="other")
    node = running.publisher(made.furl)
    node.await_output("asked since")
    node.send(message="hello", level=30)
    running.await_that(lambda: running.names("fresh", "other"), running.process.log)
    running.await_journal(verdict="accepted", cluster="other", host="fresh")
    assert "asked since" in node.output()
    assert "no such name" not in node.log()


def test_revoked_host_is_disconnected_and_let_in_again_by_a_new_furl_alone(gatherer):
    gatherer.start({"net.furls.door.WATCH_EVERY": 0.5})
    bad, good = gatherer.register("bad"), gatherer.register("good")
    nodes = {name: gatherer.publisher(made.furl, name) for name, made in (("bad", bad), ("good", good))}
    for name, node in nodes.items():
        node.await_output("asked since")
        node.send(message="first", level=30)
        gatherer.await_names(name, 1)
    bad.path.unlink()
    for node in nodes.values():
        node.send(message="second", level=30)
    gatherer.await_names("good", 2)
    gatherer.process.await_log("its FURL was revoked")
    gatherer.await_journal(verdict="refused", reason="unknown_furl")  # it tries again
    assert len(gatherer.names("bad")) == 1
    assert nodes["good"].output().count("asked since") == 1, "the other host stays connected"

    new = gatherer.register("bad")
    assert new.new
    assert new.furl.swissnum != bad.furl.swissnum
    fresh = gatherer.publisher(new.furl, "fresh")
    fresh.await_output("asked since")
    fresh.send(message="by the new one", level=30)
    gatherer.await_names("bad", 2)
    assert nodes["bad"].output().count("asked since") == 1


def test_what_a_revoked_host_announces_before_it_is_disconnected_is_not_asked_for(gatherer):
    gatherer.start({"net.furls.door.WATCH_EVERY": 3600})
    made = gatherer.register("node1")
    node = gatherer.publisher(made.furl)
    node.await_output("asked since")
    made.path.unlink()
    node.send(message="too late", level=30)
    other = gatherer.publisher(gatherer.register("node2").furl, "other")
    other.await_output("asked since")
    other.send(message="in time", level=30)
    gatherer.await_names("node2", 1)
    assert "asked incident" not in node.output()


def test_host_and_cluster_come_from_the_furl_whatever_the_node_says(running):
    for host in ("honest1", "honest2"):
        node = running.publisher(running.register(host).furl, host)
        node.await_output("asked since")
        node.send(message="I am node9", host="node9", cluster="evil", level=30)
    for host in ("honest1", "honest2"):
        running.await_names(host, 1)
    folder = running.state / "archive" / "incidents"
    assert not list(folder.glob("evil*"))
    assert not list(folder.glob("*/incidents/node9"))


def test_last_heard_is_noted_for_other_processes(running):
    before = time.time()
    running.publisher(running.register("heard").furl, "heard").await_output("asked since")
    state = State(running.state / "gather-incidents.db")
    (heard,) = [contact for contact in state.last() if contact.host == "heard"]
    assert (heard.cluster, heard.peer) == ("lae", "127.0.0.1")
    assert before < heard.time <= time.time()
    state.close()
    running.await_journal(what="mark", title="node connected to the incident gatherer", host="heard")
