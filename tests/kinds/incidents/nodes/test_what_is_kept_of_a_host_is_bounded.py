"""max_incident, max_host, fetches: what is beyond is refused with a receipt, and taken once it has room."""

import re
import urllib.request

import pytest
from prometheus_client import Counter, Gauge, Histogram
from recorded import made_incident, name_of

from lae_monitor.kinds.incidents import metrics

FAST = {"kinds.incidents.nodes.node.FULL_PAUSE": 0.3, "kinds.incidents.nodes.known.FIRST_RETRY": 0.2}


def settings(**values):
    lines = "".join(f"{key} = {value}\n" for key, value in values.items())
    return pytest.mark.parametrize("gatherer", [lines], indirect=True)


def change(gatherer, before, after):
    text = gatherer.config.read_text()
    assert before in text
    gatherer.config.write_text(text.replace(before, after))


def size(gatherer, name):
    return (gatherer.folder / "p-incidents" / f"{name}.flog.bz2").stat().st_size


@settings(max_host='"8 KiB"')
def test_host_that_keeps_as_much_as_it_may_is_asked_for_nothing_until_there_is_room(gatherer):
    names = [name_of(f"{month:02}-{day:02}") for month in (9, 10) for day in range(1, 29)]
    for name in names:
        made_incident(gatherer.folder / "p-incidents", name)
    gatherer.start(FAST)
    node = gatherer.publisher(gatherer.register("node1").furl, "p")
    (refused,) = gatherer.await_journal(verdict="refused", reason="host_full")
    kept = gatherer.names("node1")
    fit = len(kept)
    assert 10 < fit < 40
    assert (kept, refused["id"]) == (names[:fit], names[fit])
    assert "limit 8.0 KiB" in refused["detail"]
    other = gatherer.publisher(gatherer.register("node2").furl, "other")
    other.await_output("asked since")
    other.send(message="of another host", level=30)
    gatherer.await_names("node2", 1)
    assert gatherer.fetched("node1") == fit, "nothing is fetched that has no room"
    for name in names[:5]:  # as retention does
        (gatherer.folder_of("node1") / f"{name}.flog.bz2").unlink()
    gatherer.await_that(lambda: names[fit + 3] in gatherer.names("node1"), gatherer.process.log)
    gatherer.await_journal(2, verdict="refused", reason="host_full")
    assert gatherer.names("node1")[0] == names[5], "what went is not asked for again"
    gatherer.stop()
    change(gatherer, "8 KiB", "1 MiB")
    gatherer.start(FAST)
    gatherer.await_that(lambda: names[5:] == gatherer.names("node1"), gatherer.process.log)
    assert {entry["reason"] for entry in gatherer.journal(verdict="refused")} == {"host_full"}
    assert all(node.output().count(f"asked {name}\n") == 1 for name in names)


@settings(max_host='"2 KiB"')
def test_large_incident_without_room_holds_up_no_smaller_one(gatherer):
    large, small = name_of("10-01"), name_of("10-02")
    made_incident(gatherer.folder / "p-incidents", large, events=2000)
    made_incident(gatherer.folder / "p-incidents", small)
    assert size(gatherer, large) > 2048
    gatherer.start({"kinds.incidents.nodes.known.FIRST_RETRY": 3600.0})
    gatherer.publisher(gatherer.register("node1").furl, "p")
    assert gatherer.await_names("node1", 1) == [small]
    gatherer.await_journal(verdict="refused", reason="host_full", id=large)


@settings(max_incident='"20 KiB"')
def test_incident_larger_than_the_setting_is_refused_for_good(gatherer):
    large, small = name_of("10-01"), name_of("10-02")
    made_incident(gatherer.folder / "p-incidents", large, events=300)
    made_incident(gatherer.folder / "p-incidents", small)
    gatherer.start()
    node = gatherer.publisher(gatherer.register("node1").furl, "p")
    assert gatherer.await_names("node1", 1) == [small]
    (refused,) = gatherer.await_journal(verdict="refused")
    assert (refused["reason"], refused["id"]) == ("incident_too_large", large)
    assert "limit 20480" in refused["detail"]
    node.kill()
    node = gatherer.publisher(gatherer.register("node1").furl, "p")
    node.await_output("asked since")
    node.send(message="after it", level=30)
    gatherer.await_names("node1", 2)
    assert large not in node.output().replace(f"since {large}", "")


