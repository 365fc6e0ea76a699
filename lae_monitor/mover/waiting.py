"""Files that hold something new, in two queues: fresh reports (a hint named the file) and the backlog (a sweep found it).

A batch takes half of its files and bytes from each, so a fresh report does not wait until the backlog is done. A queue that
is empty leaves its half to the other.
"""

import re
import time
from datetime import UTC, datetime
from typing import Final

from lae_monitor.core.time import DAY, Clock

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

    def put_back(self, path: str, since: float) -> None:
        """`path` could not be read just now."""
        self.backlog[path] = min(since, self.backlog.get(path, since))

    @property
    def oldest(self) -> float:
        """Seconds that the oldest has been waiting; 0 when there is none."""
        times = [*self.fresh.values(), *self.backlog.values()]
        return time.monotonic() - min(times) if times else 0.0

    def shares(self) -> list[tuple[dict[str, float], list[str], float]]:
        """What a batch takes from, in order: a queue, its files as they wait now, and up to which share of the batch."""
        fresh, backlog = list(self.fresh), list(self.backlog)
        return [(self.fresh, fresh, 0.5), (self.backlog, backlog, 1.0), (self.fresh, fresh, 1.0)]

    def _is_recent(self, path: str) -> bool:
        found = _DAY.search(path)
        if found is None:
            return True
        year, month, day = (int(number) for number in found.groups())
        try:
            return datetime(year, month, day, tzinfo=UTC).timestamp() + RECENT >= self._clock()
        except ValueError:
            return True
