"""The monitor host restarts: everything comes back by itself."""

from lab_hosts import await_that
from lab_site import LAE, UNITS, blocks


def test_the_monitor_host_restarted_everything_comes_back_by_itself(deployed):
    before = len(deployed.ask("search", "kind:incident")["rows"])
    monitor = deployed.monitor
    monitor.restart()
    for part in UNITS:
        await_that(
            lambda part=part: monitor.exec(["systemctl", "is-active", f"lae-monitor-{part}"]).returncode == 0,
            lambda part=part: monitor.journal(f"lae-monitor-{part}"),
        )
    await_that(lambda: monitor.exec([LAE, "check", "fleet", *UNITS]).returncode == 0, "everything answers")
    assert len(deployed.ask("search", "kind:incident")["rows"]) >= before
    await_that(
        lambda: deployed.connections() == {"node1": 2, "node2": 2}, lambda: f"{deployed.connections()}", deadline=180
    )
    deployed.shell(blocks("See it work")[0].splitlines()[1])
