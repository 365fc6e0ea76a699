"""A damaged ledger is set aside and begun anew; one that the disk or the rights keep from us is left as it is. What is written
is written whole, and others see it without a trace.
"""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from lae_monitor.store import aside, sqlite

SCHEMA = "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, text TEXT)"


def filled(path):
    database = sqlite.opened(path, SCHEMA)
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
    database = sqlite.opened(path, SCHEMA)
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
    sqlite.opened(tmp_path / "x.db", SCHEMA).close()
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

    monkeypatch.setattr(sqlite, "_open", failing)
    with pytest.raises(sqlite3.OperationalError):
        sqlite.opened(path, SCHEMA)
    assert path.read_bytes() == before
    assert aside.asides(path) == []


def test_nothing_is_set_aside_on_a_disk_that_takes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "x.db"
    garbage(path)

    def full(_folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(aside, "_try_disk", full)
    with pytest.raises(OSError, match="No space left"):
        sqlite.opened(path, SCHEMA)
    assert path.exists()


# ---- transactions ----------------------------------------------------------------------------------------------------


def fill_the_disk(database):
    database.execute("PRAGMA max_page_count = 10")
    with sqlite.transaction(database):
        database.executemany("INSERT INTO t (text) VALUES (?)", (("x" * 4000,) for _ in range(50)))


def end_it_and_fill_the_disk(database):
    """SQLite ends a transaction by itself for some errors of the disk."""
    with sqlite.transaction(database):
        database.execute("INSERT INTO t (text) VALUES ('x')")
        database.execute("ROLLBACK")
        fill_the_disk(database)
        database.execute("ROLLBACK")


@pytest.mark.parametrize("fill", [fill_the_disk, end_it_and_fill_the_disk])
def test_what_fails_within_is_not_written_and_said_and_the_next_transaction_works(tmp_path, fill):
    database = sqlite.opened(tmp_path / "x.db", SCHEMA)
    with pytest.raises(sqlite3.OperationalError) as full:
        fill(database)
    assert full.value.sqlite_errorcode == sqlite3.SQLITE_FULL
    with sqlite.transaction(database):
        database.execute("INSERT INTO t (text) VALUES ('y')")
    assert database.execute("SELECT text FROM t").fetchall() == [("y",)]
    database.close()


def test_a_commit_that_fails_leaves_no_transaction_open(tmp_path):
    schema = "CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (a REFERENCES a DEFERRABLE INITIALLY DEFERRED);"
    database = sqlite.opened(tmp_path / "x.db", schema)
    database.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError), sqlite.transaction(database):
        database.execute("INSERT INTO b VALUES (1)")  # COMMIT refuses it
    with sqlite.transaction(database):
        database.execute("INSERT INTO a VALUES (1)")
    assert database.execute("SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)").fetchone() == (1, 0)
    database.close()


# ---- looking ---------------------------------------------------------------------------------------------------------


def texts(database):
    return [text for (text,) in database.execute("SELECT text FROM t")]


def contents(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_looking_at_a_closed_one_leaves_no_trace(tmp_path):
    filled(tmp_path / "x.db")
    before = contents(tmp_path)
    assert len(sqlite.look(tmp_path / "x.db", texts)) == 500
    assert contents(tmp_path) == before
    assert list(before) == ["x.db"]


def test_looking_at_one_of_a_killed_process_sees_all_and_leaves_no_trace(tmp_path):
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom lae_monitor.store import sqlite\n"
        f"database = sqlite.opened(Path(sys.argv[1]), {SCHEMA!r})\n"
        "database.execute(\"INSERT INTO t (text) VALUES ('of the log')\")\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "x.db"], check=False)
    assert done.returncode == -signal.SIGKILL
    before = contents(tmp_path)
    assert {*before} == {"x.db", "x.db-wal", "x.db-shm"}
    assert sqlite.look(tmp_path / "x.db", texts) == ["of the log"]
    assert contents(tmp_path) == before


def test_there_is_nothing_to_look_at(tmp_path):
    with pytest.raises(FileNotFoundError):
        sqlite.look(tmp_path / "x.db", texts)
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_opened_or_closed_meanwhile_is_looked_at_again(tmp_path):
    filled(tmp_path / "x.db")
    tries = []

    def read(database):
        tries.append(database)
        if len(tries) < sqlite.TRIES:
            raise sqlite3.OperationalError("disk I/O error")
        return texts(database)

    assert len(sqlite.look(tmp_path / "x.db", read)) == 500
    tries.clear()
    with pytest.raises(sqlite3.OperationalError, match=f"{tmp_path}/x.db: no such table"):
        sqlite.look(tmp_path / "x.db", lambda database: database.execute("SELECT * FROM other"))
