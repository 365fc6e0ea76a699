import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from monitor import Monitor


@pytest.fixture
def monitor(tmp_path):
    with Monitor(tmp_path / "monitor") as running:
        yield running
