"""Finds what the archive has that no destination was asked to take yet, and reads it. It removes nothing."""

import logging
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from lae_monitor.archive import Archive
from lae_monitor.core.names import CrashId
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.time import HOUR, Clock
from lae_monitor.kinds.crashes.container import path_of
from lae_monitor.kinds.crashes.crashmover.crash import Crash, from_zip
from lae_monitor.kinds.crashes.crashmover.ledger import Ledger
from lae_monitor.kinds.crashes.crashmover.routes import Route

log = logging.getLogger(__name__)

FOLDER: Final = "crashes"
SUFFIX: Final = ".zip"
FULL_EVERY: Final = 1 * HOUR  # between looks into the folders of all days, changed or not
SETTLED: Final = 10.0  # seconds since a folder's last change, after which its time tells whether there was another one
RECENT_DAYS: Final = 2
MAX_CRASH: Final = 1 << 30  # bytes that are read into memory; the collector takes 200 MiB
TOGETHER: Final = 5000  # crashes that are written down at a time
_DAY: Final = re.compile(r"20[0-9]{6}", re.ASCII)


class Source:
    """The archive's crashes, as far as they are new to the ledger."""

    def __init__(self, archive: Archive, ledger: Ledger, routes: Sequence[Route], clock: Clock) -> None:
        self._archive = archive
        self._ledger = ledger
        self._routes = routes
        self._clock = clock
        self._seen: dict[str, float] = {}  # day -> when its folder had last changed, when that tells something
        self._complete: dict[str, set[str]] = {}  # day -> names that all destinations know; of recent days
        self._swept = 0.0  # when all days were looked at

    async def sweep(self) -> int:
        """Writes down what is new; returns how many crashes that is."""
        now = self._clock()
        full = now - self._swept >= FULL_EVERY or now < self._swept
        count = 0
        days = [entry async for entry in self._days()]
        for day, modified in days:
            if full or self._may_have_changed(day, modified, now):
                count += await self._look(day)
                if now - modified > SETTLED:
                    self._seen[day] = modified
        if full:
            self._swept = now
            self._forget({day for day, _ in days})
        return count

    async def _days(self) -> AsyncIterator[tuple[str, float]]:
        for entry in await self._archive.entries(FOLDER):
            if entry.folder and _DAY.fullmatch(entry.name):
                yield entry.name, entry.modified

    def _may_have_changed(self, day: str, modified: float, now: float) -> bool:
        # A folder on a fallback root shows the time of the first root's only.
        if len(self._archive.roots) > 1 and day in _recent(now):
            return True
        return self._seen.get(day) != modified

    async def _look(self, day: str) -> int:
        """The new crashes of one day."""
        names = {entry.name for entry in await self._archive.entries(f"{FOLDER}/{day}") if not entry.folder}
        complete = self._complete.get(day)
        if complete is None:
            complete = self._complete[day] = self._known_to_all(day)
        new = sorted(names - complete)
        routes = [route for route in self._routes if route.takes_day(day)]
        known = self._ledger.known(day) if new else {}
        found: list[tuple[CrashId, str]] = []
        fresh: set[str] = set()
        for name in new:
            crash_id = id_of(name, day)
            if crash_id is None:
                continue
            wanting = [route.name for route in routes if crash_id not in known.get(route.name, ())]
            found += [(crash_id, destination) for destination in wanting]
            if wanting:
                fresh.add(name)
        for start in range(0, len(found), TOGETHER):
            self._ledger.notice(found[start : start + TOGETHER], self._clock())
        complete.update(new)
        if day not in _recent(self._clock()):
            del self._complete[day]
        return len(fresh)

    def _known_to_all(self, day: str) -> set[str]:
        known = self._ledger.known(day)
        sets = [known.get(route.name, set()) for route in self._routes if route.takes_day(day)]
        return {f"{crash_id}{SUFFIX}" for crash_id in set.intersection(*sets)} if sets else set()

    def _forget(self, days: set[str]) -> None:
        """What retention removed need not be kept account of; while a root does not answer, nothing is forgotten."""
        if self.silent():
            return
        self._complete = {day: names for day, names in self._complete.items() if day in _recent(self._clock())}
        for day in self._ledger.days():
            if day not in days:
                self._ledger.forget(day)

    def silent(self) -> list[str]:
        """The archive roots that do not say which crashes they have."""
        return self._archive.silent()

    async def size(self, crash_id: CrashId) -> int:
        """Bytes of the crash.

        Raises:
            FileNotFoundError
        """
        return await self._archive.settle(path_of(crash_id))

    async def read(self, crash_id: CrashId, size: int) -> Crash:
        """
        Raises:
            Refused: `unreadable`; it is not what was received, and must go nowhere.
            FileNotFoundError: no root that answers has it.
        """
        if size > MAX_CRASH:
            raise Refused("unreadable", f"larger than {MAX_CRASH} bytes")
        return from_zip(crash_id, await self._archive.read(Span(path_of(crash_id), 0, size)))


def id_of(name: str, day: str) -> CrashId | None:
    """The crash of a file's name; None for what is none of ours."""
    if not name.endswith(SUFFIX):
        return None
    try:
        crash_id = CrashId(name.removesuffix(SUFFIX))
    except Refused:
        return None
    return crash_id if crash_id.day == day else None


def _recent(now: float) -> set[str]:
    today = datetime.fromtimestamp(now, UTC).date()
    return {(today + timedelta(days=1 - ago)).strftime("%Y%m%d") for ago in range(RECENT_DAYS + 1)}
