"""One store for the folder's tests; each test has a cluster of its own in it."""

import sys
from itertools import count
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from shelf import Shelf

_serial = count()


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    made = Shelf(tmp_path_factory.mktemp("store"))
    yield made
    made.close()


@pytest.fixture
def place() -> str:
    """A cluster that no other test has."""
    return f"c{next(_serial)}"
