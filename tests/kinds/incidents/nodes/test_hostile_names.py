"""A node that announces very many names, or names that are secrets, costs others nothing and shows nothing."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import DAY, MINUTE
from lae_monitor.kinds.incidents.nodes.known import PRUNE_ABOVE, Known
from lae_monitor.kinds.incidents.wire import names as names_module
from lae_monitor.kinds.incidents.wire.names import IncidentName, incident_name

NOW = 1795168800.0  # 2026-11-20 10:00:00 UTC
CAP = f"URI:DIR2:{'qa' * 13}:{'wb' * 16}"
GOOD = "incident-2026-11-20--10-00-01Z-abcdefg"

SECRETIVE = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import publisher
names = [b"incident-{CAP}", b"{GOOD}"]
publisher.ANSWERS["secretive"] = {{name: publisher.incident([publisher.event(0, message="x")]) for name in names}}
publisher.main(*sys.argv[1:], "secretive")
"""


def names(count):
    times = (datetime.fromtimestamp(NOW - MINUTE * number, UTC) for number in range(count))
    return [IncidentName(time.strftime("incident-%Y-%m-%d--%H-%M-%SZ-abcdefg")) for time in times]


@pytest.mark.parametrize("order", [1, -1], ids=["newest first", "oldest first"])
def test_what_one_name_costs_does_not_grow_with_those_before_it(monkeypatch, order):
    looked_at = []
    look = names_module.time_of_name
    monkeypatch.setattr(names_module, "time_of_name", lambda name: looked_at.append(name) or look(name))
    known = Known("", ())
    announced = names(3 * PRUNE_ABOVE)[::order]
    for name in announced:
        known.owe(name, "node")
    for name in announced:
        known.settle(name, NOW)
    assert len(looked_at) <= 2 * len(announced)
    assert known.cursor == max(announced)
    assert not any(known.owe(name, "node") for name in announced), "all are of the last week"


def test_a_name_from_the_future_takes_nothing_from_who_comes_back_after_weeks():
    """A clock that was wrong for a minute: `latest` would stay there, and a node be asked for its last seven days only."""
    future = IncidentName("incident-2099-01-01--00-00-00Z-abcdefg")
    known = Known("", ())
    for name in (future, *reversed(names(2))):
        known.owe(name, "node")
        known.settle(name, NOW)
    assert known.cursor == names(1)[0]
    assert known.since(NOW + 30 * DAY) == "incident-2026-11-13--10-00-00Z"
    assert not known.owe(future, "node")


def test_latest_that_is_damaged_or_from_the_future_is_mended_by_the_next_incident(gatherer):
    for damage in (b"\xff\xfe\n\nincident-zzz", b"incident-2099-01-01--00-00-00Z-abcdefg\n"):
        gatherer.start()
        node = gatherer.publisher(gatherer.register("node1").furl)
        node.await_output("asked since")
        node.send(message="something odd", level=30)
        have = gatherer.await_names("node1", len(gatherer.names("node1")) + 1)
        gatherer.stop()
        node.kill()
        latest = gatherer.folder_of("node1") / "latest"
        assert latest.read_text().strip() in have
        latest.write_bytes(damage)
    gatherer.start()
    node = gatherer.publisher(gatherer.register("node1").furl)
    node.await_output("asked since")
    assert "asked since \n" in node.output()


def test_a_name_that_holds_a_capability_is_refused_and_not_shown():
    with pytest.raises(Refused, match="bad_incident_name") as refused:
        incident_name(f"incident-{CAP}".encode())
    assert "qaqaqaqa" not in str(refused.value)
    assert "wbwbwbwb" not in str(refused.value)


def test_that_name_among_others_is_shown_nowhere_and_the_others_are_kept(running):
    furl = running.register("secretive").furl.reveal()
    running.run([sys.executable, "-c", SECRETIVE, furl, str(running.folder / "secretive")], "secretive")
    (refused,) = running.await_journal(verdict="refused", host="secretive")
    assert refused["reason"] == "bad_incident_name"
    assert running.await_names("secretive", 1) == [GOOD]
    assert "qaqaqaqa" not in running.process.log() + running.process.output() + str(running.journal())
