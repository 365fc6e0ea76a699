"""A host is let in by its FURL, at once after it was made, and no more once its file is gone."""

import time


def test_furl_made_while_the_gatherer_runs_lets_its_host_in(gatherer):
    gatherer.start()
    made = gatherer.register("node1", cluster="other")
    node = gatherer.publisher(made.furl)
    node.await_output("asked since")
    node.send(message="hello", level=30)
    gatherer.await_that(lambda: gatherer.names("node1", "other"), lambda: gatherer.process.log())
    gatherer.await_journal(verdict="accepted", cluster="other", host="node1")
    assert not gatherer.journal(verdict="refused")


def test_revoked_host_is_disconnected_and_what_it_sends_is_refused(gatherer):
    gatherer.start()
    bad, good = gatherer.register("bad"), gatherer.register("good")
    nodes = {name: gatherer.publisher(made.furl, name) for name, made in (("bad", bad), ("good", good))}
    for name, node in nodes.items():
        node.await_output("asked since")
        node.send(message="first", level=30)
        gatherer.await_names(name, 1)
    bad.path.unlink()
    nodes["bad"].send(message="second", level=30)
    nodes["good"].send(message="second", level=30)
    gatherer.await_names("good", 2)
    gatherer.process.await_log("its FURL was revoked")
    gatherer.await_journal(verdict="refused", reason="unknown_furl")  # it tries again
    assert len(gatherer.names("bad")) == 1
    assert len(nodes["good"].output().split("asked since")) == 2, "the other host stays connected"


def test_host_with_a_new_furl_is_let_in_by_that_alone(gatherer):
    gatherer.start()
    old = gatherer.register("node1")
    node = gatherer.publisher(old.furl, "old")
    node.await_output("asked since")
    old.path.unlink()
    new = gatherer.register("node1")
    assert new.furl.swissnum != old.furl.swissnum
    gatherer.process.await_log("its FURL was revoked")
    fresh = gatherer.publisher(new.furl, "new")
    fresh.await_output("asked since")
    fresh.send(message="by the new one", level=30)
    gatherer.await_names("node1", 1)


def test_host_and_cluster_come_from_the_furl_whatever_the_node_says(gatherer):
    gatherer.start()
    for number in range(2):
        node = gatherer.publisher(gatherer.register(f"node{number}").furl, f"p{number}")
        node.await_output("asked since")
        node.send(message="I am node9", host="node9", cluster="evil", level=30)
    for number in range(2):
        gatherer.await_names(f"node{number}", 1)
    assert [path.name for path in sorted((gatherer.state / "archive" / "incidents").iterdir())] == ["lae"]


def test_last_heard_is_noted_for_other_processes(gatherer):
    from lae_monitor.gatherers.incidents.state import State

    before = time.time()
    gatherer.start()
    gatherer.publisher(gatherer.register("node1").furl).await_output("asked since")
    state = State(gatherer.state / "gather-incidents.db")
    (heard,) = state.last_heard()
    assert (heard.cluster, heard.host, heard.peer) == ("lae", "node1", "127.0.0.1")
    assert before < heard.time <= time.time()
    state.close()
    gatherer.await_journal(what="mark", title="node connected to the incident gatherer", host="node1")
