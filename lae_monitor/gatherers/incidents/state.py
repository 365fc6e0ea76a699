"""What the gatherer remembers that the archive does not hold: names it will not ask for again, and who was heard when.

`state/<process>.db`, which this process alone writes. Without it nothing is lost: some refused incidents are asked for and
refused once more.
"""

import logging
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

log = logging.getLogger(__name__)

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS refused (cluster TEXT, host TEXT, name TEXT, code TEXT, time REAL,
    PRIMARY KEY (cluster, host, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heard (cluster TEXT, host TEXT, time REAL, tub TEXT, peer TEXT,
    PRIMARY KEY (cluster, host)) WITHOUT ROWID;
"""


class Heard(NamedTuple):
    """When a host was last heard, over which connection."""

    cluster: str
    host: str
    time: float
    tub: str
    peer: str


class State:
    """The database at `path`; one that is damaged is put aside and begun anew."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._database = _open(path)
        except sqlite3.DatabaseError as error:
            aside = path.with_suffix(".damaged")
            log.error("%s: %s; put aside as %s", path, error, aside)  # noqa: TRY400 - the message says it all
            path.replace(aside)
            for rest in ("-wal", "-shm"):
                path.with_name(path.name + rest).unlink(missing_ok=True)
            self._database = _open(path)

    def refused(self, cluster: str, host: str) -> list[str]:
        """The names that were refused for good; none when they cannot be read."""
        try:
            rows = self._database.execute("SELECT name FROM refused WHERE cluster = ? AND host = ?", (cluster, host))
            return [name for (name,) in rows]
        except sqlite3.Error as error:
            log.warning("state not read: %s", error)
            return []

    def refuse(self, cluster: str, host: str, name: str, code: str, time: float) -> None:
        """Remembers a name; if that fails, it is asked for, and refused, again."""
        self._write("INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?)", [(cluster, host, name, code, time)])

    def hear(self, heard: Iterable[Heard]) -> None:
        """Remembers who was heard; if that fails, the next time will tell."""
        self._write("INSERT OR REPLACE INTO heard VALUES (?, ?, ?, ?, ?)", heard)

    def _write(self, statement: str, rows: Iterable[tuple[str | float, ...]]) -> None:
        try:
            with self._database:
                self._database.execute("BEGIN")
                self._database.executemany(statement, rows)
        except sqlite3.Error as error:
            log.warning("state not written: %s", error)

    def last_heard(self) -> list[Heard]:
        return [Heard(*row) for row in self._database.execute("SELECT * FROM heard ORDER BY cluster, host")]

    def close(self) -> None:
        self._database.close()


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")  # what a power cut takes is asked for again
        database.executescript(_SCHEMA)
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database
