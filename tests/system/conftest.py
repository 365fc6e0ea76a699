import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from monitor import Monitor


@pytest.fixture(scope="module")
def monitor(tmp_path_factory):
    """One for the tests of a file, each of which looks for what it sent itself."""
    with Monitor(tmp_path_factory.mktemp("running") / "monitor") as running:
        yield running
