"""The SQLite ledgers of all processes: opened, written in transactions, and looked at by others without a trace.

Each has one writing process. A damaged one is set aside and begun anew; a full disk is waited for; one that a newer release
wrote in a new form is refused.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

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
    """What `read` makes of the file at `path`, as it is at one moment. Nothing is written or made.

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


# What has to get where: a table of a ledger, with a row for each item and destination.
#
# A row is `pending` until its destination has the item, or does not get it: then its state says how it ended. It is written
# before the first try, so that a process that is killed goes on where it was, and tries again what was under way: an item
# gets there at least once. A failed try is repeated ever later. A dead letter is tried again when an operator says so.
MAX_ERROR: Final = 500  # characters of a reason that are kept
MAX_DOUBLINGS: Final = 30  # of the wait between tries; it is at its longest before


def delay(failures: int, first: float, longest: float, *, chance: float = 1.0, wait: float | None = None) -> float:
    """Seconds until the next try after `failures` of them: `first`, then twice as long each time, until `longest`.

    Args:
        chance: a random number from 0 to 1, so that items that failed together do not all come back together.
        wait: seconds that the destination asked for, at least.
    """
    doubled = first * 2.0 ** min(max(failures, 1) - 1, MAX_DOUBLINGS)
    return max(min(doubled, longest) * (0.5 + chance / 2), wait or 0.0)


class Outbox:
    """
    Args:
        table: has the columns destination, state, attempts, next_try and error, besides others.
        key: the columns that say which row it is; the first is the item.
        columns: what is read of a row.
    """

    def __init__(self, database: sqlite3.Connection, table: str, key: Sequence[str], columns: Sequence[str]) -> None:
        self._db = database
        self._table = table
        self._item = key[0]
        self._key = " AND ".join(f"{column} = ?" for column in key)
        self._columns = ", ".join(columns)

    def due(
        self, now: float, limit: int, destination: str = "", among: Collection[str] | None = None
    ) -> list[tuple[Any, ...]]:
        """What is to be tried by `now`, first what is due longest; only there, and only these items, where that is said."""
        chosen = "" if among is None else f" AND {self._item} IN (SELECT value FROM json_each(?))"
        return self._pending(
            self._columns,
            destination,
            f" AND next_try <= ?{chosen} ORDER BY next_try, {self._item} LIMIT ?",
            *(now, limit) if among is None else (now, json.dumps(list(among)), limit),
        )

    def waiting(self, destination: str = "") -> int:
        """How many items wait."""
        return int(self._pending("count(*)", destination)[0][0])

    def next_try(self, destination: str = "") -> float | None:
        """When the next one is due; None when none waits."""
        [[time]] = self._pending("min(next_try)", destination)
        return None if time is None else float(time)

    def _pending(self, columns: str, destination: str, rest: str = "", *values: object) -> list[tuple[Any, ...]]:
        there = " AND destination = ?" if destination else ""
        return self._db.execute(
            f"SELECT {columns} FROM {self._table} WHERE state = 'pending'{there}{rest}",
            (*[destination] * bool(destination), *values),
        ).fetchall()

    def tried(self, key: Sequence[str], *, error: str = "", **columns: object) -> None:
        """What became of a try: the columns as they are now. One that is to be repeated has a later `next_try`."""
        names = "".join(f", {name} = ?" for name in columns)
        self._db.execute(
            f"UPDATE {self._table} SET attempts = attempts + 1, error = ?{names} WHERE {self._key}",
            (error[:MAX_ERROR], *columns.values(), *key),
        )

    def hasten(self, now: float, latest: float, destination: str) -> None:
        """What waits until after `latest` is due now: nothing waits so long, unless the clock was set back."""
        self._db.execute(
            f"UPDATE {self._table} SET next_try = ? WHERE state = 'pending' AND destination = ? AND next_try > ?",
            (now, destination, latest),
        )

    def revive(self, now: float, items: Collection[str] | None = None) -> int:
        """Dead letters are due again: those of `items`, or all. Returns how many."""
        chosen = "" if items is None else f" AND {self._item} IN (SELECT value FROM json_each(?))"
        return self._db.execute(
            f"UPDATE {self._table} SET state = 'pending', attempts = 0, next_try = ? WHERE state = 'dead'{chosen}",
            (now,) if items is None else (now, json.dumps(list(items))),
        ).rowcount
