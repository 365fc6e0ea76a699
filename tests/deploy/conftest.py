"""Ansible as an operator runs it, from the checkout or from elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="session")
def tool(tmp_path_factory):
    """Runs a program of the virtual environment in a folder; it has to exit with `code`. Returns what it printed."""
    home = tmp_path_factory.mktemp("home")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "AWS_", "LAE_"))}

    def run(*command, cwd=HOUSE, code=0, timeout=280, **env):
        done = subprocess.run(
            [BIN / command[0], *command[1:]],
            cwd=cwd,
            env={
                **clean, "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(home), "LANG": "C.UTF-8",
                "ANSIBLE_NOCOLOR": "1", "NO_COLOR": "1", **env,
            },
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{' '.join(map(str, command))}\n{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    return run
