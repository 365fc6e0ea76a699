"""The fleet as a list, and one host's timeline: nobody is left out, nothing shows twice, and what is missing is said."""

import pytest
from shelf import NOW, event, receipt, titles

from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import DAY, HOUR, MINUTE, format_time
from lae_monitor.kinds.sonar.rows import Node, Sample
from lae_monitor.query.events import arrivals
from lae_monitor.query.hosts import hosts, load, node
from lae_monitor.query.parser import parse
from lae_monitor.query.planner import plan
from lae_monitor.query.refused_reports import refused
from lae_monitor.query.timeline import activity, gaps, timeline


def test_a_host_is_shown_with_its_counts_its_last_day_and_when_it_was_heard(shelf, place):
    shelf.put(
        event(place, "b", ago=30, kind="crash", level="error"),
        event(place, "b", ago=2.4 * HOUR, kind="log", level="critical"),
        event(place, "b", ago=2.5 * HOUR, kind="log", level="info"),
        event(place, "b", ago=3 * DAY, kind="crash", level="critical"),
        event(place, "a", ago=40 * DAY, kind="incident", level="critical"),
        Node(cluster=place, host="c", time=NOW - 90 * DAY, cores=4),
        event(place, "", ago=5),
    )
    found = shelf.run(hosts(shelf.store, NOW, cluster=place)).hosts
    assert [host.host for host in found] == ["b", "a", "c"]
    b, a, c = found
    assert b.counts == {"crash": 2, "log": 2}
    assert b.counts_24h == {"crash": 1, "log": 2}
    assert b.last_heard == format_time(NOW - 29)
    assert b.silent_for == pytest.approx(29)
    assert b.worst == "critical"
    assert (len(b.hours), b.hours[23], b.hours[21], sum(b.hours)) == (24, 1, 2, 3)
    assert (b.hours_worst[23], b.hours_worst[21], b.hours_worst[0]) == ("error", "critical", "")
    assert (a.worst, a.counts_24h, a.silent) == ("", {}, False)
    assert c.last_heard == format_time(NOW - 90 * DAY)


def test_what_is_stored_twice_counts_once(shelf, place):
    twice = event(place, "a", ago=30, kind="crash")
    of_no_host = event(place, "", ago=30, kind="mark")
    shelf.put(of_no_host)
    shelf.put(of_no_host)
    shelf.put(twice, event(place, "a", ago=40, kind="crash"), event(place, "b", ago=50, kind="incident"))
    shelf.put(twice)
    a, b = sorted(shelf.run(hosts(shelf.store, NOW, cluster=place)).hosts, key=lambda host: host.host)
    assert (a.counts, a.counts_24h, sum(a.hours), b.counts) == ({"crash": 2}, {"crash": 2}, 2, {"incident": 1})


def test_a_host_that_stopped_sending_samples_is_silent_and_others_are_not(shelf, place):
    shelf.put(
        event(place, "gone", ago=HOUR, kind="sonar", level="info", received=0.0),
        event(place, "here", ago=MINUTE, kind="sonar", level="info", received=0.0),
        event(place, "quiet", ago=30 * DAY, kind="crash"),
    )
    silent = {host.host: host.silent for host in shelf.run(hosts(shelf.store, NOW, cluster=place)).hosts}
    assert silent == {"gone": True, "here": False, "quiet": False}


def test_an_alarm_about_a_host_is_no_sign_of_life(shelf, place):
    shelf.put(
        event(place, "h", ago=2 * HOUR, kind="sonar", received=0.0),
        event(place, "h", ago=1, kind="alarm", level="error"),
    )
    [host] = shelf.run(hosts(shelf.store, NOW, cluster=place)).hosts
    assert host.last_heard == format_time(NOW - 2 * HOUR)
    assert host.silent


def test_a_clock_that_is_ahead_does_not_make_a_host_heard_in_the_future(shelf, place):
    shelf.put(event(place, "h", ago=-3 * HOUR, received=0.0))
    [host] = shelf.run(hosts(shelf.store, NOW, cluster=place)).hosts
    assert host.last_heard == format_time(NOW)
    assert host.silent_for == 0


