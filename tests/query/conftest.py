"""One store for the folder's tests, opened by each module; each test has a cluster of its own in it."""

import sys
from itertools import count
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from shelf import Shelf

_serial = count()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")  # a process has one embedded store open at a time, and other folders have theirs
def shelf(folder):
    made = Shelf(folder)
    yield made
    made.close()


@pytest.fixture
def place() -> str:
    """A cluster that no other test has."""
    return f"c{next(_serial)}"
