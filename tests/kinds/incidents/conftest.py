"""A gatherer in a process of its own, and programs that report to it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from gatherer_process import gatherer_in


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    """One gatherer for all tests that need no more than that it runs; each uses hosts of its own."""
    with gatherer_in(tmp_path_factory.mktemp("running")) as made:
        yield made.start({"kinds.incidents.nodes.node.RECORDING": 4.0})


@pytest.fixture
def gatherer(tmp_path, request):
    """`@pytest.mark.parametrize("gatherer", [LINES], indirect=True)` adds lines to [gatherers.incidents]."""
    with gatherer_in(tmp_path / "gatherer", extra=getattr(request, "param", "")) as made:
        yield made
