"""One believable fleet for all of the folder's tests; what a test adds, it adds to a cluster of its own."""

import sys
from itertools import count
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "query"))

from running import Running

_serial = count()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fleet")


@pytest.fixture(scope="module")  # a process has one embedded store open at a time, and other folders have theirs
def site(folder):
    made = Running(folder)
    yield made
    made.close()


@pytest.fixture
def place() -> str:
    """A cluster that no other test has."""
    return f"w{next(_serial)}"
