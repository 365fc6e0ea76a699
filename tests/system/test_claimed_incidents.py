"""What came from an address shows once, under the host that claimed it, wherever one looks; and a rebuild shows the same."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "kinds" / "incidents"))
sys.path.insert(0, str(Path(__file__).parent))
from monitor import Monitor, await_that
from recorded import made_incident, name_of

ADDRESS = "127.0.0.1"


def found(monitor):
    return sorted((row["host"], row["id"]) for row in monitor.search("kind:incident"))


def test_claimed_incidents_show_once_under_their_host_and_after_a_rebuild_too(tmp_path):
    names = [name_of(f"10-{day:02}") for day in range(1, 8)]
    with Monitor(tmp_path / "monitor", "incidents", "serve", extra="unregistered = true\n") as monitor:
        for name in names:
            made_incident(monitor.state / "archive/incidents/lae/incidents" / ADDRESS, name)
        await_that(lambda: found(monitor) == [(ADDRESS, name) for name in names], "under the address")
        monitor.cli("fleet", "claim", ADDRESS, "--host", "node1")
        await_that(lambda: found(monitor) == [("node1", name) for name in names], "under the host, once")
        monitor.cli("store", "rebuild")
        await_that(lambda: found(monitor) == [("node1", name) for name in names], "after a rebuild")
        assert not list((monitor.state / "archive/incidents/lae/incidents" / ADDRESS).iterdir())
