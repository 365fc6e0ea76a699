"""Nothing lost, nothing twice: many at once, interruptions on either side, clocks, restarts."""

import bz2
import json
import random
import signal
import subprocess
import sys
import time
from functools import partial

from recorded import made_incident, name_of

WEIRD = 30


def is_latest(gatherer, host, name):
    return gatherer.has_cursor(host) and (gatherer.folder_of(host) / "latest").read_text() == f"{name}\n"


def test_many_incidents_of_many_nodes_arrive_once_each(gatherer):
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    gatherer.start()
    expected = {}
    for node in range(3):
        host, logs = f"node{node}", gatherer.folder / f"p{node}-incidents"
        names = [name_of(f"{rng.randint(1, 10):02}-{rng.randint(1, 28):02}", number, "bcdefgh") for number in range(12)]
        for name in names:
            made_incident(logs, name, rng.choice([1, 30, 300]), f"{host} {name}")
        expected[host] = sorted(names)
        gatherer.publisher(gatherer.register(host).furl, f"p{node}")
    for host, names in expected.items():
        assert gatherer.await_names(host, len(names)) == names
        for name in names:
            assert gatherer.lines(host, name)[1]["d"]["message"] == f"{host} {name} 0"
    gatherer.await_journal(36, verdict="accepted")
    assert gatherer.process.log().count("fetching incident") == 36
    accepted = {(entry["host"], entry["id"]) for entry in gatherer.journal(verdict="accepted")}
    assert accepted == {(host, name) for host, names in expected.items() for name in names}
    for host, names in expected.items():
        gatherer.await_that(partial(is_latest, gatherer, host, names[-1]), gatherer.process.log)


