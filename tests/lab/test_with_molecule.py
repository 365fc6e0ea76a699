"""Molecule's default scenario on the lab's hosts: converge, idempotence, verify by testinfra, a clean dry run.

It runs after test_site.py, which leaves the hosts as they were: it takes them as a contributor's `molecule test` makes them.
"""

import os
import subprocess
import sys
from pathlib import Path

from lab_places import CHECKOUT

BIN = Path(sys.executable).parent


def test_the_default_scenario_passes(lab):
    subprocess.run([sys.executable, CHECKOUT / "requirements" / "wheelhouse.py"], check=True, capture_output=True)
    environ = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1", "NO_COLOR": "1"}
    done = lab.run(
        [BIN / "molecule", "test", "--scenario-name", "default"],
        cwd=CHECKOUT, env=environ, capture_output=True, text=True, timeout=850,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
