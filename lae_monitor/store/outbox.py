"""What has to get where: a table of a ledger, with a row for each item and destination.

A row is `pending` until its destination has the item, or does not get it: then its state says how it ended. It is written
before the first try, so that a process that is killed goes on where it was, and tries again what was under way: an item
gets there at least once. A failed try is repeated ever later. A dead letter is tried again when an operator says so.
"""

import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, Final

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
