"""A run restarts what a change concerns, and nothing else."""

import json
import re

from lab_hosts import await_that


def test_a_changed_variable_restarts_only_what_it_concerns(deployed):
    monitor = deployed.monitor
    before = deployed.pids()
    changed = {
        "crash_collector_settings": {"max_body": "26 MiB"},
        "crash_collector_rules_toml": '[[rule]]\nname = "all"\nkey = "ProductName"\nnot_in = [""]\nresult = "accept"\n',
        "crash_collector_destinations": [{"type": "antenna", "fs_root": "/srv/crashes"}],
    }
    submit = "printf MDMP | curl --silent --fail -F ProductName=kept -F Version=1 -F upload_file_minidump=@- http://127.0.0.1:8000/submit"
    deployed.play("monitor", "-e", json.dumps(changed)).fine()
    after = deployed.pids()
    monitor.exec(["sh", "-c", submit], check=True)
    await_that(
        lambda: monitor.exec(["sh", "-c", "find /srv/crashes -type f"]).stdout,
        lambda: monitor.journal("lae-monitor-crashmover"),
    )
    closed = monitor.exec(["systemd-analyze", "security", "--no-pager", "lae-monitor-crashmover.service"]).stdout
    assert float(re.search(r"exposure level for .*: ([0-9.]+)", closed)[1]) <= 2.0
    assert {part for part in before if before[part] != after[part]} == {"crashes"}
    run = deployed.play("monitor", "-e", json.dumps({"crash_collector_settings": {"max_bodi": "26 MiB"}}))
    assert run.code != 0
    assert "max_body" in run.said, "the nearest known key is named"
    now = deployed.pids()
    assert {part for part in now if now[part] != after[part]} <= {"crashes"}
    deployed.play("monitor").fine()
    for path in ("/etc/systemd/system/lae-monitor-crashmover.service", "/etc/lae-monitor/throttle.toml"):
        assert monitor.exec(["test", "-e", path]).returncode == 1, "gone with what it was for"
    assert monitor.exec(["systemctl", "is-active", "lae-monitor-crashmover"]).returncode != 0
    monitor.exec(["rm", "-r", "/srv/crashes"])


def test_a_service_that_runs_on_what_was_before_is_restarted(deployed):
    before = deployed.pids()
    unit = "/etc/systemd/system/lae-monitor-crashes.service"
    deployed.monitor.exec(["touch", "-d", "+2 seconds", unit])  # as a run leaves it that ended before the restart
    assert deployed.play("monitor").fine().changed() == {"monitor1": 2}
    after = deployed.pids()
    assert {part for part in before if before[part] != after[part]} == {"crashes"}
