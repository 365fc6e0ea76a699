"""What nodes log is kept from a level on: in files that flogtool reads, once on the timeline, with what is missing said."""

import json
import signal
import sys
from pathlib import Path

import pytest
from logs_gatherer import flogtool, log_gatherer_in

from lae_monitor.core.rows import Span
from lae_monitor.kinds import KINDS
from lae_monitor.kinds.incidents.show import show

BIN = Path(sys.executable).parent
QUICK = {"kinds.incidents.node_logs.following.TELL_EVERY": 0.2}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """One gatherer, for tests with hosts of their own."""
    with log_gatherer_in(tmp_path_factory.mktemp("logs")) as made:
        yield made.start(QUICK)


def test_flogtool_reads_what_is_kept(running, tmp_path):
    program = running.followed("flog")
    program.send(message="kept", level=30, facility="test/one", umid="kEpt01")
    program.send(do="strange")
    running.await_messages("flog", "before anybody listened", "kept", "bytes as keys", "failure as text")
    (path,) = running.log_files("flog")
    assert path.stat().st_mode & 0o077 == 0
    dumped = flogtool("dump", "--timestamps=utc", str(path))
    for text in ("before anybody listened", "kept", "bytes as keys", "not a number", "ValueError", "only text"):
        assert text in dumped
    filtered = tmp_path / "filtered.flog"
    flogtool("filter", "--above", "30", str(path), str(filtered))
    assert "kept" in flogtool("dump", str(filtered))
    assert "before anybody listened" not in flogtool("dump", str(filtered))
    (kept,) = [one for one in running.wrappers("flog") if one["d"].get("message") == "kept"]
    assert set(kept) == {"from", "rx_time", "d"}
    assert set(kept["d"]) == {"num", "time", "level", "incarnation", "message", "facility", "umid"}


def test_an_event_becomes_a_row_of_its_host(running):
    program = running.followed("rows", run="00000000000000aa")
    program.send(message="something odd\nin two lines", level=35, facility="test/odd", umid="oDd001")
    program.send(do="strange")
    running.await_messages("rows", "something odd\nin two lines", "failure as text")
    rows = {row.title: row for row in running.rows("rows")}
    odd = rows["something odd in two lines"]
    assert (odd.kind, odd.cluster, odd.host, odd.level, odd.group) == ("log", "lae", "rows", "error", "")
    assert odd.text == "something odd\nin two lines"
    assert odd.attrs["facility"] == "test/odd"
    assert odd.attrs["umid"] == "oDd001"
    assert odd.attrs["level"] == "SCARY"
    assert odd.attrs["incarnation"] == "00000000000000aa"
    assert odd.attrs["num"].isdigit()
    assert len(odd.attrs["tub"]) == 32
    assert abs(odd.time - odd.received) < 60
    assert rows["before anybody listened"].level == "info"
    failed = next(row for row in rows.values() if "ValueError" in row.text)
    assert "secretsecret" not in failed.text + failed.title
    data = (running.state / "archive" / odd.file).read_bytes()[odd.offset : odd.offset + odd.length]
    shown = show(Span(odd.file, odd.offset, odd.offset + odd.length), data).sections[0]
    assert "SCARY test/odd: something odd\n" in shown.text
    assert not shown.note


def test_what_comes_again_after_a_reconnection_shows_once(running):
    program = running.followed("again")
    program.send(message="first", level=30)
    running.await_messages("again", "first")
    program.send(do="leave")
    program.await_output("subscribers 0", 2)
    program.await_output("subscribers 1", 2)
    program.send(message="second", level=30)
    running.await_messages("again", "second")
    assert [text for text in running.messages("again") if text in {"first", "second"}] == ["first", "second"]
    assert not running.journal(what="mark", host="again", reason="unsent")
    running.await_journal(2, what="mark", host="again", title="the node's log is followed")
    running.await_journal(what="mark", host="again", title="the node's log is followed no more")


def test_numbers_left_out_are_counted(running):
    program = running.followed("gaps")
    running.await_journal(what="mark", host="gaps", title="the node's log is followed")
    program.send(message="first", level=30)
    program.send(do="skip", count=7)
    program.send(message="second", level=30)
    running.await_messages("gaps", "first", "second")
    running.await_that(lambda: running.missing("gaps", "unsent") == 7, lambda: str(running.journal(host="gaps")))


