"""A command that only looks leaves no folder behind, which root would own and the monitor's account could not write to."""

import os
import subprocess
import sys

import pytest

from lae_monitor.process.running import only_one
from lae_monitor.service.serve import PROCESS


@pytest.mark.parametrize(
    "words",
    [("store", "status"), ("store", "rebuild"), ("archive", "status"), ("search", "x"), ("host", "list"), ("token", "list")],
    ids=" ".join,
)  # fmt: skip
def test_nothing_is_made_where_nothing_ran(tmp_path, words):
    config = tmp_path / "lae.toml"
    config.write_text(f'[state]\npath = "{tmp_path / "state"}"\n')
    done = subprocess.run(
        [sys.executable, "-m", "lae_monitor", *words, "--config", str(config)],
        capture_output=True, text=True, timeout=120, env={**os.environ, "NO_COLOR": "1"}, check=False,
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == [config]
    assert "Next: " in done.stdout + done.stderr
    if words[0] != "token":  # nobody can send yet: that is an answer
        assert done.returncode == 69
        assert str(tmp_path / "state") in done.stderr


def test_a_rebuild_beside_a_serve_that_does_not_answer_is_try_again(tmp_path):
    config = tmp_path / "lae.toml"
    config.write_text(f'[state]\npath = "{tmp_path / "state"}"\n')
    (tmp_path / "state").mkdir(mode=0o700)
    with only_one(tmp_path / "state", PROCESS):
        done = subprocess.run(
            [sys.executable, "-m", "lae_monitor", "store", "rebuild", "--config", str(config)],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 75
    assert "already running" in done.stderr
    assert "Next: try again" in done.stderr
    assert "Traceback" not in done.stderr