def test_live_incident_arrives_in_flogtools_format_with_our_time_and_its_tub(running):
    node = running.publisher(running.register("live").furl, "live")
    node.await_output("asked since")
    before = time.time()
    node.send(message="quiet one", level=20)
    node.send(format="%(what)s happened", what="it", level=WEIRD, umid="AbCdEf", facility="tahoe.test")
    (name,) = running.await_names("live", 1)
    header, *events = running.lines("live", name)
    assert header["header"]["type"] == "incident"
    assert header["header"]["trigger"]["umid"] == "AbCdEf"
    assert {"versions", "pid"} <= header["header"].keys()
    assert all(set(event) == {"from", "rx_time", "d"} for event in events)
    assert before < events[0]["rx_time"] < time.time()
    assert f"connected to {events[0]['from']}," in running.process.log()
    dump = subprocess.run(
        [sys.executable, "-c", "from foolscap.logging.cli import run_flogtool; run_flogtool()", "dump",
         running.folder_of("live") / f"{name}.flog.bz2"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "it happened [INCIDENT-TRIGGER]" in dump


def test_incident_that_is_still_being_recorded_when_it_is_listed_is_kept_whole(running):
    running.publisher(running.register("recording").furl, mode="recording")
    (name,) = running.await_names("recording", 1)
    messages = [event["d"]["message"] for event in running.lines("recording", name)[1:]]
    assert "what came after it" in messages


def test_gatherer_killed_while_an_incident_comes_gets_it_after_its_restart(gatherer):
    gatherer.start()
    furl = gatherer.register("node1").furl
    first, second = name_of("10-01"), name_of("10-02")
    logs = gatherer.folder / "p-incidents"
    made_incident(logs, first)
    made_incident(logs, second, events=1_500, text="long " * 20)
    node = gatherer.publisher(furl, "p", mode="stalls_at_second")
    node.await_output(f"asked {second}")
    gatherer.await_journal(verdict="accepted", id=first)  # receipts are written after the incident is durable
    gatherer.process.kill(signal.SIGKILL)
    assert gatherer.names("node1") == [first]
    gatherer.start()
    assert gatherer.await_names("node1", 2) == [first, second]
    assert len(gatherer.lines("node1", second)) == 1_501
    assert node.output().count(f"asked {first}") == 1
    gatherer.await_journal(verdict="accepted", id=second)
    assert [entry["id"] for entry in gatherer.journal(verdict="accepted")] == [first, second]


def test_node_that_dies_while_its_incident_comes_is_asked_again(running):
    furl = running.register("dying").furl
    dying = running.publisher(furl, "dying", mode="dies")
    dying.await_output("asked incident")
    dying.child.wait(60)
    running.process.await_log("lae/dying: connection to")
    assert running.names("dying") == []
    name = name_of("11-20", 0, "abcdefg")
    made_incident(running.folder / "dying-incidents", name)
    running.publisher(furl, "dying")
    assert running.await_names("dying", 1) == [name]


def test_more_incidents_than_the_queue_holds_arrive_all_the_same(gatherer):
    names = [name_of(f"10-{day:02}") for day in range(1, 13)]
    for name in names:
        made_incident(gatherer.folder / "p-incidents", name)
    gatherer.start({"kinds.incidents.nodes.known.MAX_OWED": 5, "kinds.incidents.nodes.node.LIST_AGAIN": 0.1})
    node = gatherer.publisher(gatherer.register("node1").furl, "p")
    assert gatherer.await_names("node1", 12) == names
    assert node.output().count("asked incident") == 12


def test_incident_that_is_being_stored_when_the_gatherer_is_told_to_stop_is_stored(gatherer):
    gatherer.start({"slow": True})
    node = gatherer.publisher(gatherer.register("node1").furl)
    node.await_output("asked since")
    node.send(message="just in time", level=WEIRD)
    gatherer.process.await_output("storing")
    gatherer.stop()
    (name,) = gatherer.names("node1")
    assert (gatherer.folder_of("node1") / "latest").read_text() == name + "\n"
    (receipt,) = gatherer.journal(verdict="accepted")
    assert receipt["id"] == name


def test_what_a_node_made_before_its_clock_was_set_back_and_what_failed_is_asked_for_within_a_week(running):
    furl = running.register("clock").furl
    logs = running.folder / "clock-incidents"
    made_incident(logs, name_of("10-20"))
    node = running.publisher(furl, "clock")
    running.await_names("clock", 1)
    running.await_that(lambda: running.has_cursor("clock"), "no cursor")
    assert "asked since \n" in node.output()
    node.kill()
    late, too_late = name_of("10-14"), name_of("10-12")
    made_incident(logs, late)
    made_incident(logs, too_late)
    node = running.publisher(furl, "clock")
    assert running.await_names("clock", 2) == [late, name_of("10-20")]
    assert "asked since incident-2026-10-13--10-00-00Z\n" in node.output()
    made_incident(logs, name_of("10-21"))
    node.kill()
    running.publisher(furl, "clock")
    assert running.await_names("clock", 3)[2] == name_of("10-21")
    assert running.fetched("clock") == 3


def test_incident_that_is_stored_already_counts_as_known(gatherer):
    """Without `latest` everything is listed; what the folder holds is still not fetched."""
    name = name_of("10-20")
    made_incident(gatherer.folder / "p-incidents", name)
    made_incident(gatherer.folder / "p-incidents", name_of("10-21"))
    made_incident(gatherer.folder_of("node1"), name, text="ours")
    gatherer.start()
    gatherer.publisher(gatherer.register("node1").furl, "p")
    assert gatherer.await_names("node1", 2) == [name, name_of("10-21")]
    assert gatherer.process.log().count("fetching incident") == 1
    assert json.loads(bz2.decompress((gatherer.folder_of("node1") / f"{name}.flog.bz2").read_bytes()).splitlines()[2])[
        "d"
    ]["message"].startswith("ours")


def test_latest_is_written_when_a_kill_came_between_the_last_incident_and_it(gatherer):
    """Nothing is left to fetch then: that the node has announced all it has is enough."""
    names = [name_of("10-20"), name_of("10-21")]
    for name in names:
        made_incident(gatherer.folder / "p-incidents", name)
        made_incident(gatherer.folder_of("node1"), name)
    gatherer.start()
    gatherer.publisher(gatherer.register("node1").furl, "p")
    gatherer.await_that(lambda: is_latest(gatherer, "node1", names[-1]), gatherer.process.log)
    assert gatherer.process.log().count("fetching incident") == 0
