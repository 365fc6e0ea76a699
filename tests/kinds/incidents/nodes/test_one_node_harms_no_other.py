"""Hostile names, huge and malformed incidents, strange values, unknown FURLs: refused with a receipt, and nothing else happens."""

import asyncio
import signal
import sys
from pathlib import Path

from lae_monitor.archive import Archive, Journal, Reserve
from lae_monitor.archive.journal import read as read_journal
from lae_monitor.core.names import Place
from lae_monitor.core.reasons import REASONS
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Receipt, Span
from lae_monitor.kinds.incidents.metrics import RECEIPTS_LOST
from lae_monitor.kinds.incidents.state import State
from lae_monitor.kinds.receipts import BURST, Receipts

HERE = Path(__file__).parents[1]


def good(number, ending="abcdefg"):
    return f"incident-2026-11-20--10-00-0{number}Z-{ending}"


def test_hostile_names_are_refused_with_a_receipt_and_the_good_one_among_them_is_kept(running):
    running.publisher(running.register("hostile").furl, mode="hostile_names")
    refused = running.await_journal(9, verdict="refused", host="hostile")
    assert {entry["reason"] for entry in refused} == {"bad_incident_name"}
    assert running.await_names("hostile", 1) == [good(1)]
    assert all(len(entry["detail"]) < 300 for entry in refused)
    running.await_that(lambda: running.has_cursor("hostile"), "no cursor")
    assert {path.name for path in running.folder_of("hostile").iterdir()} == {f"{good(1)}.flog.bz2", "latest"}
    outside = [path for path in running.folder.rglob("*") if "evil" in path.name or "passwd" in path.name]
    assert outside == []


def test_incident_beyond_a_limit_is_refused_once_and_those_after_it_are_kept(gatherer):
    gatherer.start()
    furl = gatherer.register("node1").furl
    node = gatherer.publisher(furl, mode="too_large")
    assert gatherer.await_names("node1", 1) == [good(5)]
    refused = gatherer.await_journal(4, verdict="refused", reason="incident_too_large")
    assert [entry["id"] for entry in refused] == [good(number) for number in range(1, 5)]
    assert "more than 12582912 bytes" in refused[1]["detail"], "given up while it came"
    assert "nested too deeply" in refused[3]["detail"], "given up while it came"
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


def test_what_is_no_incident_is_refused_and_the_one_after_it_is_kept(running):
    running.publisher(running.register("malformed").furl, mode="malformed")
    assert running.await_names("malformed", 1) == [good(4)]
    refused = running.await_journal(5, verdict="refused", reason="incident_malformed", host="malformed")
    assert [entry["id"] for entry in refused] == [good(number) for number in (0, 1, 2, 3, 5)]


def test_values_that_json_cannot_hold_do_not_stop_an_incident(running):
    running.publisher(running.register("strange").furl, mode="strange_values")
    (name,) = running.await_names("strange", 1)
    header, *lines = running.lines("strange", name)
    events = [line["d"] for line in lines]
    assert header["header"]["trigger"]["failure"]["traceback"] == "t"
    assert events[0]["stats"] == {"a": r"\xff\xfe", "b": {"c": 1}}
    assert events[1]["value"] != events[1]["value"]
    assert events[1]["more"] == float("inf")
    assert events[2]["value"] == [[[{"a": [{"b": None}]}]]]
    assert sorted(events[2]["flags"]) == [1, 2]
    assert events[2]["big"] == 2**4000
    assert events[2]["huge"] == ["[a number of 32000001 bits]"]
    assert events[3]["who"] == "café"
    assert events[4] == {"num": 4, "message": "all bytes", "time": 1700000004.0, "incarnation": ["00ff", None]}


def test_nodes_that_never_answer_hold_up_neither_others_nor_the_end(gatherer):
    gatherer.start({"kinds.incidents.nodes.shared.FETCH_TURN": 2.0})
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
    gatherer.stop()


def test_unknown_furl_is_refused_and_journaled_without_the_secret(running):
    furl = running.register("unknown").furl
    unknown = type(furl).build(furl.tub_id, ",".join(furl.hints), "z" * 32)
    running.publisher(unknown)
    (receipt,) = running.await_journal(1, verdict="refused", reason="unknown_furl")[:1]
    assert receipt["reason"] == "unknown_furl"
    assert receipt["peer"] == "127.0.0.1"
    assert receipt["reason"] in REASONS
    assert "z" * 32 not in running.process.log() + str(running.journal())


