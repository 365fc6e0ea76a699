"""Every bench works: each is tried with little of everything. What it measures then means nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
sys.path.insert(0, str(HOUSE))
from bench.__main__ import PARTS  # noqa: E402 - bench is no package of the wheel


@pytest.mark.parametrize("part", PARTS)
def test_a_bench_measures_something(part):
    command = [sys.executable, "-m", "bench", "--small", part]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) > 2


def test_two_releases_are_compared():
    command = [sys.executable, "-m", "bench", "--small", "against", "HEAD", "sonar"]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " against " in done.stdout