def test_what_a_node_forgot_before_we_knew_it_is_not_missing_and_what_it_forgot_since_is(tmp_path):
    with log_gatherer_in(tmp_path) as gatherer:
        program = gatherer.program("node1")
        program.send(do="many", count=300, level=20)
        program.await_output("did many")
        gatherer.start(QUICK)
        gatherer.await_journal(what="mark", host="node1", title="the node's log is followed")
        program.send(message="live", level=30)
        gatherer.await_messages("node1", "before anybody listened", "live")
        assert gatherer.messages("node1").count("event %(which)d of many") == 100, "what Foolscap remembers of a level"
        program.send(do="skip", count=3)
        program.send(message="after a gap", level=30)
        gatherer.await_messages("node1", "after a gap")
        gatherer.await_that(lambda: gatherer.missing("node1", "unsent"), "the gap is told")
        assert gatherer.missing("node1", "unsent") == 3

        program.send(do="leave")
        program.send(do="many", count=300, level=20)
        gatherer.await_messages("node1", "after a gap")
        gatherer.await_journal(2, what="mark", host="node1", title="the node's log is followed")
        program.send(message="back again", level=30)
        gatherer.await_messages("node1", "back again")
        kept = {one["d"]["num"] for one in gatherer.wrappers("node1") if one["d"]["num"] > 300}
        gone = max(kept) - 300 - len(kept)
        assert gone > 100
        gatherer.await_that(
            lambda: gatherer.missing("node1", "unsent") == gone, lambda: str((gone, gatherer.journal(reason="unsent")))
        )


def test_what_is_too_large_or_no_event_is_counted_and_keeps_nothing_else_from_coming(running):
    program = running.followed("bad")
    program.send(do="strange")
    program.send(do="bad")
    program.send(message="good among bad", level=30)
    running.await_messages("bad", "good among bad")
    running.await_that(
        lambda: running.missing("bad", "malformed") == 3 and running.missing("bad", "large") == 1,
        lambda: str(running.journal(host="bad")),
    )
    flogtool("dump", str(running.log_files("bad")[0]))


def test_a_program_that_waits_for_no_answer_is_disconnected_and_others_go_on(tmp_path):
    with log_gatherer_in(tmp_path) as gatherer:
        gatherer.start({"kinds.incidents.node_logs.stream.FLOOD": 3_000, **QUICK})
        flood = gatherer.followed("flood")
        calm = gatherer.followed("calm")
        flood.send(do="rain", count=6_000)
        gatherer.process.await_log("sends events without waiting for answers")
        calm.send(message="calm", level=30)
        gatherer.await_messages("calm", "calm")
        flood.await_output("subscribers 1", 2)


def test_programs_that_answer_nothing_keep_no_other_from_being_followed(tmp_path):
    with log_gatherer_in(tmp_path) as gatherer:
        gatherer.start({"kinds.incidents.node_logs.follower.TURN_LIMIT": 0.3, **QUICK})
        for _ in range(4):
            gatherer.program("stalling", run="stalls").await_output("asked")
        calm = gatherer.followed("calm")
        calm.send(message="calm", level=30)
        gatherer.await_messages("calm", "calm")
        gatherer.stop()


def test_a_node_that_logs_faster_than_it_may_loses_its_own_and_is_told_of_it(tmp_path):
    with log_gatherer_in(tmp_path) as gatherer:
        gatherer.start(
            {"kinds.incidents.node_logs.stream.RATE": 400.0, "kinds.incidents.node_logs.stream.BURST": 50, **QUICK}
        )
        program = gatherer.followed("fast")
        program.send(do="many", count=5_000, level=20)
        calm = gatherer.followed("calm")
        calm.send(message="calm", level=30)
        gatherer.await_messages("calm", "calm")
        gatherer.await_that(
            lambda: program.send(message="afterwards", level=30) or "afterwards" in gatherer.messages("fast"),
            "the queue of the node has room again",
        )
        kept = [one["d"]["num"] for one in gatherer.wrappers("fast")]
        assert kept == sorted({*kept})
        times = [one["rx_time"] for one in gatherer.wrappers("fast")]
        ahead = [number - 400.0 * (time - times[0]) for number, time in enumerate(times)]
        assert max(ahead) < 50 + 10 + 2, "no more than the burst, and what Foolscap sends without an answer"
        left_out = kept[-1] - kept[0] + 1 - len(kept)
        assert left_out > 1_000
        gatherer.await_that(lambda: gatherer.missing("fast", "unsent") >= left_out, "what was left out is counted")


def test_levels_below_the_chosen_one_are_not_kept(tmp_path):
    with log_gatherer_in(tmp_path, 'log_level = "WEIRD"\n') as gatherer:
        gatherer.start(QUICK)
        program = gatherer.followed("node1")
        for level in (10, 20, 28, 30, 35):
            program.send(message=f"of level {level}", level=level)
        gatherer.await_messages("node1", "of level 35")
        assert gatherer.messages("node1") == ["of level 30", "of level 35"]
        assert not gatherer.journal(what="mark", reason="unsent")


def test_nothing_is_followed_when_it_is_off(tmp_path):
    with log_gatherer_in(tmp_path, "") as gatherer:
        gatherer.start(QUICK)
        program = gatherer.program("node1")
        gatherer.process.await_log("connected to")
        program.send(message="not kept", level=30)
        program.await_output("did None")
        (name,) = gatherer.await_names("node1", 1)  # the same event made an incident, so it would have come by now
        assert name
        assert gatherer.log_files("node1") == []
        assert "subscribers 1" not in program.output()


