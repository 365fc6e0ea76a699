"""What is older than it is to be kept goes: its rows first, then its file. Nothing goes that was not moved.

A file's age counts from its receipt: when its last byte came, by our clock. No name and no time that a client chose plays a
part. The ledger keeps each file's receipt; a file that it does not know was received when it was last modified, and if that
cannot be true, when we first saw it. "Now" is the newest receipt, never one reading of the clock.

A run stops, takes nothing and raises an alarm when it would take more than `max_share` of a kind and one of these holds:

- the newest receipt is further from that of the last completed run than the days on which something was received, or a run
  looked, plus one: the clock jumped, or the monitor was off;
- less is to be kept than at the last completed run;
- no run is known, as after an upgrade or the loss of the ledger, and as much has been too old for longer than FIRST: less
  may be to be kept than before.

It also stops when the clock is behind the last completed run. `lae-monitor archive retire --confirm` lets it go on.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec

from lae_monitor.archive import ArchiveError
from lae_monitor.core.kind import JOURNAL, Classes
from lae_monitor.core.limits import format_size
from lae_monitor.core.time import DAY, HOUR, Clock, format_time, wall_clock
from lae_monitor.mover.ages import Aged, Last, Look, Rules, Tally, beyond, kept_by_class, without_row
from lae_monitor.mover.ledger import Received
from lae_monitor.mover.mover import Mover
from lae_monitor.store.store import DELETED_AT_ONCE

log = logging.getLogger(__name__)

LAST: Final = "retention"  # in the ledger: the last completed run
STOPPED: Final = "retention stopped"  # in the ledger: why the last run stopped; "" if it did not
FACTS: Final = (LAST, STOPPED)
BEHIND: Final = HOUR  # a clock that is set right goes back by less
FIRST: Final = 2 * DAY  # the release before took daily what was due
NOTED_AT_ONCE: Final = 5_000  # receipts in one transaction
NAMED: Final = 100  # files that an answer lists

_IN_FORCE: Final = (  # the newest decision about something; where a file was moved from is of use for a minute only
    "SELECT DISTINCT source FROM {lae}.decisions FINAL WHERE subject != 'moved file' AND source IN {paths:Array(String)}"
)


@dataclass
class Plan:
    """What a run would do.

    newest: the receipt that ages count from.
    why: why the run stops instead, as a sentence; "" if it does not.
    doubtful: files whose receipt cannot be true.
    over: by kind, the oldest, as many as are beyond its room.
    new: receipts that the ledger does not have.
    """

    newest: float = 0.0
    why: str = ""
    kinds: dict[str, Tally] = field(default_factory=dict)
    doubtful: list[Aged] = field(default_factory=list)
    over: dict[str, list[Aged]] = field(default_factory=dict)
    new: dict[str, Received] = field(default_factory=dict)

    @property
    def due(self) -> list[Aged]:
        return [file for kind in self.kinds.values() for file in kind.due]

    def describe(self) -> str:
        """`143 of 152 files (1.2 GiB) of crashes`, for each kind that something would go of."""
        parts = [
            f"{len(kind.due):,} of {kind.files:,} files ({format_size(kind.due_bytes)}) of {name}"
            for name, kind in self.kinds.items()
            if kind.due
        ]
        return ", ".join(parts) or "nothing"

    def as_json(self) -> dict[str, Any]:
        due = sorted(self.due)
        return {
            "newest": format_time(self.newest, digits=0) if self.newest else None,
            "stopped": self.why,
            "kinds": {
                name: {
                    "files": kind.files,
                    "bytes": kind.bytes,
                    "due_files": len(kind.due),
                    "due_bytes": kind.due_bytes,
                }
                for name, kind in self.kinds.items()
            },
            "due": [_named(file) for file in due[:NAMED]],
            "more": max(0, len(due) - NAMED),
            "doubtful_files": len(self.doubtful),
            "doubtful": [_named(file) for file in sorted(self.doubtful)[:NAMED]],
        }


def _named(file: Aged) -> dict[str, Any]:
    return {"path": file.path, "received": format_time(file.at, digits=0), "size": file.size}


class Retention:
    """The retention of one archive and its store.

    Args:
        rules: what is kept.
        clock: compared with the receipts; it alone decides nothing.
    """

    def __init__(self, mover: Mover, rules: Rules, clock: Clock = wall_clock) -> None:
        self._mover = mover
        self._rules = rules
        self._clock = clock
        self._kinds = mover.store.kinds
        self._one = asyncio.Lock()  # two runs at once would count the same files

    @property
    def _last(self) -> Last | None:
        return _decoded(self._mover.ledger.fact(LAST), Last)

    async def run(self, *, confirmed: bool = False) -> tuple[int, Plan]:
        """Removes what is due, or stops; returns how many files went, and what was planned."""
        async with self._one:
            return await self._run(confirmed=confirmed)

    async def _run(self, *, confirmed: bool) -> tuple[int, Plan]:
        last, plan = self._last, await self.plan(confirmed=confirmed)
        await self._note(plan, last)
        if plan.why:
            self._stop(plan.why)
            before = last.rules if last is not None else Rules(keep={})
            over = [
                file
                for kind, files in plan.over.items()
                if kind in before.keep and self._rules.of(kind).room >= before.classes.get(kind, Classes(room=0)).room
                for file in files
            ]
            return await self._remove(over), plan
        gone = await self._remove(plan.due)
        newest = plan.newest if confirmed or last is None else max(plan.newest, last.newest)
        seen = last.seen if last is not None and newest == last.newest else []  # a quiet month is no jump
        self._set(LAST, Last(newest=newest, rules=self._rules, seen=seen))
        self._mover.ledger.set_fact(STOPPED, "")
        return gone, plan

    async def plan(self, *, confirmed: bool = False) -> Plan:
        """What `run()` would do now; changes nothing.

        Args:
            confirmed: an operator looked at it: neither the clock nor the share stops it.
        """
        last, clock = self._last, self._clock()
        if last is not None and not confirmed and _is_behind(clock, last):
            return Plan(
                newest=last.newest,
                why=f"the clock says {format_time(clock, digits=0)}, but receipts of "
                f"{format_time(last.newest, digits=0)} are there: set the clock right",
            )
        look = Look(self._mover, self._rules, clock, floor=0.0 if last is None or confirmed else last.newest - DAY)
        await look.look()
        by_class: dict[str, float] = {}  # seconds by path
        for kind in self._kinds:
            by_class |= await kept_by_class(self._mover, kind, self._rules.of(kind.name).keep)
        plan = Plan(newest=look.newest, doubtful=look.doubtful, new=look.new)
        plan.over = {kind: beyond(files, self._rules.of(kind).room) for kind, files in look.all.items()}
        await self._decide(plan, look, by_class)
        if confirmed:
            return plan
        explained, is_settled = look.explained(last)
        shortened = self._rules.shortened(last.rules) if last is not None else []
        reasons = [f"less is to be kept: {', '.join(shortened)}"] if shortened else []
        if explained < look.newest:
            reasons.append(
                f"the newest receipt is of {format_time(look.newest, digits=0)}, and the one before the gap of "
                f"{format_time(explained, digits=0)}: the clock jumped, or the monitor was off"
            )
        if last is None and self._has_long_been_due(look, by_class):
            reasons.append("no earlier run is known, and this has been too old for days: less may be kept than before")
        if reasons and any(kind.exceeds(self._rules.max_share) for kind in plan.kinds.values()):
            plan.why = f"{'; '.join(reasons)}. It would take {plan.describe()}"
        elif explained < look.newest and not is_settled:
            plan.newest = explained
            await self._decide(plan, look, by_class)
        return plan

    async def _decide(self, plan: Plan, look: "Look", by_class: Mapping[str, float]) -> None:
        """Which files are due, when ages count from `plan.newest`."""
        for name, seconds in self._rules.seconds().items():
            if name not in look.kinds:
                continue
            kind = plan.kinds[name] = look.kinds[name]
            due = {file.path: file for file in self._aged(look, name, seconds, by_class, plan.newest)}
            classes = self._rules.of(name)
            longest = max([seconds, *classes.keep.values()])
            if longest > seconds and (of := self._kinds.named(name)) is not None:
                for path in await without_row(self._mover, of, list(due)):
                    if due[path].at + longest > plan.newest:
                        del due[path]  # the store lost its row: it may be of the class that is kept for longest
            if name in look.all:
                staying = [file for file in look.all[name] if file.path not in due]
                due |= {file.path: file for file in beyond(staying, classes.room)}
            if name == JOURNAL:
                for path in await self._in_force(list(due)):
                    del due[path]
            kind.due = sorted(due.values())

    def _has_long_been_due(self, look: "Look", by_class: Mapping[str, float]) -> bool:
        """Whether more than an unusual share of a kind was too old FIRST ago already."""
        for name, seconds in self._rules.seconds().items():
            if name in look.kinds:
                kind = look.kinds[name]
                due = list(self._aged(look, name, seconds, by_class, look.newest - FIRST))
                if Tally(files=kind.files, bytes=kind.bytes, due=due).exceeds(self._rules.max_share):
                    return True
        return False

    def _aged(
        self, look: Look, name: str, seconds: float, by_class: Mapping[str, float], newest: float
    ) -> Iterator[Aged]:
        """The files of the kind `name` that are too old when ages count from `newest`."""
        for file in look.old[name]:
            if file.at + by_class.get(file.path, seconds) <= newest:
                yield file

    async def _in_force(self, paths: Sequence[str]) -> list[str]:
        """Those of the journal's files `paths` that hold a decision which is still in force."""
        found: list[str] = []
        for at in range(0, len(paths), DELETED_AT_ONCE):
            rows = await self._mover.store.query(_IN_FORCE, {"paths": list(paths[at : at + DELETED_AT_ONCE])})
            found += [row["source"] for row in rows]
        return found

    # ---- what is written down --------------------------------------------------------------------------------------

    async def _note(self, plan: Plan, last: Last | None) -> None:
        """Today as a day of a look, and the receipts that were new."""
        clock = self._clock()
        if last is not None:
            if not plan.kinds:
                return  # the clock is behind: it dates no receipt
            last.seen = sorted({*last.seen, int(clock // DAY)})
            self._set(LAST, last)
            for file in plan.doubtful:
                plan.new[file.path] = Received(plan.newest, file.size)
                await self._mover.archive.stamp(file.path, plan.newest)  # should the ledger be lost
        if plan.doubtful:
            log.warning(
                "%d files have a receipt that cannot be true, such as %s of %s; they count from %s",
                len(plan.doubtful),
                plan.doubtful[0].path,
                format_time(plan.doubtful[0].at, digits=0),
                format_time(plan.newest, digits=0),
            )
        new = iter(plan.new.items())
        while part := dict(islice(new, NOTED_AT_ONCE)):
            self._mover.ledger.set_received(part)
            await asyncio.sleep(0)  # the first run of a large archive notes a million

    def _stop(self, why: str) -> None:
        before = stopped(self._mover.ledger.fact(STOPPED))
        if before is None or before.why != why:
            log.error("retention stopped: %s", why)
        self._set(STOPPED, Stopped(since=before.since if before is not None else self._clock(), why=why))

    def _set(self, name: str, value: "Last | Stopped") -> None:
        self._mover.ledger.set_fact(name, msgspec.json.encode(value).decode())

    # ---- removing --------------------------------------------------------------------------------------------------

    async def _remove(self, files: Sequence[Aged]) -> int:
        gone = 0
        for at in range(0, len(files), DELETED_AT_ONCE):
            gone += await remove(self._mover, files[at : at + DELETED_AT_ONCE])
        return gone


class Stopped(msgspec.Struct, kw_only=True):
    """Why retention stopped, and since when."""

    since: float
    why: str


def stopped(fact: str) -> Stopped | None:
    """By what the ledger says under STOPPED; None if retention goes on."""
    return _decoded(fact, Stopped)


T = TypeVar("T")


def _decoded(fact: str, kind: type[T]) -> T | None:
    """What the ledger says; None if it says nothing, or if another release wrote it in another form."""
    try:
        return msgspec.json.decode(fact, type=kind)
    except msgspec.MsgspecError:
        return None


def _is_behind(clock: float, last: Last) -> bool:
    return clock < last.newest - BEHIND


async def remove(mover: Mover, files: Sequence[Aged]) -> int:
    """Removes those of `files` that were moved to their end; none while a batch is waiting to be repeated."""
    gone = 0
    async with mover.paused():
        if mover.ledger.batch():
            log.warning("nothing is retired while a batch is waiting to be repeated")
            return 0
        paths = [file.path for file in files if await _is_moved(mover, file)]
        await mover.store.forget(paths)
        for path in paths:
            try:
                await mover.archive.remove(path)
                gone += 1
            except ArchiveError as error:  # somebody writes to it: it is moved anew
                log.warning("%s stays for now: %s", path, error)
        mover.ledger.drop(paths)
    return gone


async def _is_moved(mover: Mover, file: Aged) -> bool:
    """Whether the whole file was moved, and is as it was when it was looked at."""
    try:
        size = await mover.archive.settle(file.path)
    except FileNotFoundError as error:
        log.warning("%s", error)
        return False
    if size > file.size:
        return False  # it grew, so it is young
    if mover.ledger.moved(file.path) >= size:
        return True
    log.warning("%s is older than it is to be kept, but was not moved yet: it stays", file.path)
    return False
