"""A release that does not start is taken back within the run that brought it."""

from lab_site import LAE, UNITS, one_line


def test_a_release_that_does_not_start_is_taken_back_by_itself(deployed, broken_release):
    broken = broken_release("lae_monitor/service/serve.py", "serve")
    monitor, current = deployed.monitor, ["readlink", "/opt/lae-monitor/current"]
    before = monitor.exec(current).stdout
    run = deployed.play("monitor", "-e", f"lae_common_release_folder={broken}")
    assert run.code != 0
    assert "is current again, and runs." in one_line(run.said), run.said[-5000:]
    assert "broken on purpose" in run.said, "the journal is shown"
    assert monitor.exec(current).stdout == before
    assert monitor.exec([LAE, "check", "fleet", *UNITS]).returncode == 0
    again = deployed.play("monitor", "-e", f"lae_common_release_folder={broken}")
    assert again.code != 0, "no better the second time"
    assert monitor.exec(current).stdout == before
    deployed.play("monitor").fine()
    assert monitor.exec([LAE, "check", "fleet", *UNITS]).returncode == 0
    assert deployed.play("monitor").changed() == {"monitor1": 0}
