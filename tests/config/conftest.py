import os
import sys

import pytest

from lae_monitor.config import ConfigError, load
from lae_monitor.kinds import KINDS


@pytest.fixture(autouse=True)
def default(tmp_path_factory, monkeypatch):
    """The place of the default file: not that of this host; and no variables of whoever runs this."""
    for name in [name for name in os.environ if name.startswith("LAE_MONITOR")]:
        monkeypatch.delenv(name)
    path = tmp_path_factory.mktemp("etc") / "lae-monitor.toml"
    monkeypatch.setattr(sys.modules["lae_monitor.config.load"], "DEFAULT_PATH", path)  # the name is a function's, too
    return path


@pytest.fixture
def loaded(tmp_path):
    """Loads TOML text, with variables."""

    def load_text(text, **environ):
        file = tmp_path / "lae-monitor.toml"
        file.write_text(text)
        return load(file, KINDS, environ)

    return load_text


@pytest.fixture
def problems(loaded):
    """The sentences that TOML text earns."""

    def problems_of(text, **environ):
        with pytest.raises(ConfigError) as caught:
            loaded(text, **environ)
        return caught.value.problems

    return problems_of