def test_after_a_restart_what_came_again_is_there_twice_and_shows_once(tmp_path):
    with log_gatherer_in(tmp_path) as gatherer:
        gatherer.start(QUICK)
        program = gatherer.followed("node1")
        program.send(message="before", level=30)
        gatherer.await_messages("node1", "before")
        gatherer.stop()
        program.send(message="meanwhile", level=30)
        gatherer.start(QUICK)
        program.send(message="after", level=30)
        gatherer.await_messages("node1", "before", "meanwhile", "after")
        (path,) = gatherer.log_files("node1")
        flogtool("dump", str(path))
        rows = gatherer.rows("node1")
        assert len([row for row in rows if row.title == "before"]) == 2
        assert len({(row.time, row.key) for row in rows if row.title == "before"}) == 1
        assert len({row.key for row in rows}) == len({row.title for row in rows})


def test_what_an_archive_refuses_waits_and_what_finds_no_room_is_counted(tmp_path):
    with log_gatherer_in(tmp_path) as gatherer:
        gatherer.start({"refuses_logs": True, "kinds.incidents.node_logs.file.MAX_WAITING": 20_000, **QUICK})
        program = gatherer.followed("node1")
        program.send(message="first", level=30)
        program.send(do="many", count=500, level=20)
        gatherer.process.await_log("log not written, next try")
        gatherer.await_that(lambda: gatherer.missing("node1", "waiting"), "some found no room")
        gatherer.process.child.send_signal(signal.SIGUSR1)
        gatherer.await_messages("node1", "first")
        program.send(message="last", level=30)
        gatherer.await_messages("node1", "last")
        kept = gatherer.messages("node1").count("event %(which)d of many")
        assert 0 < kept < 500
        gatherer.await_that(
            lambda: gatherer.missing("node1", "waiting") + kept == 500,
            lambda: str((kept, gatherer.journal(host="node1"))),
        )


def test_no_more_is_kept_of_a_day_than_the_limit(tmp_path):
    with log_gatherer_in(tmp_path) as gatherer:
        gatherer.start({"kinds.incidents.node_logs.file.MAX_DAY": 30_000, **QUICK})
        program = gatherer.followed("node1")
        program.send(do="many", count=500, level=20)
        gatherer.await_that(lambda: gatherer.missing("node1", "day"), "the rest of the day is missing")
        gatherer.stop()
        (path,) = gatherer.log_files("node1")
        assert path.stat().st_size < 31_000
        flogtool("dump", str(path))


def test_each_piece_of_a_file_has_a_head_of_its_own(tmp_path):
    """A file that somebody else writes to is not appended to: what comes goes into a numbered one."""
    import asyncio

    from lae_monitor.archive import Archive, Reserve

    async def main():
        archives = [await Archive([tmp_path], name, reserve=Reserve(size=1)).open() for name in ("one", "two")]
        head, line = b"head\n", b"line\n"
        path = "incidents/lae/logs/node1/2026/11/22.flog"
        first = await asyncio.gather(*(archives[0].append(path, line, head=head) for _ in range(3)))
        again = await archives[0].append(path, line, head=head)
        beside = [await archives[1].append(path, line, head=head) for _ in range(2)]
        for one in archives:
            await one.close()
        return [*first, again], beside

    same, beside = asyncio.run(main())
    assert [span.start for span in same] == [5, 10, 15, 20]
    assert [span.start for span in beside] == [5, 10]
    assert {span.path for span in same} != {span.path for span in beside}
    assert (tmp_path / same[0].path).read_bytes() == b"head\n" + 4 * b"line\n"
    assert (tmp_path / beside[0].path).read_bytes() == b"head\n" + 2 * b"line\n"
    assert KINDS.reader(beside[0].path) is KINDS.reader(same[0].path)
    assert [one.title for one in KINDS.reader(beside[0].path).read(beside[0], b'{"header": {}}\n')] == []


def test_bytes_that_are_no_events_become_marks():
    path = "incidents/lae/logs/node1/2026/11/22.flog"
    good = json.dumps({"from": "x", "rx_time": 1795300000.0, "d": {"num": 1, "time": 1795300000.0, "message": "good"}})
    data = b"\0\0garbage\n" + good.encode() + b'\n[1]\n{"d": 5}\n{"d": {}}\n'
    rows = list(KINDS.reader(path).read(Span(path, 100, 100 + len(data)), data))
    assert [row.kind for row in rows] == ["mark", "log", "mark", "mark", "log"]
    assert rows[1].title == "good"
    assert rows[1].offset == 110
    assert all(row.host == "node1" for row in rows)
