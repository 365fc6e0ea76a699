"""Molecule's default scenario, as a contributor's `molecule test` runs it: converge, idempotence, testinfra, a dry run."""

import os
import sys
from pathlib import Path

import pytest
from lab import Lab
from lab_places import CHECKOUT

BIN = Path(sys.executable).parent


@pytest.fixture
def new_lab(lab_is_possible, release):
    """Hosts of its own: it compares them with what they were before anything was installed."""
    with Lab(f"molecule-{os.getpid()}", owned=True) as lab:
        lab.up()
        yield lab


def test_the_default_scenario_passes(new_lab):
    environ = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1", "NO_COLOR": "1"}
    done = new_lab.run(
        [BIN / "molecule", "test", "--scenario-name", "default"],
        cwd=CHECKOUT, env=environ, capture_output=True, text=True, timeout=1700,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