def test_hosts_are_asked_for_by_name(shelf, place):
    shelf.put(event(place, "one"), event(place, "two"), event(place + "x", "one"))
    found = shelf.run(hosts(shelf.store, NOW, host="one")).hosts
    assert {host.cluster for host in found} == {place, place + "x"}


def test_pages_hold_each_event_once_even_those_of_one_moment(shelf, place):
    shelf.put(*(event(place, "h", time=NOW - number // 7, title=f"t{number}") for number in range(50)))
    shelf.put(event(place, "other", time=NOW))
    seen, before = [], ""
    while True:
        page = shelf.run(timeline(shelf.store, place, "h", parse(""), NOW, before=before, limit=6))
        seen += page.events
        before = page.older
        if not before:
            break
        assert len(page.events) == 6
    assert sorted(titles(seen)) == sorted(f"t{number}" for number in range(50))
    assert [row.time for row in seen] == sorted((row.time for row in seen), reverse=True)


def test_a_timeline_is_searched_within_its_host(shelf, place):
    shelf.put(event(place, "h", title="disk full"), event(place, "g", title="disk full"), event(place, "h", title="x"))
    page = shelf.run(timeline(shelf.store, place, "h", parse("disk"), NOW))
    assert titles(page.events) == ["disk full"]
    assert page.older == ""


def test_routine_runs_can_be_left_out(shelf, place):
    shelf.put(
        event(place, "h", kind="sonar", level="info", title="routine"),
        event(place, "h", kind="sonar", level="warning", title="zombies"),
        event(place, "h", kind="crash", level="info", title="crash"),
    )
    page = shelf.run(timeline(shelf.store, place, "h", parse(""), NOW, routine=False))
    assert sorted(titles(page.events)) == ["crash", "zombies"]


@pytest.mark.parametrize("cursor", ["x", "1-zz", "1", f"{10**17}-{'0' * 32}", "-1-" + "0" * 32, f"1-{'0' * 31}"])
def test_a_cursor_that_is_none_of_ours_is_refused(shelf, place, cursor):
    with pytest.raises(Refused) as caught:
        shelf.run(timeline(shelf.store, place, "h", parse(""), NOW, before=cursor))
    assert caught.value.code == "bad_parameters"


def test_a_gap_in_the_samples_is_said_and_the_last_one_is_open(shelf, place):
    times = [*range(0, 50, 5), *range(180, 240, 5)]  # minutes before the end
    shelf.put(*(event(place, "h", ago=HOUR + minutes * MINUTE, kind="sonar") for minutes in times))
    shelf.put(event(place, "crashes-only", ago=5 * HOUR))
    found = shelf.run(gaps(shelf.store, place, "h", NOW - DAY, NOW))
    assert [(gap.seconds / MINUTE, gap.open) for gap in found] == [(60, True), (135, False)]
    assert found[1].start == format_time(NOW - HOUR - 180 * MINUTE)
    assert shelf.run(gaps(shelf.store, place, "crashes-only", NOW - DAY, NOW)) == []
    assert shelf.run(gaps(shelf.store, place, "nobody", NOW - DAY, NOW)) == []


def test_a_gap_that_began_before_the_time_looked_at_is_seen(shelf, place):
    shelf.put(event(place, "h", ago=2 * DAY, kind="sonar"))
    [gap] = shelf.run(gaps(shelf.store, place, "h", NOW - DAY, NOW))
    assert (gap.start, gap.seconds, gap.open) == (format_time(NOW - DAY), DAY, True)


def test_activity_counts_by_kind_and_piece_of_time(shelf, place):
    shelf.put(
        event(place, "h", ago=1, kind="crash", level="error"),
        event(place, "h", ago=2, kind="crash", level="info"),
        event(place, "h", ago=HOUR + 1, kind="log", level="debug"),
        event(place, "h", ago=5 * HOUR, kind="log"),
    )
    found = shelf.run(activity(shelf.store, place, "h", NOW - 4 * HOUR, NOW, HOUR))
    assert [(bucket.kind, bucket.at, bucket.events, bucket.worst) for bucket in found.buckets] == [
        ("crash", 3, 2, "error"),
        ("log", 2, 1, "debug"),
    ]


def test_the_load_is_what_the_counters_grew_by(shelf, place):
    def sample(ago, cpu_time, **more):
        made = {"cluster": place, "host": "h", "time": NOW - ago, "user": "u", "cmd": "c", "cpu_time": cpu_time}
        made |= {"key": f"{ago}{more}".encode().ljust(16)[:16], "resident_kib": 1000}
        return Sample(**(made | more))

    shelf.put(
        sample(100 * MINUTE, 0.0, pid=1),
        sample(70 * MINUTE, 3600.0, pid=1),
        sample(10 * MINUTE, 10800.0, pid=1),
        sample(5 * MINUTE, 10.0, pid=1),  # it fell: another process of that number
        sample(10 * MINUTE, 50.0, pid=2),  # the first of its kind: not known what it did in this hour
        sample(9 * MINUTE, 9e9, pid=3, heartbeat=True, resident_kib=10**9),
    )
    found = shelf.run(load(shelf.store, place, "h", NOW - 3 * HOUR, NOW, HOUR))
    assert found.cores[:3] == [None, 1.0, 2.0]
    assert found.resident_kib[:3] == [None, 1000, 2000]
    assert shelf.run(load(shelf.store, place, "nobody", NOW - HOUR, NOW, HOUR)) is None


def test_the_newest_word_of_a_node_counts(shelf, place):
    shelf.put(
        Node(cluster=place, host="h", time=NOW - 5, cores=8, description="new"),
        Node(cluster=place, host="h", time=NOW - 9, cores=4, description="old"),
    )
    assert shelf.run(node(shelf.store, place, "h")).cores == 8
    assert shelf.run(node(shelf.store, place, "nobody")) is None


def test_refusals_are_shown_by_reason_with_what_the_code_means(shelf, place):
    made = {"kind": "crash", "host": "h", "verdict": "refused", "reason": "body_too_large"}
    shelf.put(
        receipt(place, "", 1, 0, NOW - 60, **made, detail="old", peer="10.0.0.1"),
        receipt(place, "", 2, 0, NOW - 30, **made, detail="new", peer="10.0.0.2"),
        receipt(place, "", 3, 0, NOW - 2 * DAY, **made),
        receipt(place, "f", 4, 5, NOW - 30),
    )
    [line] = shelf.run(refused(shelf.store, NOW, cluster=place))
    assert (line.times, line.peer, line.detail, line.reason) == (2, "10.0.0.2", "new", "body_too_large")
    assert "larger than the limit" in line.meaning


def test_arrivals_come_in_the_order_they_came_whatever_their_time(shelf, place):
    file = f"sonar/{place}/2026/11/22/n1.csv"
    shelf.put(
        event(place, title="late crash", ago=5 * HOUR, received=NOW - 10),
        event(place, title="before", ago=30, received=NOW - 30),
        event(place, title="old samples", ago=90, received=0.0, file=file, offset=0, length=10),
        event(place, title="new samples", ago=80, received=0.0, file=file, offset=100, length=10),
        event(place, title="not receipted yet", ago=70, received=0.0, file=file, offset=900, length=10),
        event(place, title="never receipted", ago=5, received=0.0, file=file + "x", offset=100, length=10),
        receipt(place, file, 0, 100, NOW - 60),
        receipt(place, file, 100, 100, NOW - 15),
    )
    planned = plan(parse(f"cluster:{place}"), NOW)
    found = shelf.run(arrivals(shelf.store, planned, NOW - 20, 10))
    assert titles(found.rows) == ["new samples", "late crash"]
    assert found.complete
    one = shelf.run(arrivals(shelf.store, planned, NOW - 40, 2))
    assert (titles(one.rows), one.complete) == (["before", "new samples"], False)
