import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
for folder in (TESTS / "alerts", TESTS / "system", TESTS / "query"):
    sys.path.insert(0, str(folder))

from receivers import Hooks, MailServer  # noqa: E402


@pytest.fixture
def hooks():
    """A real HTTP server that webhooks are sent to."""
    with Hooks() as made:
        yield made


@pytest.fixture
def mails():
    """A real mail server."""
    with MailServer() as made:
        yield made
