"""What has been moved, and what is being moved: the mover's SQLite file. One process writes it.

`files` has a cursor for each archive file; `batch` the spans that were written down before their insert and have not been
confirmed; `quarantine` the spans that no reader understood; `received` when each file's last byte came, for retention;
`checked` the files of which fewer rows are stored than were inserted, and nothing is missing.
"""

import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from lae_monitor.core.rows import Span
from lae_monitor.store import sqlite

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, moved INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch (
    path TEXT PRIMARY KEY, start INTEGER NOT NULL, end INTEGER NOT NULL, parser INTEGER NOT NULL, turn INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quarantine (
    id TEXT PRIMARY KEY, path TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, parser INTEGER NOT NULL,
    reason TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS received (path TEXT PRIMARY KEY, at REAL NOT NULL, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checked (
    path TEXT PRIMARY KEY, expected INTEGER NOT NULL, stored INTEGER NOT NULL
) WITHOUT ROWID;
"""


class Pending(NamedTuple):
    """A span in the batch. `turn` is 0, or how often its rows were taken back: it makes the token a new one."""

    span: Span
    parser: int
    turn: int


class Quarantined(NamedTuple):
    """A span that was not understood."""

    id: str
    span: Span
    parser: int
    reason: str


class Received(NamedTuple):
    """When the last byte of a file came, in seconds since the epoch, and how long the file was then."""

    at: float
    size: int


class Ledger:
    """Opens (and makes) the file at `path`; used from one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = sqlite.opened(path, _SCHEMA)
        if self.fact("epoch") == "":
            self._renew_epoch()

    @property
    def epoch(self) -> str:
        """Part of every token: a new ledger repeats nothing that an older one's tokens stand for."""
        return self.fact("epoch")

    def fact(self, name: str) -> str:
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def set_fact(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def moved(self, path: str) -> int:
        """Up to where `path` was moved; 0 for a file not yet known."""
        row = self._db.execute("SELECT moved FROM files WHERE path = ?", (path,)).fetchone()
        return int(row[0]) if row else 0

    def moved_in(self, folder: str) -> dict[str, int]:
        """The cursors of the files in `folder` and below."""
        low, high = f"{folder}/", f"{folder}0"  # "0" follows "/" in ASCII
        rows = self._db.execute("SELECT path, moved FROM files WHERE path >= ? AND path < ?", (low, high))
        return {str(path): int(moved) for path, moved in rows}

    def page(self, after: str, limit: int) -> list[tuple[str, int]]:
        """The cursors of the next files after the path `after`, in the order of bytes."""
        rows = self._db.execute("SELECT path, moved FROM files WHERE path > ? ORDER BY path LIMIT ?", (after, limit))
        return [(str(path), int(moved)) for path, moved in rows]

    def checked(self, path: str) -> tuple[int, int] | None:
        """With how many inserted and stored rows the file was found to be whole."""
        row = self._db.execute("SELECT expected, stored FROM checked WHERE path = ?", (path,)).fetchone()
        return (int(row[0]), int(row[1])) if row else None

    def set_checked(self, path: str, expected: int, stored: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO checked VALUES (?, ?, ?)", (path, expected, stored))

    def set_moved(self, cursors: Iterable[tuple[str, int]]) -> None:
        with sqlite.transaction(self._db):
            self._db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?)", cursors)

    def drop(self, paths: list[str]) -> None:
        """The rows of `paths` were removed. What comes under the same names is new, and its tokens have to be."""
        with sqlite.transaction(self._db):
            self._db.executemany("DELETE FROM received WHERE path = ?", ((path,) for path in paths))
            self._rewind(paths)

    def rewind(self, paths: list[str]) -> None:
        """The rows of `paths` were removed, and the same files are moved anew: they are as old as they were."""
        with sqlite.transaction(self._db):
            self._rewind(paths)

    def _rewind(self, paths: list[str]) -> None:
        for table in ("files", "quarantine", "checked"):
            self._db.executemany(f"DELETE FROM {table} WHERE path = ?", ((path,) for path in paths))  # noqa: S608 - names of our own
        self._renew_epoch()

    # ---- receipts, for retention -----------------------------------------------------------------------------------

    def received(self, folder: str = "") -> dict[str, Received]:
        """The receipts of the files in `folder` and below; of all without one."""
        low, high = (f"{folder}/", f"{folder}0") if folder else ("", "\uffff")
        rows = self._db.execute("SELECT path, at, size FROM received WHERE path >= ? AND path < ?", (low, high))
        return {str(path): Received(at, size) for path, at, size in rows}

    def set_received(self, receipts: Mapping[str, Received]) -> None:
        with sqlite.transaction(self._db):
            rows = ((path, *receipt) for path, receipt in receipts.items())
            self._db.executemany("INSERT OR REPLACE INTO received VALUES (?, ?, ?)", rows)

    def inherit(self, other: "Ledger", facts: Iterable[str]) -> None:
        """Takes over `facts` and the receipts of `other`: a rebuilt store makes no file younger."""
        for name in facts:
            self.set_fact(name, other.fact(name))
        self.set_received(other.received())

    # ---- the batch -------------------------------------------------------------------------------------------------

    def begin(self, batch: Iterable[Pending], *, released: Iterable[str] = ()) -> None:
        """Writes down what is about to be inserted; `released` is in quarantine no more."""
        with sqlite.transaction(self._db):
            self._db.executemany("DELETE FROM quarantine WHERE id = ?", ((key,) for key in released))
            self._db.executemany(
                "INSERT INTO batch VALUES (?, ?, ?, ?, ?)", ((*item.span, item.parser, item.turn) for item in batch)
            )

    def batch(self) -> list[Pending]:
        """What was begun and not confirmed, in the order of the paths."""
        rows = self._db.execute("SELECT path, start, end, parser, turn FROM batch ORDER BY path")
        return [Pending(Span(path, start, end), parser, turn) for path, start, end, parser, turn in rows]

    def confirm(self, quarantined: Iterable[Quarantined] = ()) -> None:
        """The batch is in the store: the cursors move past it."""
        with sqlite.transaction(self._db):
            self._db.execute(  # max: a span that is read again lies before the cursor
                "INSERT INTO files SELECT path, end FROM batch WHERE true "
                "ON CONFLICT (path) DO UPDATE SET moved = max(moved, excluded.moved)"
            )
            self._db.execute("DELETE FROM batch")
            self._keep(quarantined)

    def rewrite(self, batch: Iterable[Pending], quarantined: Iterable[Quarantined] = ()) -> None:
        """Replaces the batch by other spans, or turns, of the same files."""
        with sqlite.transaction(self._db):
            self._keep(quarantined)
            self._db.execute("DELETE FROM batch")
            self._db.executemany(
                "INSERT INTO batch VALUES (?, ?, ?, ?, ?)", ((*item.span, item.parser, item.turn) for item in batch)
            )

    def next_turn(self) -> int:
        """A turn that was never used before."""
        turn = int(self.fact("turn") or 0) + 1
        self.set_fact("turn", str(turn))
        return turn

    # ---- quarantine ------------------------------------------------------------------------------------------------

    def quarantined(self) -> list[Quarantined]:
        rows = self._db.execute("SELECT id, path, start, end, parser, reason FROM quarantine ORDER BY id")
        return [Quarantined(key, Span(path, start, end), parser, why) for key, path, start, end, parser, why in rows]

    def keep(self, quarantined: Iterable[Quarantined]) -> None:
        with sqlite.transaction(self._db):
            self._keep(quarantined)

    def _keep(self, quarantined: Iterable[Quarantined]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, ?, ?, ?)",
            ((item.id, *item.span, item.parser, item.reason) for item in quarantined),
        )

    def forget(self) -> None:
        """Starts over: everything in the archive will be moved again."""
        with sqlite.transaction(self._db):
            for table in ("files", "batch", "quarantine", "checked"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
            self._renew_epoch()

    def _renew_epoch(self) -> None:
        self.set_fact("epoch", uuid.uuid4().hex[:12])

    def close(self) -> None:
        self._db.close()
