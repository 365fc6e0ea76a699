"""What a host's nodes log, in a file a day, as flogtool's log gatherer writes them.

    incidents/<cluster>/logs/<host>/<YYYY>/<MM>/<DD>.flog    the day on which we had it, UTC

Events go to the disk together, four times a second. While the archive takes nothing they wait, as far as there is room. A
mark on the host's timeline says how many events are not kept, and why, once a minute at most.
"""

import asyncio
import json
import logging
from collections import defaultdict, deque
from contextlib import suppress
from typing import Any, Final

from prometheus_client import Counter

from lae_monitor.archive import Archive
from lae_monitor.core.limits import KiB, MiB
from lae_monitor.core.names import Place
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import MINUTE, Clock, day_path
from lae_monitor.kinds.incidents.wire.flog import MAGIC
from lae_monitor.kinds.receipts import Receipts

# By the label of the metric, what a mark says of them.
REASONS: Final = {
    "unsent": "were not sent: the node's queue was full, it was not connected, or it keeps them to itself",
    "day": "are beyond what is kept of a host and day",
    "waiting": "found no room while the archive took nothing, or too slowly",
    "large": "are larger than what is kept of one",
    "malformed": "have no number, no time, or are no events",
}

KEPT: Final = Counter("lae_incidents_log_events_total", "Log events of nodes that are durable")
LOST: Final = Counter("lae_incidents_log_lost_total", "Log events of nodes that are not kept, by reason", ["reason"])


class Losses:
    """Counts of events that are not kept, of all hosts, until `tell` writes them."""

    def __init__(self, receipts: Receipts) -> None:
        self._receipts = receipts
        self._counts: defaultdict[tuple[Place, str], int] = defaultdict(int)

    def count(self, place: Place, reason: str, events: int = 1) -> None:
        """`events` below 0: so many came late."""
        self._counts[place, reason] += events
        if events > 0:
            LOST.labels(reason).inc(events)

    def tell(self) -> None:
        """To be called now and then: writes a mark for each host and reason, and begins to count anew."""
        counts, self._counts = self._counts, defaultdict(int)
        for (place, reason), count in counts.items():
            if count > 0:
                title = f"{count} log event{'s' * (count > 1)} {'are' if count > 1 else 'is'} missing"
                self._receipts.mark(place, title, level="warning", text=f"{count} {REASONS[reason]}", reason=reason)


log = logging.getLogger(__name__)

SUFFIX: Final = ".flog"
BATCH_EVERY: Final = 0.25  # seconds: what came in that time shares a sync
MAX_BATCH: Final = 512 * KiB  # bytes written at once
MAX_EVENT: Final = 128 * KiB  # bytes of one event as JSON; typically 400
MAX_WAITING: Final = 2 * MiB  # bytes of one host's events that are not yet on disk
MAX_ALL_WAITING: Final = 32 * MiB  # of all hosts'
MAX_DAY: Final = 64 * MiB  # bytes kept of one host and day: 160,000 events, two a second
FIRST_PAUSE: Final = 1.0  # seconds without writing after the archive has refused; doubled with each refusal
LAST_PAUSE: Final = MINUTE


class Room:
    """Memory for what waits to be written, shared by all hosts."""

    def __init__(self) -> None:
        self._used = 0

    def take(self, size: int) -> bool:
        if self._used + size > MAX_ALL_WAITING:
            return False
        self._used += size
        return True

    def give_back(self, size: int) -> None:
        self._used -= size


