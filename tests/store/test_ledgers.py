"""A damaged ledger is set aside and begun anew; one that the disk or the rights keep from us is left as it is."""

import os
import sqlite3

import pytest

from lae_monitor.store import aside, ledgers

SCHEMA = "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, text TEXT)"


def filled(path):
    database = ledgers.opened(path, SCHEMA)
    database.executemany("INSERT INTO t (text) VALUES (?)", (("x" * 500,) for _ in range(500)))
    database.close()


def garbage(path):
    path.write_bytes(os.urandom(20_000))


def garbage_within(path):
    """The head is as it was: only reading finds it."""
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(40_000))


@pytest.mark.parametrize("spoil", [garbage, garbage_within])
def test_a_damaged_one_is_set_aside_and_the_last_one_only_is_kept(tmp_path, spoil):
    path = tmp_path / "x.db"
    (tmp_path / "x.db.aside-20200101T000000Z").write_bytes(b"an earlier one")
    filled(path)
    spoil(path)
    database = ledgers.opened(path, SCHEMA)
    assert database.execute("SELECT count(*) FROM t").fetchone() == (0,)
    database.close()
    [kept] = aside.asides(path)
    assert kept.stat().st_size >= 20_000
    [notice] = [notice for notice in aside.notices() if str(path) in notice]
    assert kept.name in notice
    aside.remove(kept)
    assert notice not in aside.notices()


def test_an_empty_file_is_no_damage(tmp_path):
    (tmp_path / "x.db").touch()
    ledgers.opened(tmp_path / "x.db", SCHEMA).close()
    assert aside.asides(tmp_path / "x.db") == []


@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY]
)
def test_the_environment_is_to_blame_and_nothing_is_touched(tmp_path, monkeypatch, code):
    path = tmp_path / "x.db"
    filled(path)
    before = path.read_bytes()
    error = sqlite3.OperationalError("as SQLite says it")
    error.sqlite_errorcode = code

    def failing(*_arguments):
        raise error

    monkeypatch.setattr(ledgers, "_open", failing)
    with pytest.raises(sqlite3.OperationalError):
        ledgers.opened(path, SCHEMA)
    assert path.read_bytes() == before
    assert aside.asides(path) == []


def test_nothing_is_set_aside_on_a_disk_that_takes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "x.db"
    garbage(path)

    def full(_folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(aside, "_try_disk", full)
    with pytest.raises(OSError, match="No space left"):
        ledgers.opened(path, SCHEMA)
    assert path.exists()
