"""Files that went to another place of the archive: what was read from the old one is taken back.

A gatherer that moves a file stores it anew first, then says so by a decision in the journal (subject "moved file", about the
old path), and then removes the old one. The rows of the new place come as those of any file do.
"""

import logging
from typing import Final

from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import MINUTE, Clock, wall_clock
from lae_monitor.mover.mover import Mover
from lae_monitor.store.driver import Parameter
from lae_monitor.store.store import DELETED_AT_ONCE

log = logging.getLogger(__name__)

SUBJECT: Final = "moved file"  # as gatherers write it
SETTLED: Final = MINUTE  # after so long a file that is still there, or again, is meant to be

_NEXT: Final = """
SELECT about, toUnixTimestamp64Micro(time) AS at FROM {lae}.decisions FINAL
WHERE subject = {subject:String} AND toUnixTimestamp64Micro(time) > {since:Int64} ORDER BY at, about LIMIT {limit:UInt32}
"""
_MOVED: Final = "SELECT DISTINCT source FROM {lae}.moves WHERE source IN {paths:Array(String)}"


class MovedFiles:
    """Follows the decisions, from the first on after each start."""

    def __init__(self, mover: Mover, clock: Clock = wall_clock) -> None:
        self._mover = mover
        self._clock = clock
        self._since = 0  # microseconds since the epoch: decisions up to then need no looking at

    async def take_back(self) -> int:
        """Takes back what was read from files that were moved away; returns of how many. To be called every few seconds.

        Raises:
            StoreError
        """
        values: dict[str, Parameter] = {"subject": SUBJECT, "since": self._since, "limit": DELETED_AT_ONCE}
        decided = await self._mover.store.query(_NEXT, values)
        if not decided or self._mover.archive.silent():
            return 0
        async with self._mover.paused():
            if self._mover.ledger.batch():
                return 0  # it may hold one of them
            moved = await self._mover.store.query(_MOVED, {"paths": [row["about"] for row in decided]})
            gone = [row["source"] for row in moved if await self._is_gone(row["source"])]
            if gone:
                await self._mover.store.forget(gone)
                self._mover.ledger.drop(gone)
        left = {row["source"] for row in moved} - {*gone}
        newest = (self._clock() - SETTLED) * 1e6
        pending = [row["at"] for row in decided if row["about"] in left and row["at"] > newest]
        self._since = max(self._since, min(pending) - 1 if pending else decided[-1]["at"])
        return len(gone)

    async def _is_gone(self, path: str) -> bool:
        """Whether no root has the file: it may not yet have been removed, or be there anew."""
        try:
            await self._mover.archive.settle(path)
        except FileNotFoundError:
            return True
        except (OSError, Refused) as error:
            log.warning("%s: %s", path, error)
        return False
