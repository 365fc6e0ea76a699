"""With the whole monitor: retention stops before it takes much, says so everywhere, and goes on when an operator says yes."""

import json
import time
import urllib.request

import msgspec
from monitor import Monitor, await_that
from test_spine import post_samples, sample

from lae_monitor.core.time import day_path
from lae_monitor.mover.ages import Last, Rules
from lae_monitor.mover.ledger import Ledger, Received
from lae_monitor.mover.retention import LAST

DAY = 86400.0


def fill(state, days):
    """An archive of some days, and a ledger of a monitor that kept everything for long."""
    now, received = time.time(), {}
    for ago in range(days):
        path = state / "archive" / "journal" / day_path(now - ago * DAY) / "x.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text('{"time":"2026-11-22T00:00:00Z","what":"mark","title":"old"}\n')
        received[str(path.relative_to(state / "archive"))] = Received(now - ago * DAY, path.stat().st_size)
    ledger = Ledger(state / "mover.db")
    longer = {"crashes": 3650 * DAY, "incidents": 3650 * DAY, "sonar": 3650 * DAY}
    ledger.set_received(received)
    ledger.set_fact(LAST, msgspec.json.encode(Last(newest=now, rules=Rules(keep=longer))).decode())
    ledger.close()


def test_a_shortened_retention_stops_says_so_and_waits_for_yes(tmp_path):
    extra = '[retention]\ncrashes = "20d"\nincidents = "20d"\nsonar = "20d"\n'
    monitor = Monitor(tmp_path / "m", extra=extra)
    monitor.state.mkdir(parents=True)
    fill(monitor.state, 40)
    with monitor:
        (warning,) = await_that(lambda: monitor.get("/__heartbeat__")["warnings"], "a warning")
        assert warning.startswith("retention stopped: less is to be kept: retention.crashes from 3650d to 20d")
        (alarm,) = await_that(lambda: monitor.search("kind:alarm"), "an alarm")
        assert (alarm["attrs"]["rule"], alarm["attrs"]["state"]) == ("retention stopped", "raised")
        assert "retention stopped" in monitor.cli("archive", "status", code=1)
        assert "Retention stopped" in page(monitor)
        shown = monitor.cli("archive", "retire", "--dry-run", code=1)
        assert "of 41 files due" in shown or "of 42 files due" in shown
        assert "journal" in shown
        monitor.cli("archive", "retire", code=1)
        # What a client sends of long ago came today.
        post_samples(monitor, sample("node1.hpc", "2023-01-02T03:04:05Z", 4711))
        await_that(lambda: monitor.search("kind:sonar host:node1.hpc"), "the sample is found")
        said = json.loads(monitor.cli("archive", "retire", "--confirm", "--json"))
        assert said["gone"] == 20
        assert monitor.get("/__heartbeat__")["warnings"] == []
        await_that(lambda: len(monitor.search("kind:alarm")) == 2, "the alarm is over")
        assert monitor.search("kind:sonar host:node1.hpc")
        assert (monitor.state / "archive/sonar/hpc/2023/01/02/node1.hpc.csv").exists()
        assert "stopped" not in monitor.cli("archive", "status")
    assert json.loads(monitor.cli("archive", "retire", "--json"))["gone"] == 0  # with nothing running


def page(monitor):
    with urllib.request.urlopen(monitor.web + "/", timeout=30) as answer:
        return answer.read().decode()
