"""What the gatherer remembers that the archive does not hold: names it never asks for again, who was heard, who is there.

    <state>/<process>.db      which this process alone writes; `look()` is for all others
    <state>/<process>.open    locked while what the database says of connections is true: one that was killed says nothing

Without them nothing is lost: some refused incidents are asked for and refused once more, and which incident is which is read
from the archive again.
"""

import itertools
import logging
import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from lae_monitor.archive.small_files import hold, is_held
from lae_monitor.store import sqlite

log = logging.getLogger(__name__)

# What a later release adds are tables of their own: the ones that there are stay as earlier releases made them.
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS refused (cluster TEXT, host TEXT, name TEXT, code TEXT, time REAL,
    PRIMARY KEY (cluster, host, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heard (cluster TEXT, host TEXT, time REAL, tub TEXT, peer TEXT,
    PRIMARY KEY (cluster, host)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS connections (number INTEGER PRIMARY KEY, cluster TEXT, host TEXT, since REAL, tub TEXT,
    peer TEXT);
CREATE TABLE IF NOT EXISTS registered (cluster TEXT, host TEXT, PRIMARY KEY (cluster, host)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claimed (address TEXT PRIMARY KEY, cluster TEXT, host TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stored (cluster TEXT, host TEXT, name TEXT, key BLOB,
    PRIMARY KEY (cluster, host, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS stored_key ON stored (key);
"""
_CONNECT: Final = "INSERT INTO connections VALUES (?, ?, ?, ?, ?, ?)"
LOCK_WAIT: Final = 0.1  # seconds; a process that asks has the lock for a moment

Value = str | float | bytes | None


class Heard(NamedTuple):
    """When a host was last heard, over which connection."""

    cluster: str
    host: str
    time: float
    tub: str
    peer: str


class Connection(NamedTuple):
    """A node that is connected, and since when."""

    cluster: str
    host: str
    since: float
    tub: str
    peer: str


class Stored(NamedTuple):
    """An incident that is stored, and which it is: None for one that does not say."""

    cluster: str
    host: str
    name: str
    key: bytes | None


class Expected(NamedTuple):
    """Who may report: `registered` are cluster and host of each FURL, `claimed` those of each claimed address."""

    registered: frozenset[tuple[str, str]] = frozenset()
    claimed: Mapping[str, tuple[str, str]] = MappingProxyType({})


class Seen(NamedTuple):
    """What `look()` saw. `is_open`: a gatherer says who is connected; without one, nobody is."""

    is_open: bool
    heard: list[Heard]
    connections: list[Connection]
    expected: Expected


class State:
    """The database at `path`; one that is damaged is put aside and begun anew."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._connections: dict[int, Connection] = {}  # what the database should say; a write of it may fail
        self._numbers = itertools.count(1)
        self._expected: Expected | None = None  # as it was written
        self._lock: int | None = None
        # NORMAL: what a power cut takes is asked for again. A new one is filled again: names are asked for and refused once
        # more, who may report is in the credentials, which incident is which in the archive.
        self._database = sqlite.opened(path, _SCHEMA, synchronous="NORMAL")

    def refused(self, cluster: str, host: str) -> list[str]:
        """The names that were refused for good; none when they cannot be read."""
        rows = self._read("SELECT name FROM refused WHERE cluster = ? AND host = ?", cluster, host)
        return [str(name) for (name,) in rows]

    def refuse(self, cluster: str, host: str, name: str, code: str, time: float) -> None:
        """Remembers a name; if that fails, it is asked for, and refused, again."""
        self._write(("INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?)", [(cluster, host, name, code, time)]))

    def hear(self, heard: Iterable[Heard]) -> None:
        """Remembers who was heard, of several nodes of a host the latest; if that fails, the next time will tell."""
        latest = sorted(heard, key=lambda one: one.time)
        self._write(("INSERT OR REPLACE INTO heard VALUES (?, ?, ?, ?, ?)", latest))

    def expect(self, expected: Expected) -> None:
        """Says who may report to those who are kept from the credentials; if that fails, the next time will."""
        if expected != self._expected and self._write(
            ("DELETE FROM registered", [()]),
            ("INSERT INTO registered VALUES (?, ?)", sorted(expected.registered)),
            ("DELETE FROM claimed", [()]),
            ("INSERT INTO claimed VALUES (?, ?, ?)", [(name, *place) for name, place in expected.claimed.items()]),
        ):
            self._expected = expected

    def last_heard(self) -> list[Heard]:
        return _heard(self._database)

    def move_host(self, old: tuple[str, str], new: tuple[str, str]) -> None:
        """What is remembered of a host's names is from now on of another one's, too."""
        self._write(
            ("INSERT OR IGNORE INTO refused SELECT ?, ?, name, code, time FROM refused WHERE cluster = ? AND host = ?",
             [(*new, *old)]),
        )  # fmt: skip

    # ---- which incident is which -----------------------------------------------------------------------------------

    def stored(self, cluster: str, host: str) -> set[str]:
        """The names of a host's incidents whose identities are remembered."""
        return {
            str(name) for (name,) in self._read("SELECT name FROM stored WHERE cluster = ? AND host = ?", cluster, host)
        }

    def who_has(self, key: bytes) -> list[tuple[str, str, str]]:
        """Cluster, host and name under which an incident is stored; several when it was stored before it was looked at."""
        rows = self._read("SELECT cluster, host, name FROM stored WHERE key = ?", key)
        return [(str(cluster), str(host), str(name)) for cluster, host, name in rows]

    def remember(self, stored: Iterable[Stored]) -> None:
        """If that fails, it is read from the archive at the next start."""
        self._write(("INSERT OR REPLACE INTO stored VALUES (?, ?, ?, ?)", stored))

    def forget(self, cluster: str, host: str, names: Iterable[str]) -> None:
        """These incidents are no longer stored."""
        rows = [(cluster, host, name) for name in names]
        self._write(("DELETE FROM stored WHERE cluster = ? AND host = ? AND name = ?", rows))

    def _read(self, question: str, *values: Value) -> list[tuple[Value, ...]]:
        try:
            return list(self._database.execute(question, values))
        except sqlite3.Error as error:
            log.warning("state not read: %s", error)
            return []

    # ---- connections -----------------------------------------------------------------------------------------------

    def settle_connections(self) -> None:
        """Writes who is connected anew, which mends what could not be written before; at first it forgets whom a killed
        process left. From then on others may believe what the database says of connections.
        """
        rows = [(number, *connection) for number, connection in self._connections.items()]
        if self._write(("DELETE FROM connections", [()]), (_CONNECT, rows)) and self._lock is None:
            try:
                self._lock = hold(self._path.with_suffix(".open"), within=LOCK_WAIT)
            except OSError as error:
                log.warning("nobody else learns who is connected: %s", error)

    def connected(self, connection: Connection) -> int:
        """Remembers a connection; returns its number, for `disconnected()`."""
        number = next(self._numbers)
        self._connections[number] = connection
        self._write((_CONNECT, [(number, *connection)]))
        return number

    def disconnected(self, number: int) -> None:
        """Forgets a connection; one that is forgotten already is no matter."""
        if self._connections.pop(number, None) is not None:
            self._write(("DELETE FROM connections WHERE number = ?", [(number,)]))

    def _write(self, *statements: tuple[str, Iterable[tuple[Value, ...]]]) -> bool:
        """All of it or nothing; returns which."""
        try:
            with sqlite.transaction(self._database):
                for statement, rows in statements:
                    self._database.executemany(statement, rows)
        except sqlite3.Error as error:
            log.warning("state not written: %s", error)
            return False
        return True

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            self._write(("DELETE FROM connections", [()]))
        self._connections.clear()
        self._database.close()


def _heard(database: sqlite3.Connection) -> list[Heard]:
    return [Heard(*row) for row in database.execute("SELECT * FROM heard ORDER BY cluster, host")]


# ---- for others ----------------------------------------------------------------------------------------------------


def look(path: Path) -> Seen:
    """What the database at `path` says, at once and without a trace; nothing when there is none.

    Raises:
        sqlite3.Error: it cannot be read.
        OSError: as whoever we are we may not.
    """
    # First the lock: who holds it has forgotten the connections of earlier processes before.
    is_open = is_held(path.with_suffix(".open"))
    with suppress(FileNotFoundError):
        return sqlite.look(path, lambda database: _seen(database, is_open=is_open))
    return Seen(is_open, [], [], Expected())


def _seen(database: sqlite3.Connection, *, is_open: bool) -> Seen:
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    heard = _heard(database) if "heard" in tables else []
    connections = []
    if is_open and "connections" in tables:
        columns = ", ".join(Connection._fields)
        rows = database.execute(f"SELECT {columns} FROM connections ORDER BY number")  # noqa: S608 - names of our own
        connections = [Connection(*row) for row in rows]
    if "claimed" not in tables:
        return Seen(is_open, heard, connections, Expected())
    registered = frozenset(database.execute("SELECT cluster, host FROM registered"))
    claimed = {
        name: (cluster, host) for name, cluster, host in database.execute("SELECT address, cluster, host FROM claimed")
    }
    return Seen(is_open, heard, connections, Expected(registered, claimed))