def test_incident_that_a_node_cannot_hand_over_is_tried_again_and_refused_in_the_end(gatherer):
    gatherer.start({"kinds.incidents.nodes.known.FIRST_RETRY": 0.1, "kinds.incidents.nodes.node.GIVE_UP": 6})
    node = gatherer.publisher(gatherer.register("node1").furl, mode="unavailable")
    assert gatherer.await_names("node1", 1) == [good(1)]
    (refused,) = gatherer.await_journal(verdict="refused")
    assert (refused["reason"], refused["id"]) == ("incident_unavailable", good(0))
    assert "no incident of that name" in refused["detail"]
    assert node.output().count(f"asked {good(0)}") == 6


def test_full_archive_acknowledges_nothing_and_takes_the_incident_once_there_is_room(gatherer):
    gatherer.start({"full": True, "kinds.incidents.nodes.node.FIRST_PAUSE": 0.2})
    node = gatherer.publisher(gatherer.register("node1").furl)
    node.await_output("asked since")
    node.send(message="kept for later", level=30)
    gatherer.process.await_log("not stored, next try in", 2)
    assert not gatherer.has_cursor()
    gatherer.process.child.send_signal(signal.SIGUSR1)
    gatherer.await_names("node1", 1)
    gatherer.await_that(gatherer.has_cursor, "no cursor")


def test_gatherer_whose_port_is_taken_says_so(running):
    second = running.run([sys.executable, str(HERE / "driver.py"), str(running.config), "uvloop", "{}"], "second")
    assert second.child.wait(60) != 0
    assert f"tub cannot listen on 127.0.0.1:{running.port}" in second.log()


def test_a_host_has_a_bounded_number_of_connections(gatherer):
    gatherer.start({"net.furls.door.MAX_PEERS": 2})
    gatherer.publisher(gatherer.register("node1").furl, count=3)
    gatherer.process.await_log("more connections than a host needs")


def test_who_shows_no_furl_of_ours_is_not_kept_and_who_does_is(gatherer):
    gatherer.start({"net.connections.NEW_TIMEOUT": 1.0})
    furl = gatherer.register("node1").furl
    known = gatherer.publisher(furl, "known", mode="watches")
    known.await_output("connected")
    stranger = gatherer.publisher(
        type(furl).build(furl.tub_id, ",".join(furl.hints), "a" * 32), "stranger", mode="watches"
    )
    stranger.await_output("disconnected", 2)  # once before it connects
    assert known.output().count("disconnected") <= 1


def test_asyncios_own_loop_serves_as_well_and_no_log_shows_a_furl(gatherer):
    gatherer.loop = "asyncio"
    gatherer.start()
    furl = gatherer.register("node1").furl
    node = gatherer.publisher(furl)
    node.await_output("asked since")
    node.send(message="seen", level=30)
    gatherer.await_names("node1", 1)
    gatherer.stop()
    assert "Traceback" not in gatherer.process.log()
    assert furl.swissnum.reveal() not in gatherer.process.log() + gatherer.process.output() + str(gatherer.journal())


def test_host_that_sends_much_nonsense_gets_few_receipts_and_a_count(tmp_path):
    async def scenario():
        archive = await Archive([tmp_path], "test", reserve=Reserve(size=1)).open()
        journal = Journal(archive, lambda: 1.7e9)
        async with Receipts(journal, "incident", "lae", lambda: 1.7e9, lost=RECEIPTS_LOST, summary="mark") as receipts:
            for _ in range(100):
                receipts.refused(Refused("bad_incident_name"), Place("lae", "bad"), peer="10.0.0.1", id="")
            receipts.refused(Refused("bad_incident_name"), Place("lae", "good"), peer="10.0.0.1", id="")
        await archive.close()

    asyncio.run(scenario())
    (path,) = tmp_path.glob("journal/*/*/*/test.jsonl")
    data = path.read_bytes()
    rows = list(read_journal(Span("journal/x.jsonl", 0, len(data)), data))
    hosts = [row.host for row in rows if isinstance(row, Receipt)]
    assert (hosts.count("bad"), hosts.count("good")) == (BURST, 1)
    (mark,) = [row for row in rows if not isinstance(row, Receipt)]
    assert (mark.host, mark.level, mark.title) == ("bad", "warning", "80 more: bad_incident_name")
    assert mark.text == "80 from 10.0.0.1"


def test_state_that_is_damaged_or_gone_stops_nothing(tmp_path, caplog):
    path = tmp_path / "state" / "gather-incidents.db"
    state = State(path)
    state.refuse("lae", "node1", "incident-a", "incident_too_large", 1.0)
    state.close()
    assert State(path).refused("lae", "node1") == ["incident-a"]
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    state = State(path)
    assert len(list(path.parent.glob("gather-incidents.db.aside-*"))) == 1
    assert state.refused("lae", "node1") == []
    state.close()
    state.refuse("lae", "node1", "incident-b", "incident_too_large", 1.0)
    state.note([])
    assert state.refused("lae", "node1") == []
    assert caplog.text.count("state not") == 3
