"""A ledger that a newer release wrote in a new form is not misread: it is refused by name, and stays as it is."""

import sqlite3
import subprocess
from contextlib import closing

import pytest
from monitor import LAE_MONITOR, Monitor

from lae_monitor.alerts.ledger import Ledger as AlertsLedger
from lae_monitor.kinds.crashes.crashmover.ledger import Ledger as CrashmoverLedger
from lae_monitor.kinds.incidents.state import State
from lae_monitor.mover.ledger import Ledger as MoverLedger
from lae_monitor.store.sqlite import VERSION

REFUSED = f"a newer release wrote it (version {VERSION + 1}, this release knows {VERSION}): install that release again"


def make_newer(path):
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")


@pytest.mark.parametrize("open_ledger", [MoverLedger, CrashmoverLedger, AlertsLedger, State])
def test_a_newer_ledger_is_refused_by_name_and_left_alone(tmp_path, open_ledger):
    path = tmp_path / "some.db"
    open_ledger(path).close()
    make_newer(path)
    data = path.read_bytes()
    with pytest.raises(sqlite3.Error) as refused:
        open_ledger(path)
    assert str(refused.value) == f"{path}: {REFUSED}"
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("ledger", "command"),
    [
        ("gather-incidents", ["gather", "incidents"]),
        ("gather-incidents", ["fleet", "status"]),
        ("mover", ["serve"]),
        ("mover", ["store", "rebuild"]),
        ("crashmover", ["crashmover", "--forever"]),
        ("crashmover", ["crashmover", "--all"]),
        ("crashmover", ["crashmover", "status"]),
        ("crashmover", ["crashmover", "retry", "--all"]),
        ("alerts", ["alert", "list"]),
    ],
)
def test_each_command_that_opens_a_newer_ledger_ends_with_a_sentence(tmp_path, ledger, command):
    destinations = '[gatherers.crashes.crashmover]\ndestinations = [{type = "null"}]'
    monitor = Monitor(tmp_path, extra=destinations)  # not started
    monitor.state.mkdir(mode=0o700)
    path = monitor.state / f"{ledger}.db"
    make_newer(path)
    data = path.read_bytes()
    ended = subprocess.run(
        [*LAE_MONITOR, "--config", monitor.config, *command], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 69, ended.stderr
    assert f"{path}: {REFUSED}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert path.read_bytes() == data
