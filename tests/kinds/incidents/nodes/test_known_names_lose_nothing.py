"""The bookkeeping of names against a model: whatever happens, no incident that a node still has is left out."""

import random
from datetime import UTC, datetime

import pytest

from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import DAY, HOUR
from lae_monitor.kinds.incidents.nodes.known import MAX_LEFT, MAX_OWED, Known
from lae_monitor.kinds.incidents.wire.names import IncidentName, incident_name, since, time_of_name

NOW = 1795168800.0  # 2026-11-20 10:00:00 UTC


def name_at(time, ending="aaaaaaa"):
    return IncidentName(datetime.fromtimestamp(time, UTC).strftime("incident-%Y-%m-%d--%H-%M-%SZ-") + ending)


@pytest.mark.parametrize(
    ("newest", "start"),
    [
        ("", ""),
        ("incident-2026-11-18--09-44-34Z-serjmai", "incident-2026-11-11--09-44-34Z"),
        ("incident-2008-07-29-204211-aspkxoi", "incident-2008-07-22--20-42-11Z"),
        ("incident-2029-01-01--00-00-00Z-aaaaaaa", "incident-2026-11-13--10-00-00Z"),  # from the future
        ("incident-9999-99-99--00-00-00Z-aaaaaaa", ""),
        ("incident-whatever", ""),
        ("incident-1970-01-02--00-00-00Z-aaaaaaa", "incident-1970-01-01--00-00-00Z"),
    ],
)
def test_a_node_is_asked_from_a_week_before_the_newest_on(newest, start):
    assert since(newest, NOW) == start


def test_time_of_name():
    assert time_of_name("incident-2026-11-20--10-00-00Z-abcdefg") == NOW
    assert time_of_name("incident-2026-13-20--10-00-00Z-abcdefg") is None
    assert time_of_name("latest") is None


def test_only_one_node_is_asked_and_its_heir_when_it_leaves():
    known = Known("", [])
    name = name_at(NOW)
    assert known.owe(name, "first")
    assert not known.owe(name, "first")
    assert not known.owe(name, "second")
    assert known.leave("first") == [(name, "second")]
    assert known.leave("second") == []
    assert known.owe(name, "third")
    known.settle(name, NOW)
    assert not known.owe(name, "fourth")


def test_cursor_waits_for_what_would_fall_out_of_the_window():
    old, new = name_at(NOW - 8 * DAY), name_at(NOW)
    known = Known("", [])
    known.owe(old, "node")
    known.owe(new, "node")
    assert not known.settle(new, NOW)
    assert known.since(NOW) == ""
    known.leave("node")
    assert not known.settle(name_at(NOW - 1), NOW), "also when nobody has the old one just now"
    assert known.settle(old, NOW)
    assert known.cursor == new


def test_failures_are_tried_again_ever_later_up_to_an_hour():
    known = Known("", [])
    name = name_at(NOW)
    delays = []
    for count in range(1, 15):
        assert known.fail(name, NOW) == count
        delays.append(known.delay(name, NOW))
    assert delays[:4] == [5.0, 10.0, 20.0, 40.0]
    assert delays[-1] == HOUR
    for _ in range(2000):
        known.fail(name, NOW)
    assert known.delay(name, NOW) == HOUR
    assert known.delay(name, NOW + HOUR) == 0.0
    assert known.delay(name_at(NOW, "other"), NOW) == 0.0


def test_what_is_left_by_nodes_that_went_is_bounded_and_does_not_fill_the_queue():
    known = Known("", [])
    for number in range(MAX_LEFT + 500):
        known.owe(name_at(NOW - number), "node")
    known.leave("node")
    oldest = [name_at(NOW - number) for number in range(500, MAX_LEFT + 500)]
    for name in oldest:
        known.settle(name, NOW)
    assert known.settle(name_at(NOW + 1), NOW), "nothing is owed any more"


def test_what_is_owed_is_bounded():
    known = Known("", [])
    for number in range(MAX_OWED):
        assert not known.is_full
        known.owe(IncidentName(f"incident-{number}"), "node")
    assert known.is_full


def test_no_history_of_interruptions_loses_or_repeats_an_incident():
    """A node that makes incidents, restarts and sets its clock back a little; a gatherer that fails, restarts and forgets."""
    for _ in range(60):
        seed = random.randrange(2**32)
        rng = random.Random(seed)
        on_node, stored, fetches = set(), set(), 0
        cursor, known, node = "", Known("", []), 0
        now = NOW

        def restart(cursor, stored, now):
            start = Known(cursor, ()).since(now)
            return Known(cursor, [name for name in stored if name > start])

        for step in range(rng.randint(5, 60)):
            now += rng.choice([1, HOUR, DAY, 5 * DAY])
            for number in range(rng.randint(0, 3)):
                on_node.add(name_at(now - rng.choice([0, 0, 60, 6 * DAY]), f"a{step}b{number}"))
            node += 1
            asked = sorted(name for name in on_node if name > known.since(now))
            queue = [name for name in asked if known.owe(name, node)]
            for name in queue:
                if rng.random() < 0.15:
                    break  # the connection is lost, or the gatherer killed
                if rng.random() < 0.1:
                    continue  # this one could not be fetched
                fetches += 1
                assert name not in stored, seed
                stored.add(name)
                if known.settle(name, now):
                    cursor = known.cursor
            known.leave(node)
            if rng.random() < 0.3:
                known = restart(cursor, stored, now)
        asked = {name for name in on_node if name > known.since(now)}
        assert on_node - stored <= asked, seed
        assert fetches == len(stored), seed


@pytest.mark.parametrize("raw", [b"incident-a", "incident-a"])
def test_names_are_text_or_bytes(raw):
    assert incident_name(raw) == "incident-a"


@pytest.mark.parametrize(
    "raw", [b"incident-\xff", "incident-\n", "incident-é", b"latest", 5, None, [], b"incident-" + b"a" * 10**6]
)
def test_other_names_are_refused_shortly(raw):
    with pytest.raises(Refused) as refused:
        incident_name(raw)
    assert refused.value.code == "bad_incident_name"
    assert len(str(refused.value)) < 300
