"""What is raised, who was told, and who is to be: `state/alerts.db`.

`serve` writes it, and nobody else; `look()` is for all others. Whatever one look finds is written in one transaction: the
alarms, their entries for the journal, and a message for each destination. From then on they survive whatever kills us. An
entry is written to the journal as often as it takes, with the same bytes each time, so that the timeline shows it once.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from lae_monitor.alerts.alarm import Alarm
from lae_monitor.store import sqlite
from lae_monitor.store.sqlite import Outbox

FILE: Final = "alerts.db"
LISTED: Final = 1_000  # alarms or deliveries of one list

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, time REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hosts (cluster TEXT NOT NULL, host TEXT NOT NULL, expected REAL NOT NULL, why TEXT NOT NULL,
    heard REAL, PRIMARY KEY (cluster, host)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS groups (id TEXT PRIMARY KEY, first TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS groups_first ON groups (first);
CREATE TABLE IF NOT EXISTS alarms (id TEXT PRIMARY KEY, rule TEXT NOT NULL, about TEXT NOT NULL, raised REAL NOT NULL,
    ended REAL, alarm TEXT NOT NULL) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS alarms_held ON alarms (rule, about) WHERE ended IS NULL;
CREATE INDEX IF NOT EXISTS alarms_raised ON alarms (raised);
CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY, fields TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS messages (id TEXT PRIMARY KEY, made REAL NOT NULL, alarms TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deliveries (message TEXT NOT NULL, destination TEXT NOT NULL, made REAL NOT NULL,
    state TEXT NOT NULL, attempts INTEGER NOT NULL, next_try REAL NOT NULL, ended REAL, error TEXT NOT NULL,
    had TEXT NOT NULL, PRIMARY KEY (message, destination)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (destination, next_try) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS deliveries_made ON deliveries (made);
"""

_alarms = msgspec.json.Decoder(list[Alarm])
_alarm = msgspec.json.Decoder(Alarm)


class Expected(NamedTuple):
    """A host that is expected since `expected`, as `why` says; `heard`: when last, None for never."""

    cluster: str
    host: str
    expected: float
    why: str
    heard: float | None


class Message(NamedTuple):
    """What one destination is told at once: the alarms of one look."""

    id: str
    made: float
    alarms: list[Alarm]


class Delivery(NamedTuple):
    """A message on its way: pending, done, or given up. `had`: those of a destination's addresses that have it."""

    message: str
    destination: str
    made: float
    state: str
    attempts: int
    next_try: float
    ended: float | None
    error: str
    had: list[str]


_DELIVERY: Final = ", ".join(Delivery._fields)


class Listed(NamedTuple):
    """What others are shown; `looked`: when the watch last had looked at everything, None for never."""

    looked: float | None
    alarms: list[Alarm]
    deliveries: list[Delivery]
    hosts: list[Expected]


