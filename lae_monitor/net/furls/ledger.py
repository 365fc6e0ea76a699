"""The database of a gatherer that admits peers by FURLs: connections, last contacts, expected hosts.

    <state>/<process>.db      which this process alone writes; `look()` is for all others
    <state>/<process>.open    locked while the connections in the database are true; a killed process does not hold it

Without them nothing is lost.
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
CREATE TABLE IF NOT EXISTS heard (cluster TEXT, host TEXT, time REAL, tub TEXT, peer TEXT,
    PRIMARY KEY (cluster, host)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS connections (number INTEGER PRIMARY KEY, cluster TEXT, host TEXT, since REAL, tub TEXT,
    peer TEXT);
CREATE TABLE IF NOT EXISTS registered (cluster TEXT, host TEXT, PRIMARY KEY (cluster, host)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claimed (address TEXT PRIMARY KEY, cluster TEXT, host TEXT) WITHOUT ROWID;
"""
_CONNECT: Final = "INSERT INTO connections VALUES (?, ?, ?, ?, ?, ?)"
LOCK_WAIT: Final = 0.1  # seconds; a process that asks has the lock for a moment

Value = str | float | bytes | None


class LastContact(NamedTuple):
    """The last contact with a host, and over which connection."""

    cluster: str
    host: str
    time: float
    tub: str
    peer: str


class Connection(NamedTuple):
    """A peer that is connected, and since when."""

    cluster: str
    host: str
    since: float
    tub: str
    peer: str


class Expected(NamedTuple):
    """The hosts that may report: `registered` by a FURL of their own, `claimed` by address."""

    registered: frozenset[tuple[str, str]] = frozenset()
    claimed: Mapping[str, tuple[str, str]] = MappingProxyType({})


class Snapshot(NamedTuple):
    """The database at one moment. `is_open`: a gatherer keeps the connections true; without one, there are none."""

    is_open: bool
    contacts: list[LastContact]
    connections: list[Connection]
    expected: Expected


class Ledger:
    """The database at `path`; a damaged one is set aside and begun anew. `schema` makes further tables of the kind."""

    def __init__(self, path: Path, schema: str = "") -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._connections: dict[int, Connection] = {}  # what the database should say; a write of it may fail
        self._numbers = itertools.count(1)
        self._expected: Expected | None = None  # as it was written
        self._lock: int | None = None
        # NORMAL: a power cut may take the newest rows. They are filled in again from the credentials and connections.
        self._database = sqlite.opened(path, _SCHEMA + schema, synchronous="NORMAL")

    def note(self, contacts: Iterable[LastContact]) -> None:
        """Keeps contacts, of several with a host the latest; if that fails, the next call will."""
        latest = sorted(contacts, key=lambda contact: contact.time)
        self._write(("INSERT OR REPLACE INTO heard VALUES (?, ?, ?, ?, ?)", latest))

    def expect(self, expected: Expected) -> None:
        """Keeps the expected hosts, for services that cannot read the credentials; if that fails, the next call will."""
        if expected != self._expected and self._write(
            ("DELETE FROM registered", [()]),
            ("INSERT INTO registered VALUES (?, ?)", sorted(expected.registered)),
            ("DELETE FROM claimed", [()]),
            ("INSERT INTO claimed VALUES (?, ?, ?)", [(name, *place) for name, place in expected.claimed.items()]),
        ):
            self._expected = expected

    def last(self) -> list[LastContact]:
        """The last contact with each host."""
        return _contacts(self._database)

    def settle_connections(self) -> None:
        """Writes the connections anew, which mends failed writes and, at first, removes those of a killed process. From
        then on the database's connections count as true.
        """
        rows = [(number, *connection) for number, connection in self._connections.items()]
        if self._write(("DELETE FROM connections", [()]), (_CONNECT, rows)) and self._lock is None:
            try:
                self._lock = hold(self._path.with_suffix(".open"), within=LOCK_WAIT)
            except OSError as error:
                log.warning("other processes cannot see which nodes are connected: %s", error)

    def connected(self, connection: Connection) -> int:
        """Keeps a connection; returns its number, for `disconnected()`."""
        number = next(self._numbers)
        self._connections[number] = connection
        self._write((_CONNECT, [(number, *connection)]))
        return number

    def disconnected(self, number: int) -> None:
        """Removes a connection, if it is still there."""
        if self._connections.pop(number, None) is not None:
            self._write(("DELETE FROM connections WHERE number = ?", [(number,)]))

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            self._write(("DELETE FROM connections", [()]))
        self._connections.clear()
        self._database.close()

    def _read(self, question: str, *values: Value) -> list[tuple[Value, ...]]:
        try:
            return list(self._database.execute(question, values))
        except sqlite3.Error as error:
            log.warning("state not read: %s", error)
            return []

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


def _contacts(database: sqlite3.Connection) -> list[LastContact]:
    return [LastContact(*row) for row in database.execute("SELECT * FROM heard ORDER BY cluster, host")]


# ---- for others ----------------------------------------------------------------------------------------------------


def look(path: Path) -> Snapshot:
    """What the database at `path` says now; nothing is written, and an absent one is empty.

    Raises:
        sqlite3.Error: it cannot be read.
        OSError: this account may not read it.
    """
    # First the lock: its holder has removed the connections of earlier processes before.
    is_open = is_held(path.with_suffix(".open"))
    with suppress(FileNotFoundError):
        return sqlite.look(path, lambda database: _snapshot(database, is_open=is_open))
    return Snapshot(is_open, [], [], Expected())


def _snapshot(database: sqlite3.Connection, *, is_open: bool) -> Snapshot:
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    contacts = _contacts(database) if "heard" in tables else []
    connections = []
    if is_open and "connections" in tables:
        columns = ", ".join(Connection._fields)
        rows = database.execute(f"SELECT {columns} FROM connections ORDER BY number")  # noqa: S608 - names of our own
        connections = [Connection(*row) for row in rows]
    if "claimed" not in tables:
        return Snapshot(is_open, contacts, connections, Expected())
    registered = frozenset(database.execute("SELECT cluster, host FROM registered"))
    claimed = {
        name: (cluster, host) for name, cluster, host in database.execute("SELECT address, cluster, host FROM claimed")
    }
    return Snapshot(is_open, contacts, connections, Expected(registered, claimed))
