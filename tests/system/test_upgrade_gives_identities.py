"""An upgrade from a release that knew no identities, and the way back: nothing is lost, nothing refused, nobody is asked."""

import json

from monitor import LAE_MONITOR, Monitor, await_that

FILE = ".lae-monitor"


def submit(monitor: Monitor) -> str:
    said = json.loads(monitor.cli("crashes", "submit", "--url", f"{monitor.crashes}/submit", "--json"))
    return said["crash_id"]


def test_the_previous_release_this_one_and_the_previous_one_again(tmp_path, previous_release):
    home, away = tmp_path / "home", tmp_path / "away"
    monitor = Monitor(tmp_path / "monitor", "crashes", "serve", roots=[home, away])
    sent = []
    for program in ([previous_release.program], LAE_MONITOR, [previous_release.program]):
        monitor.program = program
        with monitor:
            sent.append(submit(monitor))
            await_that(
                lambda: sorted(row["id"] for row in monitor.search("kind:crash")) == sorted(sent), "all are found"
            )
            roots = json.loads(monitor.cli("archive", "status", "--json"))["roots"]
            assert [root["health"] for root in roots] == ["ok", "ok"]
            names = [(folder / FILE).exists() for folder in (home, away, monitor.state, monitor.state / "store")]
            assert set(names) == {len(sent) > 1}
