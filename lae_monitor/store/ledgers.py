"""How all SQLite files of ours are opened. A damaged one is set aside and begun anew; a full disk is waited for."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lae_monitor.store.aside import set_aside

# Of every ledger of this release, as `PRAGMA user_version` says it. New tables and columns need no new one: earlier releases
# do not look at them. A change that they would misread needs one.
VERSION: Final = 0
_DAMAGE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def opened(path: Path, schema: str, *, busy: int = 0, synchronous: str = "FULL") -> sqlite3.Connection:
    """Opens, and makes, the file at `path`, readable by this account only, in WAL mode, without implicit transactions.

    Args:
        schema: statements that make what is missing.
        busy: milliseconds to wait for another process.
        synchronous: "FULL" for what a power cut must not take.

    Raises:
        sqlite3.Error: there is no space, no right, or no descriptor: the file is as it was.
        NewerLedger: a newer release wrote it: the file is as it was.
        OSError: the same, when a damaged one was to be set aside.
    """
    with naming(path):
        try:
            return _open(path, schema, busy, synchronous)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            set_aside(path, str(error))
            return _open(path, schema, busy, synchronous)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of SQLite do not say which file they are about; within this, they do."""
    try:
        yield
    except sqlite3.Error as error:
        error.args = (f"{path}: {error}",)
        raise


def check_version(database: sqlite3.Connection) -> None:
    """For those who only read a ledger, too: a later form must not be misread.

    Raises:
        NewerLedger
        sqlite3.Error: it cannot be read.
    """
    [version] = database.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        wrote = f"a newer release wrote it (version {version}, this release knows {VERSION})"
        raise NewerLedger(f"{wrote}: install that release again")


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is not as SQLite wrote it; everything else is the environment's fault, or ours."""
    return isinstance(error, _Damaged) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


class NewerLedger(sqlite3.NotSupportedError):
    """A newer release wrote the ledger, in a form that this one would misread."""


class _Damaged(sqlite3.DatabaseError):
    pass


def _open(path: Path, schema: str, busy: int, synchronous: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        database.execute(f"PRAGMA busy_timeout = {busy}")
        check_version(database)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {synchronous}")
        [problem] = database.execute("PRAGMA quick_check(1)").fetchone()
        if problem != "ok":
            raise _Damaged(problem)  # noqa: TRY301 - closed on the way
        database.executescript(schema)
        path.chmod(0o600)
    except BaseException:
        database.close()
        raise
    return database
