"""The gatherer's database: beside contacts with hosts, the names it never asks for again, and the identities of incidents.

Without it nothing is lost: some refused incidents are asked for and refused once more, and identities are read from the
archive again.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from lae_monitor.config import Settings
from lae_monitor.core.kind import Contacts
from lae_monitor.net.furls import status
from lae_monitor.net.furls.ledger import Ledger

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS refused (cluster TEXT, host TEXT, name TEXT, code TEXT, time REAL,
    PRIMARY KEY (cluster, host, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stored (cluster TEXT, host TEXT, name TEXT, key BLOB,
    PRIMARY KEY (cluster, host, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS stored_key ON stored (key);
"""


class Stored(NamedTuple):
    """An incident that is stored, and its identity: None for one without."""

    cluster: str
    host: str
    name: str
    key: bytes | None


class State(Ledger):
    """The database at `path`; a damaged one is set aside and begun anew."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA)

    def refused(self, cluster: str, host: str) -> list[str]:
        """The names that were refused for good; none when they cannot be read."""
        rows = self._read("SELECT name FROM refused WHERE cluster = ? AND host = ?", cluster, host)
        return [str(name) for (name,) in rows]

    def refuse(self, cluster: str, host: str, name: str, code: str, time: float) -> None:
        """Keeps a name; if that fails, it is asked for, and refused, again."""
        self._write(("INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?)", [(cluster, host, name, code, time)]))

    def move_host(self, old: tuple[str, str], new: tuple[str, str]) -> None:
        """The refused names of `old` are those of `new`, too."""
        self._write(
            ("INSERT OR IGNORE INTO refused SELECT ?, ?, name, code, time FROM refused WHERE cluster = ? AND host = ?",
             [(*new, *old)]),
        )  # fmt: skip

    # ---- identities ------------------------------------------------------------------------------------------------

    def stored(self, cluster: str, host: str) -> set[str]:
        """The names of a host's incidents whose identities are known here."""
        return {
            str(name) for (name,) in self._read("SELECT name FROM stored WHERE cluster = ? AND host = ?", cluster, host)
        }

    def with_key(self, key: bytes) -> list[tuple[str, str, str]]:
        """Cluster, host and name of an incident; several if it was stored again before its identity was read."""
        rows = self._read("SELECT cluster, host, name FROM stored WHERE key = ?", key)
        return [(str(cluster), str(host), str(name)) for cluster, host, name in rows]

    def remember(self, stored: Iterable[Stored]) -> None:
        """If that fails, the identity is read from the archive at the next start."""
        self._write(("INSERT OR REPLACE INTO stored VALUES (?, ?, ?, ?)", stored))

    def forget(self, cluster: str, host: str, names: Iterable[str]) -> None:
        """These incidents are no longer stored."""
        rows = [(cluster, host, name) for name in names]
        self._write(("DELETE FROM stored WHERE cluster = ? AND host = ? AND name = ?", rows))


def contacts(settings: Settings, now: float) -> Contacts:
    """For alarms; see net.furls.status."""
    return status.contacts(settings, "incidents", now)
