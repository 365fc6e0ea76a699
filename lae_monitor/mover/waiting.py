"""Files that hold something new, in two queues: fresh reports (a hint named the file) and the backlog (a sweep found it).

A batch takes half of its files and bytes from each, so a fresh report does not wait until the backlog is done. A queue that
is empty leaves its half to the other.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from lae_monitor.core.limits import MiB
from lae_monitor.core.time import DAY, Clock
from lae_monitor.mover.pieces import Piece

AT_ONCE: Final = 8  # files that are synced and read side by side
BATCH_FILES: Final = 500
BATCH_BYTES: Final = 8 * MiB
RECENT: Final = 2 * DAY  # a hint about an older day comes from an import, which is backlog
_DAY: Final = re.compile(r"(?<!\d)(\d{4})[-/]?(\d\d)[-/]?(\d\d)(?!\d)")


class Waiting:
    """Both queues, each in the order of arrival: path -> since when, by time.monotonic()."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.fresh: dict[str, float] = {}
        self.backlog: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self.fresh) + len(self.backlog)

    def hint(self, path: str) -> None:
        """A writer says that `path` has something new."""
        if self._is_recent(path):
            self.fresh.setdefault(path, self.backlog.pop(path, time.monotonic()))
        else:
            self.find(path)

    def find(self, path: str, *, fresh: bool = False) -> None:
        """A sweep found more in `path` than was moved, or there may be more after the piece that is moved now."""
        if path not in self.fresh and path not in self.backlog:
            (self.fresh if fresh else self.backlog)[path] = time.monotonic()

    def _put_back(self, path: str, since: float) -> None:
        """`path` could not be read just now."""
        self.backlog[path] = min(since, self.backlog.get(path, since))

    @property
    def oldest(self) -> float:
        """Seconds that the oldest has been waiting; 0 when there is none."""
        times = [*self.fresh.values(), *self.backlog.values()]
        return time.monotonic() - min(times) if times else 0.0

    async def collect(
        self, next_piece: Callable[[str], Awaitable[Piece | OSError | None]], backlog_files: int
    ) -> list[Piece]:
        """The next pieces of the files that wait, no more than a batch may hold, at most `backlog_files` of the backlog.

        Raises:
            OSError: of the last file that could not be read, when none could.
        """
        pieces: list[Piece] = []
        failure: OSError | None = None
        size = 0
        # As they wait now: what is added meanwhile is of the next batch, which has one piece of a file.
        fresh, backlog = list(self.fresh), list(self.backlog)
        for queue, paths, share in ((self.fresh, fresh, 0.5), (self.backlog, backlog, 1.0), (self.fresh, fresh, 1.0)):
            most = BATCH_FILES * share
            if queue is self.backlog:
                most = min(most, len(pieces) + backlog_files)
            while paths and len(pieces) < most and size < BATCH_BYTES * share:
                group, paths[:AT_ONCE] = [path for path in paths[:AT_ONCE] if path in queue], []
                since = {path: queue.pop(path) for path in group}
                for path, piece in zip(group, await asyncio.gather(*map(next_piece, group)), strict=True):
                    if isinstance(piece, OSError):
                        failure = piece
                        self._put_back(path, since[path])
                    elif piece is not None:
                        pieces.append(piece)
                        size += len(piece.data)
        if failure is not None and not pieces:
            raise failure
        return pieces

    def _is_recent(self, path: str) -> bool:
        found = _DAY.search(path)
        if found is None:
            return True
        year, month, day = (int(number) for number in found.groups())
        try:
            return datetime(year, month, day, tzinfo=UTC).timestamp() + RECENT >= self._clock()
        except ValueError:
            return True