class LogFile:
    """The file of the day of one host; only one of these writes it."""

    def __init__(self, place: Place, archive: Archive, clock: Clock, losses: Losses, room: Room) -> None:
        self._place = place
        self._archive = archive
        self._clock = clock
        self._losses = losses
        self._room = room
        self._waiting: deque[tuple[str, bytes]] = deque()  # the day, and a line of its file
        self._size = 0  # bytes waiting
        self._day = ""
        self._day_size = 0  # bytes that the archive has of the day
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        return self._task is None

    def add(self, event: dict[str, Any], tub_id: str, now: float) -> None:
        """Has an event written, that came from `tub_id` at `now`, unless a limit is against it: then it is counted."""
        line = json.dumps({"from": tub_id, "rx_time": now, "d": event}).encode("ascii") + b"\n"
        day = day_path(now)
        if len(line) > MAX_EVENT:
            self._losses.count(self._place, "large")
        elif day == self._day and self._day_size + self._size + len(line) > MAX_DAY:
            self._losses.count(self._place, "day")
        elif self._size + len(line) > MAX_WAITING or not self._room.take(len(line)):
            self._losses.count(self._place, "waiting")
        else:
            self._waiting.append((day, line))
            self._size += len(line)
            if self._task is None:
                self._task = asyncio.create_task(self._write(), name=f"log of {'/'.join(self._place)}")

    async def finish(self) -> None:
        """Writes what waits; what the archive refuses now is lost."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _write(self) -> None:
        pause = FIRST_PAUSE
        try:
            await self._wait(BATCH_EVERY)
            while self._waiting:
                day = self._waiting[0][0]
                try:
                    await self._begin(day)
                    await self._append(day)
                    pause = FIRST_PAUSE
                    await self._wait(BATCH_EVERY)
                except (Refused, OSError) as error:
                    if self._stopping.is_set():
                        self._losses.count(self._place, "waiting", self._take(len(self._waiting)))
                        return
                    log.warning("%s/%s: log not written, next try in %.0f s: %s", *self._place, pause, error)
                    await self._wait(pause)
                    pause = min(2 * pause, LAST_PAUSE)
        except Exception:
            log.exception("the log of %s/%s", *self._place)
            self._losses.count(self._place, "waiting", self._take(len(self._waiting)))
        finally:
            self._task = None

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for of Python 3.11 may swallow a cancellation
                await self._stopping.wait()

    async def _begin(self, day: str) -> None:
        """Looks how much of the day is kept already: we may have been started anew."""
        if day == self._day:
            return
        folder, _, name = f"{folder_of(self._place)}/{day}".rpartition("/")
        self._day, self._day_size = day, 0
        try:
            entries = await self._archive.entries(folder)
        except OSError as error:  # a root that cannot be read must not keep another one from being written
            log.warning("%s: %s", folder, error)
            return
        self._day_size = sum(entry.size for entry in entries if entry.name.startswith(f"{name}."))

    async def _append(self, day: str) -> None:
        lines: list[bytes] = []
        size = 0
        for of, line in self._waiting:
            if of != day or size + len(line) > MAX_BATCH:
                break
            lines.append(line)
            size += len(line)
        if self._day_size + size > MAX_DAY:
            self._losses.count(self._place, "day", self._take(len(lines)))
            return
        # With each write, since only the archive knows whether that begins a file: a fallback root has one of its own.
        await self._archive.append(path_of(self._place, day), b"".join(lines), head=_head(self._clock()))
        self._day_size += size
        KEPT.inc(self._take(len(lines)))

    def _take(self, count: int) -> int:
        """Forgets the first `count` lines; returns `count`."""
        for _ in range(count):
            size = len(self._waiting.popleft()[1])
            self._size -= size
            self._room.give_back(size)
        return count


def folder_of(place: Place) -> str:
    """The host's folder in the archive."""
    return f"incidents/{place.cluster}/logs/{place.host}"


def path_of(place: Place, day: str) -> str:
    """The file of a day such as `2026/11/22`; pieces of it may lie beside, with a number before the suffix."""
    return f"{folder_of(place)}/{day}{SUFFIX}"


def _head(now: float) -> bytes:
    return MAGIC + json.dumps({"header": {"type": "gatherer", "start": now}}).encode("ascii") + b"\n"
