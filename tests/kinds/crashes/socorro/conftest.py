"""The believable fleet of tests/web, which these tests add their crashes to."""

import sys
from itertools import count
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "web"))
sys.path.insert(0, str(Path(__file__).parents[3] / "query"))

from running import Running

_serial = count()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = Running(tmp_path_factory.mktemp("fleet"))
    yield made
    made.close()


@pytest.fixture
def place() -> str:
    """A cluster that no other test has."""
    return f"c{next(_serial)}"
