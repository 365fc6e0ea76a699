"""The store is checked, not believed: at each start, daily, and when a query meets a damaged part. What slows reading down
is looked after each hour.

Parts that cannot be read are removed. Files of which `moves` has less than the ledger, or the tables fewer rows than
`moves`, are read again from the archive. The findings are an alarm on the timeline, a line in the log, and a figure.
"""

import asyncio
import logging
import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from lae_monitor.archive import ArchiveError, Journal
from lae_monitor.core.limits import MAX_SPAN
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.time import DAY, HOUR, MINUTE, Clock, wall_clock
from lae_monitor.mover.mover import Mover
from lae_monitor.mover.pieces import MAX_RECORD, bytes_of, read_all
from lae_monitor.mover.waiting import BATCH_BYTES
from lae_monitor.store import StoreError, checks
from lae_monitor.store.checks import Fewer, Part, Suspect
from lae_monitor.store.store import by_table

log = logging.getLogger(__name__)

PAGE: Final = 10_000  # cursors that are compared at once
AT_ONCE: Final = 200  # files that are looked into at once
NAMED: Final = 10  # files and parts that the alarm names
RULE: Final = "store"  # of the alarm


@dataclass
class Findings:
    """What one check found and mended."""

    parts: list[Part] = field(default_factory=list)
    files: list[str] = field(default_factory=list)  # which were read again, or are being
    rows: int = 0  # that were missing, as far as they could be counted
    unreadable: list[str] = field(default_factory=list)  # which no root has, or answers for


