"""The lab for tests: monitor1 behind address translation, node1 and node2 with Tahoe-LAFS; made once for all tests.

With LAE_LAB_KEEP=1 it stays when the tests end, to look at.
"""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from lab import Lab, obstacle, remove_orphans

HERE = Path(__file__).parent
TIMEOUT = 900  # seconds for a test; the first one makes image and lab, on a machine that is busy with other tests


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents and "lab_is_possible" in item.fixturenames:
            item.add_marker(pytest.mark.root)
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(TIMEOUT))


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
    made.up(say=say)
    try:
        yield made
    finally:
        if keep:
            say(
                f"kept. Next: python tests/lab ssh --name {made.name} node1; at last: python tests/lab down {made.name}"
            )
        else:
            made.down()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """What a failed test leaves to read: the journals of units that failed on the lab's hosts."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Lab) and value.hosts:
                report.sections.append((f"units that failed in the lab {value.name}", value.trouble() or "none"))
    return report
