"""A node that does not reach the crash collector is told so before anything is changed."""

from lab_site import one_line


def test_a_host_that_does_not_reach_the_collector_is_told_so_before_anything_is_changed(deployed):
    run = deployed.play("nodes", "-e", "crash_reporting_url=http://monitoring.lab:9/submit")
    assert run.code != 0
    assert "crash_reporting_url: http://monitoring.lab:9 is not reached from here" in one_line(run.said)
    assert run.changed() == {"node1": 0, "node2": 0}
