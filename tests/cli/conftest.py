"""The believable fleet of tests/web, served over HTTP, and the command line that finds it by its state folder."""

import os
import sys
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "web"))
sys.path.insert(0, str(Path(__file__).parents[1] / "query"))

from running import Running

from lae_monitor.cli.group import top

_serial = count()


class Said(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fleet")


@pytest.fixture(scope="module")  # a process has one embedded store open at a time, and other folders have theirs
def site(folder):
    made = Running(folder)
    made.serve()
    yield made
    made.close()


@pytest.fixture
def place() -> str:
    return f"k{next(_serial)}"


@pytest.fixture
def state(site, tmp_path):
    """A state folder whose node.url leads to the fleet."""
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "node.url").write_text(site.url + "/\n")
    (tmp_path / "lae.toml").write_text(f'[state]\npath = "{folder}"\n')
    return folder


@pytest.fixture
def cli(state, tmp_path, monkeypatch):
    """Runs a command; `color` as on a terminal."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith("LAE_MONITOR") or name in {"NO_COLOR", "http_proxy", "HTTP_PROXY"}:
            monkeypatch.delenv(name)

    def run(*arguments: str, color: bool = False) -> Said:
        done = CliRunner().invoke(top, ["--config", str(tmp_path / "lae.toml"), *arguments], color=color)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Said(done.exit_code, done.stdout, done.stderr)

    return run
