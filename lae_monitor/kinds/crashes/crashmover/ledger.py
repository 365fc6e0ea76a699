"""What was sent where, and what is still to be sent: `state/crashmover.db`.

`sends` has a row for each crash and destination, `publishes` one for each id that somebody has yet to be told. The running
crashmover writes the file. `lae-monitor crashmover retry` does so too, and touches dead letters only, which the crashmover
leaves alone; SQLite keeps the two apart.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeVar

from lae_monitor.core.names import CrashId
from lae_monitor.store import sqlite
from lae_monitor.store.sqlite import MAX_ERROR, Outbox

T = TypeVar("T")

FILE: Final = "crashmover.db"

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS sends (
    day TEXT NOT NULL, crash_id TEXT NOT NULL, destination TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    next_try REAL NOT NULL, noticed REAL NOT NULL, ended REAL, checksum TEXT NOT NULL, place TEXT NOT NULL,
    error TEXT NOT NULL, PRIMARY KEY (day, crash_id, destination)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS due ON sends (destination, next_try, crash_id, attempts, noticed) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS dead ON sends (day) WHERE state = 'dead';
CREATE TABLE IF NOT EXISTS publishes (
    crash_id TEXT NOT NULL, destination TEXT NOT NULL, target TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    next_try REAL NOT NULL, error TEXT NOT NULL, PRIMARY KEY (crash_id, destination)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS due_publishes ON publishes (next_try) WHERE state = 'pending';
"""


class Send(NamedTuple):
    """A crash that is to go to a destination, for the `attempts` + 1st time."""

    crash_id: CrashId
    destination: str
    attempts: int


class Publish(NamedTuple):
    """An id that `target` is to be told."""

    crash_id: CrashId
    destination: str
    target: str
    attempts: int


class Dead(NamedTuple):
    """A crash that its destination did not get, and will not until somebody says so. `what`: send or publish."""

    crash_id: str
    destination: str
    what: str
    attempts: int
    error: str


class Backlog(NamedTuple):
    """How many crashes wait for a destination, the age of the oldest in seconds, and how many are done and dead."""

    waiting: int
    oldest: float
    sent: int
    skipped: int
    dead: int


