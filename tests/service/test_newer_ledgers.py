"""A ledger that a newer release wrote in a new form is not misread: it is refused by name, and stays as it is."""

import sqlite3
from contextlib import closing

import pytest

from lae_monitor.alerts.ledger import Ledger as AlertsLedger
from lae_monitor.kinds.crashes.crashmover.ledger import Ledger as CrashmoverLedger
from lae_monitor.kinds.incidents.state import State
from lae_monitor.mover.ledger import Ledger as MoverLedger
from lae_monitor.store.ledgers import VERSION


@pytest.mark.parametrize("open_ledger", [MoverLedger, CrashmoverLedger, AlertsLedger, State])
def test_a_newer_ledger_is_refused_by_name_and_left_alone(tmp_path, open_ledger):
    path = tmp_path / "some.db"
    open_ledger(path).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    data = path.read_bytes()
    with pytest.raises(sqlite3.Error) as refused:
        open_ledger(path)
    said = f"a newer release wrote it (version {VERSION + 1}, this release knows {VERSION}): install that release again"
    assert str(refused.value) == f"{path}: {said}"
    assert path.read_bytes() == data
