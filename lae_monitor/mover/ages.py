"""How old the files of the archive are, and what is kept for how long.

The receipt of a file is when its last byte came, by our clock: the ledger has it. A file that the ledger does not know was
received when it was last modified; if that cannot be true, its receipt is doubtful.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from lae_monitor.archive import Archive
from lae_monitor.archive.kernel import Entry
from lae_monitor.config import Settings
from lae_monitor.core.kind import JOURNAL, Classes, Kind, load
from lae_monitor.core.limits import format_size
from lae_monitor.core.time import DAY, MINUTE, format_duration
from lae_monitor.mover.ledger import Received
from lae_monitor.mover.mover import Mover
from lae_monitor.mover.sweep import ours
from lae_monitor.store.store import DELETED_AT_ONCE

AHEAD: Final = 5 * MINUTE  # a file server's clock may be so far ahead of ours
SETTLED_DAYS: Final = 3  # days with receipts after a gap, until the clock is believed that it was one
_OF_JOURNAL: Final = re.compile(r"journal/\d{4}/\d\d/\d\d/")


class Rules(msgspec.Struct, kw_only=True, frozen=True):
    """What is kept: seconds by kind; and by kind, what is kept of its classes and in how many bytes.

    `max_share` of a kind is usual in one run.
    """

    keep: dict[str, float]
    classes: dict[str, Classes] = {}
    max_share: float = 0.05

    def of(self, kind: str) -> Classes:
        return self.classes.get(kind, Classes())

    def seconds(self) -> dict[str, float]:
        """By kind. The journal stays as long as anything that it tells of."""
        of_classes = [seconds for classes in self.classes.values() for seconds in classes.keep.values()]
        return {**self.keep, JOURNAL: max(*self.keep.values(), *of_classes, 0.0)}

    def shortened(self, before: "Rules") -> list[str]:
        """What is kept for less, or in less room, than `before` said."""
        found = [
            f"retention.{kind} from {format_duration(before.keep[kind])} to {format_duration(seconds)}"
            for kind, seconds in self.keep.items()
            if seconds < before.keep.get(kind, 0.0)
        ]
        for kind, seconds in self.keep.items():
            new = self.of(kind)
            old = before.classes.get(kind, Classes(room=new.room))
            for name in sorted(new.keep.keys() | old.keep.keys()):
                was, now = old.keep.get(name, before.keep.get(kind, 0.0)), new.keep.get(name, seconds)
                if now < was:
                    key = new.key or old.key
                    found.append(f"{key} of {name} from {format_duration(was)} to {format_duration(now)}")
            if new.room < old.room:
                found.append(f"max_kept of {kind} from {format_size(old.room)} to {format_size(new.room)}")
        return found


def rules_of(settings: Settings) -> Rules:
    """What the configuration says of how long, and in how much room, everything is kept."""
    keep = {kind.name: float(getattr(settings.retention, kind.name)) for kind in settings.kinds}
    classes = {kind.name: load(kind.classes)(settings.gatherers[kind.name]) for kind in settings.kinds if kind.classes}
    return Rules(keep=keep, classes=classes, max_share=float(settings.retention.max_share))


class Aged(NamedTuple):
    """A file of the archive. `at`: when its last byte came; they sort by that."""

    at: float
    path: str
    size: int


class Last(msgspec.Struct, kw_only=True):
    """The last completed run. `newest`: the receipt that its ages counted from; `seen`: days of looks since that receipt."""

    newest: float
    rules: Rules
    seen: list[int] = []


class Tally(msgspec.Struct, kw_only=True):
    """What there is of a kind, and what of it is to go."""

    files: int = 0
    bytes: int = 0
    due: list[Aged] = []

    @property
    def due_bytes(self) -> int:
        return sum(file.size for file in self.due)

    def exceeds(self, share: float) -> bool:
        return len(self.due) > share * self.files or self.due_bytes > share * self.bytes


class Look:
    """One look at all files that are kept for a time.

    Args:
        floor: a file that the ledger does not know, and that says it came before then, did not.
    """

    def __init__(self, mover: Mover, rules: Rules, clock: float, floor: float) -> None:
        self._mover = mover
        self._rules = rules
        self._clock = clock
        self._floor = floor
        self._patterns = {kind.name: kind.is_report for kind in mover.store.kinds} | {JOURNAL: _OF_JOURNAL}
        self._newest_of: dict[int, float] = {}  # the newest receipt of each day
        self.kinds: dict[str, Tally] = {}
        self.old: dict[str, list[Aged]] = {}  # by kind: what may be due
        self.all: dict[str, list[Aged]] = {}  # by kind: all whose receipt can be true, of kinds that have classes
        self.doubtful: list[Aged] = []
        self.new: dict[str, Received] = {}

    @property
    def newest(self) -> float:
        return max(self._newest_of.values(), default=0.0)

    def explained(self, last: Last | None) -> tuple[float, bool]:
        """The newest receipt that the days with receipts explain, and whether those beyond go on for long enough."""
        has_last = last is not None and last.newest > 0  # the archive may have been empty
        start = last.newest if last is not None and has_last else min(self._newest_of.values(), default=0.0)
        received = {day for day in self._newest_of if start // DAY < day <= self._clock // DAY}
        seen = {day for day in (last.seen if last is not None else ()) if start // DAY < day <= self._clock // DAY}
        limit = start + (len(received | seen) + 1) * DAY
        explained = max([start, *(at for at in self._newest_of.values() if at <= limit)])
        return explained, not has_last or sum(day * DAY > limit for day in received) >= SETTLED_DAYS

    async def look(self) -> None:
        for name, seconds in self._rules.seconds().items():
            if (pattern := self._patterns.get(name)) is not None:
                least = min([seconds, *self._rules.of(name).keep.values()])
                self.kinds[name], self.old[name] = Tally(), []
                if name in self._rules.classes:
                    self.all[name] = []
                async for folder, entries in folders_of(self._mover.archive, name):
                    known = self._mover.ledger.received(folder)
                    for entry in entries:
                        path = f"{folder}/{entry.name}"
                        if pattern.match(path):
                            self._take(name, path, entry, known.get(path), least)

    def _take(self, name: str, path: str, entry: Entry, known: Received | None, least: float) -> None:
        kind = self.kinds[name]
        kind.files += 1
        kind.bytes += entry.size
        is_known = known is not None and known.size == entry.size
        at = known.at if known is not None and is_known else entry.modified
        file = Aged(at, path, entry.size)
        if at > self._clock + AHEAD or (at < self._floor and not is_known):
            self.doubtful.append(file)
            return
        if not is_known:
            self.new[path] = Received(at, entry.size)
        day = int(at // DAY)
        self._newest_of[day] = max(at, self._newest_of.get(day, 0.0))
        if at + least <= self._clock:
            self.old[name].append(file)
        if name in self.all:
            self.all[name].append(file)


async def folders_of(archive: Archive, folder: str) -> AsyncIterator[tuple[str, list[Entry]]]:
    """The folders of ours at and below `folder` that hold files, each with these."""
    files = []
    for entry in await archive.entries(folder):
        path = f"{folder}/{entry.name}"
        if not ours(path):
            continue
        if entry.folder:
            async for inner in folders_of(archive, path):
                yield inner
        else:
            files.append(entry)
    if files:
        yield folder, files


# Further reasons for a report to go, or to stay: how long its class (a crash's product) is kept, and the room of all.
# A group begins with the class, as it is shown: also in rows of readers that kept it in no attribute of its own.
_OF_CLASS: Final = (
    "SELECT DISTINCT file FROM {lae}.events "
    "WHERE kind = {kind:String} AND file != '' AND startsWith(`group`, {group:String})"
)

_WITH_ROW: Final = "SELECT DISTINCT file FROM {lae}.events WHERE kind = {kind:String} AND file IN {paths:Array(String)}"


async def kept_by_class(mover: Mover, kind: Kind, keep: Mapping[str, float]) -> dict[str, float]:
    """How long the reports of some classes are kept, in seconds by path; `keep` has the seconds by class."""
    found: dict[str, float] = {}
    for name, seconds in keep.items():
        rows = await mover.store.query(_OF_CLASS, {"kind": kind.event, "group": load(kind.class_group)(name)})
        found |= {row["file"]: max(seconds, found.get(row["file"], 0.0)) for row in rows}  # two ways to write a class
    return found


async def without_row(mover: Mover, kind: Kind, paths: Sequence[str]) -> set[str]:
    """Those of the reports `paths` that the store has no row of: their class is not known."""
    missing = set(paths)
    for at in range(0, len(paths), DELETED_AT_ONCE):
        rows = await mover.store.query(_WITH_ROW, {"kind": kind.event, "paths": list(paths[at : at + DELETED_AT_ONCE])})
        missing -= {row["file"] for row in rows}
    return missing


def beyond(files: Sequence[Aged], limit: int) -> list[Aged]:
    """The oldest of `files`, as many as have to go until the others take at most `limit` bytes."""
    excess = sum(file.size for file in files) - limit
    gone: list[Aged] = []
    for file in sorted(files) if excess > 0 else ():
        if excess <= 0:
            break
        gone.append(file)
        excess -= file.size
    return gone