def test_incident_of_200_mb_is_given_up_while_it_comes_and_the_node_stays(gatherer):
    gatherer.start()
    node = gatherer.publisher(gatherer.register("node1").furl, mode="enormous")
    assert [name[-8:] for name in gatherer.await_names("node1", 1)] == ["-abcdefg"]
    (refused,) = gatherer.await_journal(verdict="refused")
    assert refused["reason"] == "incident_too_large"
    assert gatherer.memory("VmHWM") < 200
    assert node.output().count("asked incident-2026-11-20--10-00-01Z") == 1


@settings(fetches=1)
def test_as_many_are_fetched_at_once_as_the_setting_says(gatherer):
    gatherer.start()
    for number in range(3):
        gatherer.publisher(gatherer.register(f"node{number}").furl, f"stalled{number}", mode="stalls")
    gatherer.process.await_log("connected to", 3)
    gatherer.await_that(lambda: metric_free(gatherer), gatherer.process.log)
    assert gatherer.process.log().count("fetching incident") == 1


def metric_free(gatherer):
    """All three have announced what they have, and one is asked."""
    return (
        sum("asked" in child.output() for child in gatherer.children[1:]) == 3 and "fetching" in gatherer.process.log()
    )


# ---- figures -------------------------------------------------------------------------------------------------------


@pytest.fixture
def watched(gatherer):
    """A gatherer that answers over HTTP."""
    port = gatherer.free_port()
    while port == gatherer.port:
        port = gatherer.free_port()
    gatherer.config.write_text(gatherer.config.read_text() + f'http = "127.0.0.1:{port}"\n')
    gatherer.url = f"http://127.0.0.1:{port}"
    return gatherer


def get(watched, path):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(watched.url + path, timeout=60) as answer:
        return answer.read().decode()


def figures(watched):
    found = re.findall(r"^(lae_incidents_\w+(?:\{[^}]*\})?) (\S+)$", get(watched, "/metrics"), re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_figures_tell_what_is_stored_refused_and_waiting(watched):
    watched.start({"net.furls.door.WATCH_EVERY": 0.1})
    assert get(watched, "/ping") == "pong\n"
    assert '"errors":[]' in get(watched, "/__heartbeat__")
    assert "lae-monitor" in get(watched, "/__version__")
    assert figures(watched)["lae_incidents_last_heard_seconds"] == 0
    names = [name_of(f"10-{day:02}") for day in range(1, 4)]
    for name in names:
        made_incident(watched.folder / "p-incidents", name)
    watched.publisher(watched.register("node1").furl, "p")
    watched.await_names("node1", 3)
    watched.publisher(watched.register("node2").furl, mode="malformed")
    watched.await_names("node2", 1)
    watched.await_journal(5, verdict="refused")
    watched.publisher(watched.register("node3").furl, mode="stalls").await_output("asked incident")
    watched.await_that(lambda: figures(watched)["lae_incidents_connections"] == 3, "connections")
    seen = figures(watched)
    assert seen["lae_incidents_stored_total"] == 4
    kept = sum(path.stat().st_size for path in watched.state.glob("archive/incidents/lae/incidents/*/*.bz2"))
    assert seen["lae_incidents_stored_bytes_total"] == kept
    assert seen["lae_incidents_fetched_bytes_total"] > kept
    assert seen['lae_incidents_refused_total{reason="incident_malformed"}'] == 5
    assert seen["lae_incidents_fetch_seconds_count"] >= 8
    assert seen["lae_incidents_hosts_connected"] == 3
    assert 0 <= seen["lae_incidents_last_heard_seconds"] < 60
    assert seen["lae_incidents_known_total"] == seen["lae_incidents_failed_total"] == 0
    labels = {name.partition("{")[2].partition("=")[0] for name in seen if "{" in name}
    assert labels == {"reason", "le"}
    watched.stop()


def test_every_figure_is_there_before_anything_happens(watched):
    watched.start()
    text = get(watched, "/metrics")
    figures = [figure for figure in vars(metrics).values() if isinstance(figure, Counter | Gauge | Histogram)]
    assert len(figures) >= 10
    for figure in figures:
        assert f"# TYPE {figure.describe()[0].name}" in text


def test_port_for_figures_that_is_taken_says_so(watched):
    watched.start()
    second = watched.config.with_name("second.toml")
    other = watched.free_port()
    second.write_text(
        watched.config.read_text().replace(f"tcp:{watched.port}", f"tcp:{other}").replace("/state", "/state2")
    )
    watched.config = second
    with pytest.raises(AssertionError, match="cannot listen on 127"):
        watched.start()
