"""Playbooks on a fleet that is deployed: verify.yml is content, and a dry run would change nothing and shows no FURL."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCENARIO = Path(__file__).parents[1]
HOUSE = SCENARIO.parents[1]
SECRET = re.compile(r"pb://[a-z2-7]{32}@[^\s/]+/[a-z2-7]{16,}")


def play(name, *options):
    """Runs a playbook; returns its exit code and all that it said."""
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", os.environ["LAE_INVENTORY"]]
    done = subprocess.run(
        [*command, HOUSE / "playbooks" / name, *options], cwd=SCENARIO, capture_output=True, text=True, check=False
    )
    return done.returncode, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)


@pytest.fixture(scope="module")
def dry():
    code, said = play("site.yml", "--check", "--diff", "-vvv")
    assert code == 0, said[-6000:]
    return said


def would_change(said):
    """The tasks that a run changed something in."""
    return [part.splitlines()[0] for part in said.split("\nTASK ")[1:] if re.search(r"^changed: ", part, re.MULTILINE)]


def test_the_roles_keep_what_they_promise():
    code, said = play("verify.yml")
    assert code == 0, said[-6000:]


def test_a_dry_run_would_change_nothing(dry, hosts):
    counted = dict(re.findall(r"^(\S+)\s+: ok=\d+ +(.*)$", dry, re.MULTILINE))
    assert hosts <= counted.keys()
    for host, counts in counted.items():
        assert re.match(r"changed=0 +unreachable=0 +failed=0 ", counts), f"{host} {counts}: {would_change(dry)}"


def test_a_dry_run_tells_no_secret(dry):
    assert len(dry) > 10_000
    assert SECRET.findall(dry) == []


def test_a_secret_would_be_found():
    assert SECRET.search(f"x = pb://{'a' * 32}@tcp:monitoring.lab:3118/{'b' * 32}")
