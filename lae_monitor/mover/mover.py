"""The mover: looks for what the archive has and the store has not, and moves it, batch by batch.

A batch is a few spans of different files: read, written down in the ledger, read into rows, inserted (one insert a table),
marked in `moves`, confirmed in the ledger. After a crash the same spans are inserted with the same tokens.
"""

import asyncio
import hashlib
import logging
import socket
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from lae_monitor.archive import Archive, ArchiveError, Journal
from lae_monitor.archive.hints import listen
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.time import Clock, wall_clock
from lae_monitor.mover.ledger import Ledger, Pending, Quarantined
from lae_monitor.mover.pieces import (
    FindReader,
    Piece,
    Readings,
    bytes_of,
    keep,
    next_piece,
    pieces_again,
    quarantine_id,
    read_all,
    recall,
    start_over,
)
from lae_monitor.mover.status import Status
from lae_monitor.mover.sweep import QUICK_SWEEP, Looks, Sweeps
from lae_monitor.mover.waiting import BATCH_BYTES, BATCH_FILES, Waiting
from lae_monitor.store import Store, StoreError
from lae_monitor.store.sqlite import is_damage
from lae_monitor.store.store import by_table

log = logging.getLogger(__name__)

TICK: Final = 0.25  # seconds from one batch to the next at least: each costs, however small
BATCH_SECONDS: Final = (
    1.0  # the backlog's share is made smaller when a batch took longer: fresh reports wait for up to two
)
FEWEST_FILES: Final = 32  # of the backlog in a batch
FIRST_BACKOFF: Final = 0.5  # seconds after a failure; twice as many after each further one
MAX_BACKOFF: Final = 30.0
BAD_ROWS: Final = (ValueError, TypeError, OverflowError, AttributeError, LookupError)  # a reader's mistake
POISON_AFTER: Final = 3  # failures of a batch on a store that works, until its spans are tried one by one