class Records:
    """What the ledger says; nothing of this writes."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def backlog(self, destination: str, now: float) -> Backlog:
        counts: dict[str, int] = dict(
            self._db.execute("SELECT state, count(*) FROM sends WHERE destination = ? GROUP BY state", (destination,))
        )
        oldest = self.oldest(destination)
        return Backlog(
            counts.get("pending", 0),
            0.0 if oldest is None else max(0.0, now - oldest),
            counts.get("done", 0),
            counts.get("skipped", 0),
            counts.get("dead", 0),
        )

    def oldest(self, destination: str) -> float | None:
        """Since when the crash waits (seconds) that waits longest; None when none does."""
        row = self._db.execute(
            "SELECT min(noticed) FROM sends WHERE state = 'pending' AND destination = ?", (destination,)
        ).fetchone()
        return None if row[0] is None else float(row[0])

    def destinations(self) -> list[str]:
        """Those that anything was ever noticed for."""
        return [
            str(name) for (name,) in self._db.execute("SELECT DISTINCT destination FROM sends ORDER BY destination")
        ]

    def days(self) -> list[str]:
        return [str(day) for (day,) in self._db.execute("SELECT DISTINCT day FROM sends ORDER BY day")]

    def of(self, crash_id: str) -> list[dict[str, Any]]:
        """What became of one crash, for each destination."""
        names = ("destination", "state", "attempts", "ended", "checksum", "place", "error")
        rows = self._db.execute(
            f"SELECT {', '.join(names)} FROM sends WHERE day = ? AND crash_id = ? ORDER BY destination",  # noqa: S608
            (f"20{crash_id[-6:]}", crash_id),
        )
        return [dict(zip(names, row, strict=True)) for row in rows]

    def dead_letters(self, limit: int = -1) -> list[Dead]:
        rows = self._db.execute(
            "SELECT crash_id, destination, 'send', attempts, error FROM sends WHERE state = 'dead' "
            "UNION ALL SELECT crash_id, destination, 'publish', attempts, error FROM publishes WHERE state = 'dead' "
            "ORDER BY 1, 2 LIMIT ?",
            (limit,),
        )
        return [Dead(*row) for row in rows]

    def dead_count(self) -> int:
        return int(
            self._db.execute(
                "SELECT (SELECT count(*) FROM sends WHERE state = 'dead') "
                "+ (SELECT count(*) FROM publishes WHERE state = 'dead')"
            ).fetchone()[0]
        )


class Ledger(Records):
    """Opens (and makes) the file at `path`; used from one thread.

    Raises:
        sqlite3.Error: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        # One that was damaged is begun anew: everything in the archive is handed on once more, rather than not at all.
        super().__init__(sqlite.opened(path, _SCHEMA))
        self.sends = Outbox(self._db, "sends", ("crash_id", "destination", "day"), Send._fields)
        self.publishes = Outbox(self._db, "publishes", ("crash_id", "destination"), Publish._fields)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    # ---- what is to be sent ----------------------------------------------------------------------------------------

    def known(self, day: str) -> dict[str, set[str]]:
        """The crashes of a day by destination, whatever became of them."""
        found: dict[str, set[str]] = {}
        for crash_id, destination in self._db.execute("SELECT crash_id, destination FROM sends WHERE day = ?", (day,)):
            found.setdefault(destination, set()).add(crash_id)
        return found

    def notice(self, sends: Iterable[tuple[CrashId, str]], now: float) -> None:
        """Writes down crashes that destinations have to get."""
        with sqlite.transaction(self._db):
            self._db.executemany(
                "INSERT OR IGNORE INTO sends VALUES (?, ?, ?, 'pending', 0, ?, ?, NULL, '', '', '')",
                ((crash_id.day, str(crash_id), destination, now, now) for crash_id, destination in sends),
            )

    def due(self, destination: str, now: float, limit: int, among: set[str] | None = None) -> list[Send]:
        """What can be sent there now, what waits longest first; `among`: of these crashes only."""
        rows = self.sends.due(now, limit, destination, among)
        return [Send(CrashId(crash_id), name, attempts) for crash_id, name, attempts in rows]

    def longest_waiting(self, count: int) -> set[str]:
        """The `count` crashes that wait longest, wherever they are to go."""
        rows = self._db.execute(
            "SELECT crash_id FROM sends WHERE state = 'pending' GROUP BY crash_id ORDER BY min(noticed), crash_id LIMIT ?",
            (count,),
        )
        return {str(crash_id) for (crash_id,) in rows}

    def done(self, send: Send, now: float, checksum: str, place: str, publish: str) -> None:
        """It is there. What is to be published is written down in the same moment."""
        with sqlite.transaction(self._db):
            self.sends.tried(_key(send), state="done", ended=now, checksum=checksum, place=place[:MAX_ERROR])
            if publish:
                self._db.execute(
                    "INSERT OR REPLACE INTO publishes VALUES (?, ?, ?, 'pending', 0, ?, '')",
                    (str(send.crash_id), send.destination, publish, now),
                )

    def skipped(self, send: Send, now: float) -> None:
        """It does not go there: what the destination was told to take says so."""
        self.sends.tried(_key(send), state="skipped", ended=now)

    def dead(self, send: Send, now: float, error: str) -> None:
        """It does not get there, and is not tried again by itself."""
        self.sends.tried(_key(send), error=error, state="dead", ended=now)

    def failed(self, send: Send, next_try: float, error: str) -> None:
        """It was not taken, and will be tried again."""
        self.sends.tried(_key(send), error=error, next_try=next_try)

    def hasten(self, destination: str, now: float, latest: float) -> None:
        """What waits until after `latest` is due now."""
        for outbox in (self.sends, self.publishes):
            outbox.hasten(now, latest, destination)

    # ---- publishing ------------------------------------------------------------------------------------------------

    def due_publishes(self, now: float, limit: int) -> list[Publish]:
        rows = self.publishes.due(now, limit)
        return [Publish(CrashId(crash_id), name, target, attempts) for crash_id, name, target, attempts in rows]

    def published(self, publish: Publish) -> None:
        self._db.execute(
            "DELETE FROM publishes WHERE crash_id = ? AND destination = ?", (str(publish.crash_id), publish.destination)
        )

    def publish_failed(self, publish: Publish, next_try: float | None, error: str) -> None:
        """`next_try` is None when it is not tried again."""
        state, due = ("dead", 0.0) if next_try is None else ("pending", next_try)
        self.publishes.tried((publish.crash_id, publish.destination), error=error, state=state, next_try=due)

    # ---- again, and no more ----------------------------------------------------------------------------------------

    def again(self, crash_ids: Collection[str] | None, now: float) -> int:
        """Dead letters wait to be sent again: those of `crash_ids`, or all. Returns how many."""
        with sqlite.transaction(self._db):
            return self.sends.revive(now, crash_ids) + self.publishes.revive(now, crash_ids)

    def forget(self, day: str) -> None:
        """The archive has nothing of that day any more: retention removed it. What is not done stays, and is told."""
        self._db.execute("DELETE FROM sends WHERE day = ? AND state IN ('done', 'skipped')", (day,))

    def close(self) -> None:
        self._db.close()


def look(path: Path, read: Callable[[Records], T]) -> T:
    """What `read` makes of the ledger at `path`, without a trace.

    Raises:
        FileNotFoundError: there is none.
        sqlite3.Error: it cannot be read.
    """
    return sqlite.look(path, lambda database: read(Records(database)))


def _key(send: Send) -> tuple[str, str, str]:
    return str(send.crash_id), send.destination, send.crash_id.day
