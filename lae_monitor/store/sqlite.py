"""The SQLite ledgers of all processes: opened, written in transactions, and looked at by others without a trace.

Each has one writing process. A damaged one is set aside and begun anew; a full disk is waited for; one that a newer release
wrote in a new form is refused.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, TypeVar

from lae_monitor.store.aside import set_aside

T = TypeVar("T")

# Of every ledger of this release, as `PRAGMA user_version` says it. New tables and columns need no new one: earlier releases
# do not look at them. A change that they would misread needs one.
VERSION: Final = 0
BUSY: Final = 10_000  # milliseconds to wait for another process
TRIES: Final = 3  # to look at a file that is opened or closed meanwhile
PAUSE: Final = 0.1  # seconds between them
_DAMAGE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def opened(path: Path, schema: str, *, synchronous: str = "FULL") -> sqlite3.Connection:
    """Opens, and makes, the file at `path`, readable by this account only, in WAL mode, without implicit transactions.

    Args:
        schema: statements that make what is missing.
        synchronous: "FULL" for what a power cut must not take.

    Raises:
        sqlite3.Error: there is no space, no right, or no descriptor: the file is as it was.
        NewerLedger: a newer release wrote it: the file is as it was.
        OSError: the same, when a damaged one was to be set aside.
    """
    with _naming(path):
        try:
            return _open(path, schema, synchronous)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            set_aside(path, str(error))
            return _open(path, schema, synchronous)


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All that is written within, or nothing of it."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:  # SQLite ends it by itself on a full disk
            database.execute("ROLLBACK")
        raise


def look(path: Path, read: Callable[[sqlite3.Connection], T]) -> T:
    """What `read` makes of the file at `path`, as it is at one moment. Nothing is written or made, whoever asks.

    Args:
        read: may be called again, if the file is opened or closed meanwhile.

    Raises:
        FileNotFoundError: there is none.
        NewerLedger: a newer release wrote it.
        sqlite3.Error, OSError: it cannot be read.
    """
    for number in range(1, TRIES + 1):
        try:
            with _naming(path):
                return _look(path, read)
        except NewerLedger:
            raise
        except sqlite3.Error:
            if number == TRIES:
                raise
            time.sleep(PAUSE)
    raise AssertionError


def _look(path: Path, read: Callable[[sqlite3.Connection], T]) -> T:
    path.stat()
    # Opened read-only, SQLite would still make the files beside a database that it does not find there. Nobody writes to
    # one without a log beside it, so that it can be taken as it is; with one, the log's index is only read, too.
    has_log = path.with_name(f"{path.name}-wal").exists()
    how = "mode=ro&readonly_shm=1" if has_log else "mode=ro&immutable=1"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, isolation_level=None)) as database:
        database.execute(f"PRAGMA busy_timeout = {BUSY}")
        database.execute("BEGIN")
        _check_version(database)
        return read(database)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of SQLite do not say which file they are about; within this, they do."""
    try:
        yield
    except sqlite3.Error as error:
        error.args = (f"{path}: {error}",)
        raise


def _check_version(database: sqlite3.Connection) -> None:
    """
    Raises:
        NewerLedger: this release would misread it.
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


def _open(path: Path, schema: str, synchronous: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        database.execute(f"PRAGMA busy_timeout = {BUSY}")
        _check_version(database)
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