class Mover:
    """Moves what `archive` holds into `store`.

    Args:
        folders: the archive's folders that are moved.
        find_reader: who reads a file.
        hints: the datagram socket to listen on, or None.
        journal: where quarantine is told; None when rebuilding (it has been told already).
    """

    def __init__(
        self,
        archive: Archive,
        store: Store,
        ledger: Ledger,
        *,
        folders: tuple[str, ...],
        find_reader: FindReader,
        hints: Path | None = None,
        journal: Journal | None = None,
        clock: Clock = wall_clock,
    ) -> None:
        self.archive = archive
        self.store = store
        self.ledger = ledger
        self.state = Status()
        self._folders = folders
        self.find_reader = find_reader
        self._hints = hints
        self._journal = journal
        self._clock = clock
        self._waiting = Waiting(clock)
        self._wake = asyncio.Event()
        looks = Looks(archive, find_reader, lambda: self.ledger, clock)
        self._sweeps = Sweeps(looks, folders, self._waiting, self._wake)
        self._backlog_files = BATCH_FILES  # at most so many in a batch
        self._lock = asyncio.Lock()  # a batch, a retry: one at a time
        self.on_moved: Callable[[], None] = lambda: None

    def sibling(self, store: Store, ledger: Ledger) -> "Mover":
        """A mover of the same archive into another store; it tells nobody of quarantine, which has been told."""
        return Mover(
            self.archive,
            store,
            ledger,
            folders=self._folders,
            find_reader=self.find_reader,
            clock=self._clock,
        )

    def paused(self) -> asyncio.Lock:
        """A context in which this mover moves nothing."""
        return self._lock

    # ---- life ------------------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Brings ledger and store together: either may have been deleted, or restored from a copy.

        Raises:
            StoreError
        """
        if self.ledger.fact("store") == self.store.identity:
            return
        # Either is new, or from a copy: what the store says of itself decides.
        self.ledger.forget()
        await self.store.take_back(await self.store.unmarked())
        moved = await self.store.moved()
        self.ledger.set_moved(moved.items())
        try:
            self.ledger.keep(await recall(self.archive, self.store))
        except (OSError, ArchiveError) as error:
            log.warning("what is in quarantine is not known again: %s", error)
        self.ledger.set_fact("store", self.store.identity)
        log.info("ledger and store are new to each other: %d files were moved before, the rest follows", len(moved))

    async def run(self, stop: asyncio.Event) -> None:
        """Moves until `stop` is set."""
        listening = self._listen()
        stopping = asyncio.create_task(stop.wait())
        backoff, hinted = 0.0, True  # seconds to wait after a failure; whether a hint ends the wait
        try:
            while not stop.is_set():
                began = time.monotonic()
                try:
                    moved = await self.step()
                    backoff, hinted = 0.0, True
                    self.state.error = ""
                except (StoreError, OSError, ArchiveError, sqlite3.Error) as error:
                    if isinstance(error, sqlite3.Error) and is_damage(error):
                        raise  # the next start sets the ledger aside
                    self.state.failures += 1
                    self.state.error = str(error)
                    backoff = min(MAX_BACKOFF, max(FIRST_BACKOFF, backoff * 2))
                    hinted = isinstance(error, OSError)  # some files could not be read; a new one may well be
                    log.warning("moving failed, again in %.1f s: %s", backoff, error)
                    moved = False
                if not backoff and (moved or len(self._waiting)):
                    await self._pause(stopping, began + TICK - time.monotonic())
                else:
                    await self._pause(stopping, backoff or QUICK_SWEEP, quick=hinted)
        finally:
            stopping.cancel()
            self._sweeps.stop()
            if listening is not None:
                asyncio.get_running_loop().remove_reader(listening)
                listening.close()

    async def _pause(self, stopping: asyncio.Task[bool], seconds: float, *, quick: bool = False) -> None:
        """Waits; if `quick`, until a hint at most."""
        tasks: list[asyncio.Task[bool]] = [stopping]
        if quick:
            tasks.append(asyncio.create_task(self._wake.wait()))
        await asyncio.wait(tasks, timeout=max(seconds, 0.0), return_when=asyncio.FIRST_COMPLETED)
        for task in tasks[1:]:
            task.cancel()

    def _listen(self) -> socket.socket | None:
        if self._hints is None:
            return None
        listening = listen(self._hints)
        asyncio.get_running_loop().add_reader(listening, self._hear, listening)
        return listening

    def _hear(self, listening: socket.socket) -> None:
        with suppress(BlockingIOError):
            while True:
                path = listening.recv(4096).decode("ascii", "replace")
                if path.partition("/")[0] in self._folders:
                    self.tell(path)

    def tell(self, path: str) -> None:
        """`path` holds something new."""
        self._waiting.hint(path)
        self._wake.set()

    # ---- one step --------------------------------------------------------------------------------------------------

    async def step(self) -> bool:
        """Moves one batch, the one that a crash left first; returns whether there was one.

        Raises:
            StoreError, OSError, ArchiveError, sqlite3.Error: the batch stays written down, and is repeated by the next step.
        """
        async with self._lock:
            began = time.monotonic()
            pending = self.ledger.batch()
            if pending:
                pieces = await self._again(pending)
            else:
                await self._sweeps.if_due()
                began = time.monotonic()
                self._wake.clear()
                try:
                    pieces = await self._waiting.collect(self._next, self._backlog_files)
                except OSError:  # none of those that wait can be read: all else was moved
                    self.state.caught_up |= self._sweeps.task is None
                    raise
                if not pieces:
                    self.state.caught_up |= self._sweeps.task is None and not len(self._waiting)
                    self._measure()
                    return False
                self.ledger.begin(piece.pending for piece in pieces)
            if pieces:
                await self._move(pieces)
                self._set_pace(time.monotonic() - began)
            self._measure()
            return True

    def _set_pace(self, seconds: float) -> None:
        if seconds > BATCH_SECONDS:
            self._backlog_files = max(FEWEST_FILES, self._backlog_files // 2)
        elif seconds < BATCH_SECONDS / 2:
            self._backlog_files = min(BATCH_FILES, self._backlog_files * 2)

    async def catch_up(self, progress: Callable[[Status], None] = lambda _state: None) -> None:
        """Moves all there is: a full sweep, and then batches until nothing is left."""
        await self._sweeps.sweep(full=True)
        while await self.step():
            progress(self.state)

    def _measure(self) -> None:
        self.state.waiting = len(self._waiting)
        self.state.oldest = self._waiting.oldest

    async def _next(self, path: str) -> Piece | OSError | None:
        """The next span of `path`; None when there is none; an OSError when it should be asked again."""
        reader = self.find_reader(path)
        if reader is None:
            return None
        try:
            piece = await next_piece(self.archive, path, self.ledger.moved(path), reader)
        except (FileNotFoundError, Refused) as error:
            log.warning("%s", error)  # deleted, on a root that does not answer (a sweep finds it), or no path
            return None
        except OSError as error:
            return error
        if piece is not None and not reader.WHOLE:
            self._waiting.find(path)  # there may be more; it is looked at once again
        return piece

    async def _again(self, batch: list[Pending]) -> list[Piece]:
        return await pieces_again(self.archive, self.store, self.ledger, self.find_reader, batch)

    # ---- into the store --------------------------------------------------------------------------------------------

    async def _move(self, pieces: list[Piece]) -> None:
        spans = [(piece.pending.span, piece.data) for piece in pieces]
        readings = await asyncio.to_thread(read_all, spans, self.find_reader)
        quarantined = await self._quarantine(pieces, readings)
        failures = 0
        while True:
            try:
                await self._insert(pieces, readings)
                break
            except (StoreError, *BAD_ROWS) as error:
                if isinstance(error, StoreError) and (error.transient or not await self._store_works()):
                    raise
                failures += 1
                if failures < POISON_AFTER and isinstance(error, StoreError):
                    continue
                quarantined += await self._one_by_one(pieces, error)
                break
        self.ledger.confirm(quarantined)
        self.state.batches += 1
        self.state.rows += len(readings.rows)
        self.state.last = self._clock()
        self.on_moved()

    async def _store_works(self) -> bool:
        try:
            await self.store.query("SELECT 1 AS one")
        except StoreError:
            return False
        return True

    async def _insert(self, pieces: list[Piece], readings: Readings) -> None:
        token = self._token(pieces)
        for table, (rows, sources) in sorted(by_table(readings.rows).items()):
            await self.store.insert(table, rows, sources, token)
        now = self._clock()
        spans = [piece.pending.span for piece in pieces]
        marks: dict[str, list[Any]] = {
            "source": [span.path for span in spans],
            "source_at": [span.start for span in spans],
            "source_end": [span.end for span in spans],
            "parser": [piece.pending.parser for piece in pieces],
            "rows": [readings.counts.get(span, 0) for span in spans],
            "time": [now] * len(spans),
        }
        await self.store.insert_columns("moves", marks, token)

    def _token(self, pieces: list[Piece]) -> str:
        parts = sorted(  # a batch that is repeated comes from the ledger, in another order
            f"{span.path}:{span.start}-{span.end}:{parser}:{turn}"
            for span, parser, turn in (piece.pending for piece in pieces)
        )
        body = parts[0] if len(parts) == 1 else hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return f"{self.ledger.epoch}:{body}"

    async def _one_by_one(self, pieces: list[Piece], error: Exception) -> list[Quarantined]:
        """A batch that the store refuses although it works: finds the spans that are to blame."""
        log.warning("a batch of %d spans is refused (%s): trying them one by one", len(pieces), error)
        batch = [piece.pending for piece in pieces]
        renewed = await start_over(self.archive, self.store, self.ledger, self.find_reader, batch)
        blamed: list[Quarantined] = []
        for piece in renewed:
            span = piece.pending.span
            readings = await asyncio.to_thread(read_all, [(span, piece.data)], self.find_reader)
            try:
                await self._insert([piece], readings)
            except (StoreError, *BAD_ROWS) as cause:
                if isinstance(cause, StoreError) and (cause.transient or not await self._store_works()):
                    raise
                await self.store.take_back([(span.path, span.start)])
                readings = Readings(failures={span: f"unreadable: the store refuses it: {cause}"})
                blamed += await self._quarantine([piece], readings)
                await self._insert([Piece(piece.pending._replace(turn=self.ledger.next_turn()), b"")], readings)
        return blamed

    # ---- quarantine ------------------------------------------------------------------------------------------------

    async def _quarantine(self, pieces: list[Piece], readings: Readings) -> list[Quarantined]:
        kept = []
        for piece in pieces:
            span, parser, _ = piece.pending
            reason = readings.failures.get(span)
            if reason is None:
                continue
            key = quarantine_id(span)
            log.error("%s: bytes %d to %d: %s; kept in quarantine as %s", *span, reason, key)
            kept.append(Quarantined(key, span, parser, reason))
            if self._journal is not None:
                cluster = self.store.kinds.cluster_of(span.path)
                await keep(self.archive, self._journal, key, span, piece.data, reason, self._clock(), cluster)
        return kept

    async def retry(self, key: str) -> bool:
        """Reads again what is in quarantine under `key` (or all of a report's path); False when there is nothing."""
        chosen = [
            item for item in self.ledger.quarantined() if key in {item.id, item.span.path} or key in item.span.path
        ]
        for item in chosen:
            await self._read_again(item)
        return bool(chosen)

    async def retry_outdated(self) -> int:
        """Reads again what an older version of its reader did not understand; returns how many spans."""
        chosen = [
            item
            for item in self.ledger.quarantined()
            if (reader := self.find_reader(item.span.path)) is not None and item.parser < reader.VERSION
        ]
        for item in chosen:
            try:
                await self._read_again(item)
            except (StoreError, OSError, ArchiveError, sqlite3.Error) as error:
                log.warning("%s in quarantine is not read again now: %s", item.id, error)
        return len(chosen)

    async def _read_again(self, item: Quarantined) -> None:
        if self.find_reader(item.span.path) is not None:
            await self.read_again([(item.span, item.id)])

    async def read_again(self, spans: Sequence[tuple[Span, str]]) -> None:
        """Takes back what the store has of each span, and moves it anew; the id beside it is in quarantine no more.

        Raises:
            FileNotFoundError: no root that answers has one; nothing of its batch was taken back.
            StoreError, OSError, ArchiveError, sqlite3.Error: it is written down, and repeated.
        """
        waiting = [item for item in spans if self.find_reader(item[0].path) is not None]
        while waiting:
            async with self._lock:
                if (pending := self.ledger.batch()) and (pieces := await self._again(pending)):
                    await self._move(pieces)
                turn, size = self.ledger.next_turn(), 0
                batch: dict[str, tuple[Piece, str]] = {}
                for item in list(waiting):
                    span, key = item
                    reader = self.find_reader(span.path)
                    if reader is None or span.path in batch:  # a batch has one span of a file
                        continue
                    if len(batch) >= BATCH_FILES or size >= BATCH_BYTES:
                        break
                    data = await bytes_of(self.archive, span)
                    batch[span.path] = Piece(Pending(span, reader.VERSION, turn), data), key
                    size += len(data)
                    waiting.remove(item)
                pieces = [piece for piece, _ in batch.values()]
                # First: from here on it is repeated.
                self.ledger.begin(
                    (piece.pending for piece in pieces), released=[key for _, key in batch.values() if key]
                )
                await self.store.take_back((piece.pending.span.path, piece.pending.span.start) for piece in pieces)
                await self._move(pieces)