class Ledger:
    """Opens (and makes) the file; used from one thread.

    Raises:
        sqlite3.Error, OSError: it cannot be opened now; a damaged one is set aside and begun anew.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite.opened(path, _SCHEMA)
        self.outbox = Outbox(self._db, "deliveries", ("message", "destination"), Delivery._fields)

    def close(self) -> None:
        self._db.close()

    def transaction(self) -> AbstractContextManager[None]:
        return sqlite.transaction(self._db)

    # ---- what was seen ---------------------------------------------------------------------------------------------

    def marks(self) -> dict[str, float]:
        return dict(self._db.execute("SELECT name, time FROM marks"))

    def mark(self, name: str, time: float) -> None:
        self._db.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, time))

    def hosts(self) -> list[Expected]:
        return _hosts(self._db)

    def set_hosts(self, hosts: Iterable[Expected]) -> None:
        """These, and no others, are expected."""
        self._db.execute("DELETE FROM hosts")
        self._db.executemany("INSERT INTO hosts VALUES (?, ?, ?, ?, ?)", hosts)

    def unknown_groups(self, ids: Sequence[str]) -> set[str]:
        """Those of `ids` that were never seen."""
        asked = (json.dumps(ids),)
        known = self._db.execute("SELECT id FROM groups WHERE id IN (SELECT value FROM json_each(?))", asked)
        return {*ids} - {id_ for (id_,) in known}

    def known_firsts(self, keys: Sequence[str]) -> set[str]:
        """Those of `keys` that are the first event of a group that was seen, under whatever id."""
        asked = (json.dumps(keys),)
        rows = self._db.execute("SELECT first FROM groups WHERE first IN (SELECT value FROM json_each(?))", asked)
        return {first for (first,) in rows}

    def know_groups(self, groups: Mapping[str, str]) -> None:
        """From now on these have been seen: id -> key of the first event."""
        self._db.executemany("INSERT OR IGNORE INTO groups VALUES (?, ?)", groups.items())

    # ---- alarms ----------------------------------------------------------------------------------------------------

    def held(self, *rules: str) -> list[Alarm]:
        """The alarms of `rules` that hold."""
        asked = (json.dumps(rules),)
        rows = self._db.execute(
            "SELECT alarm FROM alarms WHERE ended IS NULL AND rule IN (SELECT value FROM json_each(?)) ORDER BY raised, id",
            asked,
        )
        return [_alarm.decode(alarm) for (alarm,) in rows]

    def put(self, alarm: Alarm) -> None:
        """Writes an alarm down, anew or as it is now."""
        self._db.execute(
            "INSERT OR REPLACE INTO alarms VALUES (?, ?, ?, ?, ?, ?)",
            (alarm.id, alarm.rule, alarm.about, alarm.raised, alarm.ended, msgspec.json.encode(alarm).decode()),
        )

    def add_entry(self, fields: Mapping[str, str | float]) -> None:
        """An entry that the journal has to get."""
        self._db.execute("INSERT INTO entries (fields) VALUES (?)", (json.dumps(fields),))

    def entries(self) -> list[tuple[int, dict[str, Any]]]:
        """Those that it has not, the oldest first, each with its number."""
        rows = self._db.execute("SELECT number, fields FROM entries ORDER BY number LIMIT ?", (LISTED,))
        return [(number, json.loads(fields)) for number, fields in rows]

    def entered(self, numbers: Iterable[int]) -> None:
        """The journal has these."""
        self._db.executemany("DELETE FROM entries WHERE number = ?", [(number,) for number in numbers])

    def prune(self, before: float) -> None:
        """Forgets what was over before then."""
        self._db.execute("DELETE FROM alarms WHERE ended < ?", (before,))
        self._db.execute("DELETE FROM deliveries WHERE ended < ?", (before,))
        self._db.execute("DELETE FROM messages WHERE id NOT IN (SELECT message FROM deliveries)")

    # ---- messages --------------------------------------------------------------------------------------------------

    def send(self, message: Message, destination: str) -> None:
        """A message that `destination` has to get."""
        body = msgspec.json.encode(message.alarms).decode()
        self._db.execute("INSERT OR IGNORE INTO messages VALUES (?, ?, ?)", (message.id, message.made, body))
        self._db.execute(
            f"INSERT OR IGNORE INTO deliveries ({_DELIVERY}) VALUES (?, ?, ?, 'pending', 0, ?, NULL, '', '[]')",
            (message.id, destination, message.made, message.made),
        )

    def next_delivery(self, destination: str) -> Delivery | None:
        """What is to be tried next there, if only later."""
        due = self.outbox.due(float("inf"), 1, destination)
        return _delivery(due[0]) if due else None

    def message(self, id_: str) -> Message:
        """
        Raises:
            LookupError: there is none.
        """
        row = self._db.execute("SELECT id, made, alarms FROM messages WHERE id = ?", (id_,)).fetchone()
        if row is None:
            raise LookupError(id_)
        return Message(row[0], row[1], _alarms.decode(row[2]))

    def tried(self, delivery: Delivery) -> None:
        """What became of a try."""
        self.outbox.tried(
            (delivery.message, delivery.destination),
            error=delivery.error,
            state=delivery.state,
            next_try=delivery.next_try,
            ended=delivery.ended,
            had=json.dumps(delivery.had),
        )

    def drop_others(self, destinations: Iterable[str], now: float) -> int:
        """Gives up what was to go elsewhere than to `destinations`; returns how many."""
        given_up = self._db.execute(
            "UPDATE deliveries SET state = 'given up', ended = ?, error = 'no longer a destination' "
            "WHERE state = 'pending' AND destination NOT IN (SELECT value FROM json_each(?))",
            (now, json.dumps(list(destinations))),
        )
        return given_up.rowcount


def look(path: Path) -> Listed:
    """What the ledger at `path` says, without a trace; nothing when there is none.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    with suppress(FileNotFoundError):
        return sqlite.look(path, _listed)
    return Listed(None, [], [], [])


def _listed(db: sqlite3.Connection) -> Listed:
    looked = db.execute("SELECT time FROM marks WHERE name = 'looked'").fetchone()
    alarms = db.execute("SELECT alarm FROM alarms ORDER BY ended IS NOT NULL, raised DESC LIMIT ?", (LISTED,))
    deliveries = db.execute(
        f"SELECT {_DELIVERY} FROM deliveries ORDER BY state != 'pending', made DESC LIMIT ?",
        (LISTED,),
    )
    return Listed(
        None if looked is None else looked[0],
        [_alarm.decode(alarm) for (alarm,) in alarms],
        [_delivery(row) for row in deliveries],
        _hosts(db),
    )


def _hosts(db: sqlite3.Connection) -> list[Expected]:
    return [Expected(*row) for row in db.execute("SELECT cluster, host, expected, why, heard FROM hosts ORDER BY 1, 2")]


def _delivery(row: Sequence[Any]) -> Delivery:
    return Delivery._make([*row[:-1], json.loads(row[-1])])
