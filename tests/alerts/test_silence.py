"""Who is expected, and from when on he counts as silent. Time is passed in."""

import pytest

from lae_monitor.alerts import silence
from lae_monitor.alerts.ledger import Expected
from lae_monitor.alerts.silence import DOWN_AFTER, GONE_AFTER, Heard, Stored
from lae_monitor.config.settings import Alerts, Settings
from lae_monitor.core.kind import Contact
from lae_monitor.core.time import DAY, HOUR
from lae_monitor.kinds import KINDS

NOW = 1_790_000_000.0
BOTH = frozenset({"incidents", "sonar"})
NOT_DEAF = {"incidents": 0.0, "sonar": 0.0}


def expected(*, stored=(), fleet=(), before=(), running=BOTH, now=NOW, **alerts):
    settings = Settings(alerts=Alerts(**alerts), kinds=KINDS)
    return silence.expected(settings, Heard(dict(stored), {"incidents": fleet}, running), before, now)


def furl(host="node1", heard=None):
    return Contact("lae", host, True, heard)


def test_expected_is_who_has_a_furl_or_sends_samples_or_is_named():
    hosts = expected(
        stored={("hpc", "ml6"): Stored(NOW - 60, {"sonar": NOW - 60}), ("lae", "crashes-only"): Stored(NOW - 60, {})},
        fleet=[
            furl(heard=NOW - 90),
            Contact("lae", "10.0.0.9", False, NOW),
        ],
        expected=["node9", "other/node1"],
    )
    assert [(one.cluster, one.host, one.heard) for one in hosts] == [
        ("hpc", "ml6", NOW - 60),
        ("lae", "node1", NOW - 90),
        ("lae", "node9", None),
        ("other", "node1", None),
    ]


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["node1"], ["node2"]),
        (["node*"], []),
        (["lae/node2"], ["node1"]),
        (["hpc/*"], ["node1", "node2"]),
        (["node[1]"], ["node2"]),
    ],
)
def test_unexpected_hosts_are_left_out(patterns, left):
    hosts = expected(fleet=[furl("node1"), furl("node2")], unexpected=patterns)
    assert [one.host for one in hosts] == left


def test_connected_is_heard_and_so_is_anything_that_came():
    (host,) = expected(fleet=[furl(heard=NOW - 3 * HOUR)])
    assert host.heard == NOW - 3 * HOUR
    (host,) = expected(fleet=[furl(heard=NOW - 3 * HOUR)], stored={("lae", "node1"): Stored(NOW - 5, {})})
    assert host.heard == NOW - 5


def test_what_was_heard_once_is_not_forgotten_and_expected_since_stays():
    before = [Expected("lae", "node1", NOW - DAY, "has a FURL", NOW - HOUR)]
    (host,) = expected(fleet=[furl()], before=before)  # its database was lost
    assert (host.expected, host.heard) == (NOW - DAY, NOW - HOUR)


def test_who_sent_samples_is_expected_until_he_is_taken_for_retired():
    before = [Expected("hpc", "ml6", NOW - 30 * DAY, "sends samples", NOW - GONE_AFTER + 60)]
    assert [one.host for one in expected(before=before)] == ["ml6"]
    assert expected(before=before, now=NOW + 120) == []


def test_silent_from_the_limit_on_and_not_before():
    host = Expected("lae", "node1", NOW - DAY, "has a FURL", NOW - 2 * HOUR)
    assert silence.silent(host, NOT_DEAF, 2 * HOUR + 1, NOW, KINDS) is None
    found = silence.silent(host, NOT_DEAF, 2 * HOUR, NOW, KINDS)
    assert (found.rule, found.about, found.since, found.lasting) == ("host silent", "lae/node1", NOW - 2 * HOUR, True)
    assert "node1 is silent for 2h" in found.title
    assert "lae-monitor fleet status --host node1" in found.text


def test_a_host_that_was_never_heard_is_silent_from_when_it_was_expected():
    host = Expected("lae", "node1", NOW - HOUR, "has a FURL", None)
    assert silence.silent(host, NOT_DEAF, 2 * HOUR, NOW, KINDS) is None
    assert "never heard" in silence.silent(host, NOT_DEAF, HOUR, NOW, KINDS).title


def test_time_in_which_its_gatherer_did_not_run_does_not_count():
    host = Expected("lae", "node1", NOW - DAY, "has a FURL", NOW - 5 * HOUR)
    assert silence.silent(host, {"incidents": NOW - HOUR, "sonar": 0.0}, 2 * HOUR, NOW, KINDS) is None
    assert silence.silent(host, {"incidents": 0.0, "sonar": NOW}, 2 * HOUR, NOW, KINDS)
    named = host._replace(why="alerts.expected")  # may report in any way: one gatherer is enough to hear it
    assert silence.silent(named, {"incidents": 0.0, "sonar": NOW}, 2 * HOUR, NOW, KINDS)
    assert silence.silent(named, {"incidents": NOW, "sonar": NOW}, 2 * HOUR, NOW, KINDS) is None


def test_a_gatherer_is_down_only_when_hosts_need_it_and_not_at_once():
    hosts = [Expected("lae", f"node{n}", NOW, "has a FURL", None) for n in range(3)]
    down = {"incidents": NOW - DOWN_AFTER, "sonar": NOW - DAY}
    (found,) = silence.down(hosts, down, NOW, "lae", KINDS)
    assert (found.rule, found.about, found.host) == ("gatherer down", "incidents", "")
    assert "3 hosts cannot report" in found.text
    assert not [*silence.down(hosts, {"incidents": NOW - DOWN_AFTER + 1}, NOW, "lae", KINDS)]


def test_what_the_store_told_once_is_no_reason_for_ever():
    stored = {("hpc", "ml6"): Stored(NOW, {"sonar": NOW})}
    assert [one.host for one in expected(stored=stored, now=NOW + GONE_AFTER - 1)] == ["ml6"]
    assert expected(stored=stored, now=NOW + GONE_AFTER) == []
