"""The lab for tests: monitor1 behind address translation, node1 and node2 with Tahoe-LAFS; made once for all tests.

    lab         three booted hosts, and nothing of ours on them
    site        a checkout and an EC2, to run playbooks with (lab_site.py)
    deployed    the same site, after one run of playbooks/site.yml on the new hosts

All tests of this folder run in one worker and share these hosts. So a test of `deployed` may run alone and in any order:
it finds the fleet as site.yml leaves it, and leaves it so. After a failed test site.yml runs again before the next one.

How to add a scenario (a failure, an upgrade, a way back): a file `scenarios/test_<what>.py`, whose tests take `deployed`:

    deployed.play("monitor", "-e", ...)     ansible-playbook playbooks/monitor.yml; returns exit code, text, changes by host
    deployed.monitor.exec([...])            a command on the monitor host; deployed.lab.hosts has the others
    deployed.ask("search", "kind:crash")    lae-monitor --json on the monitor host

Everything in scenarios/ has the marker `full`: `make test-all` runs it, `make test` does not. So do tests here that boot
another lab or restart a host. One alone:
`pytest tests/lab/scenarios/test_uninstall.py`. test_site.py is what `make test` runs; nothing there may take a minute.
Run only the playbook and the tags that are needed: monitor.yml takes a fourth of the time of site.yml.

With LAE_LAB_KEEP=1 the lab stays when the tests end, to look at.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from lab import THREE, Lab, obstacle, remove_orphans
from lab_places import CHECKOUT
from lab_site import Site, blocks

HERE = Path(__file__).parent
SCENARIOS = HERE / "scenarios"
TIMEOUT = 900  # seconds for a test; the first one makes image and lab, on a machine that is busy with other tests
LONG = 1800  # seconds for a scenario, which runs several playbooks
SPARE = (7001, 7002)  # ports of monitor1 that are forwarded as well, and that nothing of ours uses


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents and "lab_is_possible" in item.fixturenames:
            item.add_marker(pytest.mark.root)
            scenario = SCENARIOS in item.path.parents
            if scenario:
                item.add_marker(pytest.mark.full)
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(LONG if scenario else TIMEOUT))


@pytest.fixture(scope="session")
def say(pytestconfig):
    """Tells whoever waits at the terminal, past pytest's capture."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def to_the_terminal(text):
        with capture.global_and_fixture_disabled():
            print(f"\nlab: {text}", file=sys.stderr, flush=True)

    return to_the_terminal


@pytest.fixture(scope="session")
def lab_is_possible():
    """Skips what needs a lab where there can be none, and says why."""
    if reason := obstacle():
        pytest.skip(f"no lab on this machine: {reason}")


@pytest.fixture(scope="session")
def lab(lab_is_possible, say):
    remove_orphans()
    keep = os.environ.get("LAE_LAB_KEEP") == "1"
    made = Lab(f"test-{os.getpid()}", owned=not keep)
    monitor, *nodes = THREE
    made.up([replace(monitor, ports=(*monitor.ports, *SPARE)), *nodes], say=say)
    try:
        yield made
    finally:
        if keep:
            say(
                f"kept. Next: python tests/lab ssh --name {made.name} node1; at last: python tests/lab down {made.name}"
            )
        else:
            made.down()


@pytest.fixture(scope="session")
def release():
    """dist/ as `make wheelhouse` leaves it."""
    subprocess.run([sys.executable, CHECKOUT / "requirements" / "wheelhouse.py"], check=True, capture_output=True)
    return CHECKOUT / "dist"


@pytest.fixture(scope="session")
def site(lab, release, tmp_path_factory):
    made = Site(lab, tmp_path_factory.mktemp("controller") / "lae_monitor", release)
    ec2 = made.start_ec2()
    try:
        yield made
    finally:
        ec2.terminate()
        ec2.wait(30)


@pytest.fixture(scope="session")
def first_run(site):
    """site.yml on the new hosts, after what docs/deploy.md says to prepare: the inventory's graph, and the run."""
    listed, *prepare = blocks("Tell Ansible of your fleet")
    graph = site.shell(listed)
    for block in prepare:
        site.shell(block)
    return graph, site.play().fine()


@pytest.fixture
def deployed(first_run, site):
    if site.in_doubt:
        site.play().fine()
        site.in_doubt = False
    return site


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """What a failed test leaves to read: the journals of units that failed on the lab's hosts."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Site):
                value.in_doubt = True
            if isinstance(value, Lab) and value.hosts:
                report.sections.append((f"units that failed in the lab {value.name}", value.trouble() or "none"))
    return report
