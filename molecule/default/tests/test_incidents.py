"""A real Tahoe-LAFS node of a deployed host reports an incident: it arrives under its name, and is classified."""

import json
import time

import pytest

REPORT = "curl --silent --show-error --fail --form details=%s http://127.0.0.1:3456/report_incident"
STORED = "/home/gatherer/incident/incidents"
CATEGORY = "user-incident-button"  # of the rules that come with lae-monitor, as of Tahoe-LAFS's own classifier
DEADLINE = 120.0  # seconds; a node itself keeps an incident for five


def await_that(condition, what):
    deadline = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.5)
    return found


@pytest.fixture(scope="module")
def reported(node, monitor):
    """An incident that an operator has the node report; returns the host's name, and the row of the incident."""
    name = node.check_output("hostname")
    if not node.file("/home/customer/storageserver/private").is_directory:
        pytest.skip(f"no real Tahoe-LAFS node on {name}")
    word = f"molecule{time.time_ns()}"
    node.check_output(REPORT % word)

    def found():
        told = monitor.run(f"lae-monitor search --json {word} kind:incident since:1h")
        rows = json.loads(told.stdout)["rows"] if told.rc == 0 else []
        return rows[0] if rows else None

    return name, await_that(found, lambda: monitor.check_output(f"lae-monitor fleet status; find {STORED}"))


def test_it_arrives_under_the_name_of_its_host(reported, monitor):
    name, row = reported
    assert row["host"] == name
    stored = monitor.file(f"{STORED}/{name}/{row['id']}.flog.bz2")
    assert (stored.user, stored.mode) == ("gatherer", 0o600)


def test_it_is_classified_as_flogtool_would_have_it(reported, monitor):
    name, row = reported
    listed = monitor.file(f"/home/gatherer/incident/classified/{CATEGORY}")
    line = f"incidents/{name}/{row['id']}.flog.bz2"
    await_that(lambda: listed.exists and line in listed.content_string.splitlines(), lambda: "not classified")


def test_every_node_of_the_host_is_heard(reported, monitor):
    name, _ = reported
    told = json.loads(monitor.check_output(f"lae-monitor fleet status --json --host {name} --connected 2"))
    assert told["hosts"][0]["connections"] == 2


def test_figures_are_to_be_had_on_the_host_only(monitor):
    assert monitor.socket("tcp://127.0.0.1:9118").is_listening
    assert not monitor.socket("tcp://0.0.0.0:9118").is_listening
    assert "# HELP" in monitor.check_output("curl --silent --fail http://127.0.0.1:9118/metrics")
