"""The hosts of the scenario as testinfra sees them; what failed leaves the journals of our units to read.

Both scenarios use these tests. LAE_INVENTORY names their inventory; with LAE_LAB, its hosts are a lab's, and reached by ssh.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import testinfra

SCENARIO = Path(__file__).parents[1]


def members(group):
    """The hosts of a group of the inventory."""
    program = Path(sys.executable).with_name("ansible-inventory")
    listed = subprocess.run([program, "-i", os.environ["LAE_INVENTORY"], "--list"], capture_output=True, check=True)
    return json.loads(listed.stdout)[group]["hosts"]


MONITORS, NODES = members("lae_monitor"), members("lae_node")


def host(name):
    if "LAE_LAB" not in os.environ:
        return testinfra.get_host(f"podman://{name}")
    lab = Path(os.environ["LAE_LAB"]).resolve()
    proxy = f"-o ProxyUseFdpass=yes -o ProxyCommand='{SCENARIO}/into_lab.py %h %p'"
    return testinfra.get_host(f"ssh://{name}?ssh_config={lab}/ssh_config", ssh_extra_args=proxy)


@pytest.fixture(scope="session", params=MONITORS)
def monitor(request):
    return host(request.param)


@pytest.fixture(scope="session", params=NODES)
def node(request):
    return host(request.param)


@pytest.fixture(scope="session", params=[*MONITORS, *NODES])
def each(request):
    return host(request.param)


@pytest.fixture(scope="session")
def before(each):
    """What prepare.yml kept of the host: every path, and its type, mode and owner."""
    name = each.check_output("hostname")
    return Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], f"before-{name}").read_text()


@pytest.fixture(scope="session")
def is_monitor(each):
    return each.check_output("hostname") in MONITORS


@pytest.fixture(scope="session")
def hosts():
    return {*MONITORS, *NODES}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for name in {"monitor", "node", "each"} & item.funcargs.keys():
            told = item.funcargs[name].run("journalctl --no-pager --quiet --lines=60 --unit='lae-*'").stdout
            report.sections.append(("journal of our units", told or "empty"))
    return report
