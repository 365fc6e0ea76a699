"""Hostile names, huge and malformed incidents, strange values, unknown FURLs: refused with a receipt, and nothing else happens."""

import pytest

from lae_monitor.core.refusals import REASONS


def good(gatherer, number, ending="abcdefg"):
    return f"incident-2026-11-20--10-00-0{number}Z-{ending}"


def test_hostile_names_are_refused_with_a_receipt_and_the_good_one_among_them_is_kept(gatherer):
    gatherer.start()
    gatherer.publisher(gatherer.register("node1").furl, mode="hostile_names")
    refused = gatherer.await_journal(9, verdict="refused", host="node1")
    assert {entry["reason"] for entry in refused} == {"bad_incident_name"}
    assert gatherer.await_names("node1", 1) == [good(gatherer, 1)]
    assert all(len(entry["detail"]) < 300 for entry in refused)
    gatherer.await_that(gatherer.has_cursor, "no cursor")
    files = {path.relative_to(gatherer.state) for path in (gatherer.state / "archive" / "incidents").rglob("*")}
    assert {str(path) for path in files} == {
        "archive/incidents/lae",
        "archive/incidents/lae/incidents",
        "archive/incidents/lae/incidents/node1",
        f"archive/incidents/lae/incidents/node1/{good(gatherer, 1)}.flog.bz2",
        "archive/incidents/lae/incidents/node1/latest",
    }


def test_incident_beyond_a_limit_is_refused_once_and_those_after_it_are_kept(gatherer):
    gatherer.start()
    furl = gatherer.register("node1").furl
    node = gatherer.publisher(furl, mode="too_large")
    assert gatherer.await_names("node1", 1) == [good(gatherer, 5)]
    refused = gatherer.await_journal(4, verdict="refused", reason="incident_too_large")
    assert [entry["id"] for entry in refused] == [good(gatherer, number) for number in range(1, 5)]
    assert "connection to" not in gatherer.process.log(), "the connection outlives it"
    assert gatherer.memory("VmHWM") < 200
    node.kill()
    gatherer.stop()
    gatherer.start()
    node = gatherer.publisher(furl, mode="too_large")
    node.await_output("asked since")
    other = gatherer.publisher(furl, "other")
    other.await_output("asked since")
    other.send(message="after them", level=30)
    gatherer.await_names("node1", 2)
    assert "asked incident" not in node.output(), "what was refused for good is not asked for again"


def test_what_is_no_incident_is_refused_and_the_one_after_it_is_kept(gatherer):
    gatherer.start()
    gatherer.publisher(gatherer.register("node1").furl, mode="malformed")
    assert gatherer.await_names("node1", 1) == [good(gatherer, 4)]
    refused = gatherer.await_journal(4, verdict="refused", reason="incident_malformed")
    assert [entry["id"] for entry in refused] == [good(gatherer, number) for number in range(4)]


def test_values_that_json_cannot_hold_do_not_stop_an_incident(gatherer):
    gatherer.start()
    gatherer.publisher(gatherer.register("node1").furl, mode="strange_values")
    (name,) = gatherer.await_names("node1", 1)
    header, *lines = gatherer.lines("node1", name)
    events = [line["d"] for line in lines]
    assert header["header"]["trigger"]["failure"]["traceback"] == "t"
    assert events[0]["stats"] == {"a": r"\xff\xfe", "b": {"c": 1}}
    assert events[1]["value"] != events[1]["value"]
    assert events[1]["more"] == float("inf")
    assert events[2]["value"] == [[[{"a": [{"b": None}]}]]]
    assert sorted(events[2]["flags"]) == [1, 2]
    assert events[2]["big"] == 2**4000
    assert events[3]["who"] == "café"
    assert events[4] == {"num": 4, "message": "all bytes", "time": 1700000004.0, "incarnation": ["00ff", None]}


def test_a_node_that_never_answers_does_not_hold_up_others(gatherer):
    gatherer.start({"gatherers.incidents.shared.FETCH_TURN": 2.0})
    stalled = [
        gatherer.publisher(gatherer.register(f"slow{number}").furl, f"slow{number}", mode="stalls")
        for number in range(3)
    ]
    for node in stalled:
        node.await_output("asked incident")
    node = gatherer.publisher(gatherer.register("node1").furl)
    node.await_output("asked since")
    node.send(message="from a good one", level=30)
    gatherer.await_names("node1", 1)


def test_unknown_furl_is_refused_and_journaled_without_the_secret(gatherer):
    gatherer.start()
    furl = gatherer.register("node1").furl
    unknown = type(furl).build(furl.tub_id, ",".join(furl.hints), "a" * 32)
    gatherer.publisher(unknown)
    (receipt,) = gatherer.await_journal(1, verdict="refused")[:1]
    assert receipt["reason"] == "unknown_furl"
    assert receipt["peer"] == "127.0.0.1"
    assert receipt["reason"] in REASONS
    assert "a" * 32 not in gatherer.process.log() + str(gatherer.journal())
    assert gatherer.journal(what="mark") == []


def test_who_shows_no_furl_of_ours_is_not_kept_and_who_does_is(gatherer):
    gatherer.start({"net.tubs_broker.STRANGER_PATIENCE": 1.0})
    furl = gatherer.register("node1").furl
    known = gatherer.publisher(furl, "known", mode="watches")
    known.await_output("connected")
    stranger = gatherer.publisher(
        type(furl).build(furl.tub_id, ",".join(furl.hints), "a" * 32), "stranger", mode="watches"
    )
    stranger.await_output("disconnected", 2)  # once before it connects
    assert known.output().count("disconnected") <= 1


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_both_event_loops_serve(tmp_path, gatherer, loop):
    gatherer.loop = loop
    gatherer.start()
    node = gatherer.publisher(gatherer.register("node1").furl)
    node.await_output("asked since")
    node.send(message="seen", level=30)
    gatherer.await_names("node1", 1)
    gatherer.stop()
    assert "Traceback" not in gatherer.process.log()
    assert furl_is_never_logged(gatherer)


def furl_is_never_logged(gatherer):
    furl = gatherer.register("node1").furl
    return furl.swissnum.reveal() not in gatherer.process.log() + gatherer.process.output() + str(gatherer.journal())