class Checks:
    """The checks of one mover's store."""

    def __init__(self, mover: Mover, journal: Journal, clock: Clock = wall_clock) -> None:
        self._mover = mover
        self._journal = journal
        self._clock = clock
        self._wanted = asyncio.Event()
        self.whole = False  # whether the last check found nothing that could not be read again

    def want(self) -> None:
        """Something is wrong: do not wait for the next day."""
        self._wanted.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until cancelled, or `stop`."""
        while not stop.is_set():
            wait = DAY
            try:
                await self.check()
            except (StoreError, OSError, ArchiveError, sqlite3.Error) as error:
                wait = MINUTE
                log.warning("the store is not checked now, again in %.0f s: %s", wait, error)
            self._wanted.clear()
            due = time.monotonic() + wait
            while not self._wanted.is_set() and (left := due - time.monotonic()) > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wanted.wait(), min(left, HOUR))
                    continue
                await self._learn(anew=False)

    async def check(self) -> Findings:
        """Once.

        Raises:
            StoreError, OSError, ArchiveError, sqlite3.Error
        """
        found = Findings()
        store = self._mover.store
        if not self._mover.archive.silent():
            for part in await checks.broken(store):
                log.error("part %s of table %s is broken: %s", part.name, part.table, part.reason)
                await checks.drop(store, part)
                found.parts.append(part)
        detached = await checks.detached(store)
        found.parts += detached
        await self._learn(anew=any(part.table == "doubled" for part in found.parts))
        await self._check_cursors(found)
        of = await checks.slices(store)
        for number in range(of):
            ledger = self._mover.ledger
            files = [file for file in await checks.fewer(store, number, of) if ledger.checked(file.path) != file[1:]]
            for first in range(0, len(files), AT_ONCE):
                await self._look_into(files[first : first + AT_ONCE], found)
        if not found.unreadable:
            for part in detached:
                await checks.drop_detached(store, part)
        self.whole = not found.unreadable
        await self._say(found)
        return found

    async def _learn(self, *, anew: bool) -> None:
        """What makes reading quick, of rows that an earlier release wrote, or (`anew`) lost with a part."""
        store = self._mover.store
        if anew:
            store.events.doubled = None
        try:
            await store.events.add_up()
            if store.events.doubled is None:
                await store.events.learn_doubled()
            elif store.events.doubled:
                await store.events.forget_doubled()
        except StoreError as error:
            log.warning("reading takes longer than it should, until the next check: %s", error)

    async def _check_cursors(self, found: Findings) -> None:
        """Files of which the ledger says that they were moved further than `moves` does: its rows were lost."""
        last = ""
        while page := self._mover.ledger.page(last, PAGE):
            last = page[-1][0]
            moved = await self._mover.store.moved_between(page[0][0], last)
            if behind := [path for path, cursor in page if cursor > moved.get(path, 0)]:
                await self._move_anew(behind, found)

    async def _move_anew(self, paths: list[str], found: Findings) -> None:
        mover = self._mover
        async with mover.paused():
            if mover.ledger.batch():  # it took marks back, to be repeated
                raise StoreError("a batch is waiting to be repeated")
            moved = await mover.store.moved_between(paths[0], paths[-1])
            quarantined = {
                item.span.path for item in mover.ledger.quarantined()
            }  # their marks may have been taken back
            lost: list[str] = []
            apart: list[str] = []
            for path in paths:
                if mover.ledger.moved(path) > moved.get(path, 0):
                    if not await self._is_there(path):
                        found.unreadable.append(path)
                    elif path in quarantined:
                        apart.append(path)
                    else:
                        lost.append(path)
            await mover.store.forget(lost)
            mover.ledger.rewind(lost)
        for path in lost:
            mover.tell(path)
        found.files += lost
        for path in apart:
            if await self._fill_gaps(path):
                found.files.append(path)

    async def _fill_gaps(self, path: str) -> bool:
        """Reads again what of `path` neither `moves` nor quarantine has. Read as a whole, all that is near what was not
        understood would go to quarantine with it.
        """
        mover = self._mover
        reader = mover.find_reader(path)
        known = [(start, end) for _, start, end in await mover.store.marks([path])]
        known += [item.span[1:] for item in mover.ledger.quarantined() if item.span.path == path]
        spans: list[Span] = []
        for start, end in _gaps(known, mover.ledger.moved(path)) if reader is not None else ():
            at = start
            while at < end and reader is not None:
                data = await mover.archive.read(Span(path, at, min(end, at + MAX_RECORD)))
                if not data:
                    raise FileNotFoundError(f"{path}: ends before byte {end}")
                size = reader.cut(path, data[:MAX_SPAN]) or reader.cut(path, data) or len(data)
                spans.append(Span(path, at, at + size))
                at += size
        if spans:
            starts = await mover.store.starts(path)
            await mover.store.take_back(
                (path, start) for start in starts if any(span.start < start < span.end for span in spans)
            )
        await mover.read_again([(span, "") for span in spans])
        return bool(spans)

    async def _is_there(self, path: str) -> bool:
        try:
            await self._mover.archive.settle(path)
        except (OSError, Refused):
            return False
        return True

    async def _look_into(self, files: list[Fewer], found: Findings) -> None:
        """Reads what is suspicious of `files`, and moves again what of it is not in the store."""
        suspects = await checks.suspects(self._mover.store, [file.path for file in files])
        unreadable: set[str] = set()
        missing: list[Suspect] = []
        while suspects:
            batch, size = [], 0
            while suspects and size < BATCH_BYTES:
                suspect = suspects.pop()
                try:
                    batch.append((suspect, await bytes_of(self._mover.archive, suspect.span)))
                    size += len(batch[-1][1])
                except (FileNotFoundError, Refused):
                    unreadable.add(suspect.span.path)
            missing += await self._missing(batch)
        await self._mover.read_again([(suspect.span, "") for suspect in missing])
        for file in files:
            lost = [suspect.missing for suspect in missing if suspect.span.path == file.path]
            if lost:
                found.files.append(file.path)
                found.rows += sum(lost)
            elif file.path not in unreadable:
                self._mover.ledger.set_checked(*file)
        found.unreadable += sorted(unreadable)

    async def _missing(self, batch: list[tuple[Suspect, bytes]]) -> list[Suspect]:
        """Those with a row that is not in the store, neither itself nor an equal one."""
        find_reader = self._mover.find_reader
        readings = await asyncio.to_thread(read_all, [(suspect.span, data) for suspect, data in batch], find_reader)
        absent: set[tuple[str, int]] = set()
        for table, (rows, spans) in by_table(readings.rows).items():
            absent |= await self._mover.store.absent(table, rows, spans)
        missing = []
        for suspect, _ in batch:
            span, reader = suspect.span, find_reader(suspect.span.path)
            # Another version of the reader may give other keys.
            changed = span in readings.failures or (reader is not None and suspect.parser != reader.VERSION)
            if changed or (span.path, span.start) in absent:
                missing.append(suspect)
        return missing

    async def _say(self, found: Findings) -> None:
        state = self._mover.state
        state.checked = self._clock()
        state.broken_parts += len(found.parts)
        state.read_again += len(found.files)
        if found.unreadable:
            log.warning("rows of %d files are missing, and the files cannot be read: %s",
                        len(found.unreadable), _some(found.unreadable))  # fmt: skip
        if not found.parts and not found.files:
            log.info("the store was checked: it has every row that was moved")
            return
        parts = [f"{part.table} {part.name}" for part in found.parts]
        text = f"{len(parts)} damaged parts: {_some(parts)}. {len(found.files)} files are read again: {_some(found.files)}."
        log.error("the store had lost rows: %s", text)
        with suppress(ArchiveError):
            await self._journal.write(
                "alarm",
                rule=RULE,
                level="warning",
                title="The store had lost rows; they are read again from the archive",
                text=text,
                parts=str(len(parts)),
                files=str(len(found.files)),
                rows=str(found.rows),
            )


def _gaps(known: list[tuple[int, int]], end: int) -> list[tuple[int, int]]:
    """What is in none of `known`, from 0 to `end`."""
    gaps, at = [], 0
    for start, until in sorted(known):
        if start > at:
            gaps.append((at, min(start, end)))
        at = max(at, until)
    if at < end:
        gaps.append((at, end))
    return [(first, last) for first, last in gaps if first < last]


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
