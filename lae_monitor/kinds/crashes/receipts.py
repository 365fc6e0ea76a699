"""What was accepted and what was refused goes to the journal, after the reply, and never so much that it fills the disk.

A flood of bad requests gives a few receipts a minute, and one for each reason that says how many more there were.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from contextlib import suppress
from typing import Final

from prometheus_client import Counter

from lae_monitor.archive import ArchiveError, Journal
from lae_monitor.core.names import ClusterName
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import Clock
from lae_monitor.kinds.crashes.intake import Accepted
from lae_monitor.kinds.crashes.limits import RECEIPTS_GATHER, RECEIPTS_TOGETHER, RECEIPTS_WAITING

log = logging.getLogger(__name__)

UNWRITTEN: Final = Counter("lae_crashes_receipts_lost_total", "Receipts that the journal did not take")

PEER_BURST: Final = 20  # refusals of one peer that are recorded one by one
PEER_RATE: Final = 1 / 30  # and how many a second after that
TOTAL_BURST: Final = 200  # the same for all peers together
TOTAL_RATE: Final = 1.0  # 0.3 KB each: at most 26 MB a day
PEERS: Final = 1000  # that are told apart; the least recently seen is forgotten
SUMMARY_EVERY: Final = 60.0  # seconds between the receipts that say how many were not recorded
SUMMARIES: Final = 50  # of them at a time; the rest are added up by reason

Fields = dict[str, str | float]


class Bucket:
    """Lets `burst` pass at once, and `rate` a second after that."""

    def __init__(self, burst: float, rate: float, now: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = burst
        self._filled = now

    def take(self, now: float) -> bool:
        self._left = min(self._burst, self._left + max(0.0, now - self._filled) * self._rate)
        self._filled = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Suppressed:
    """Refusals that were counted only, by peer and reason."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str], tuple[int, int]] = {}  # peer, host, code -> how many, bytes

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, peer: str, host: str, code: str, count: int = 1, size: int = 0) -> None:
        key = (peer, host, code)
        if key not in self._counts and len(self._counts) >= PEERS:
            key = ("", "", code)
        before = self._counts.get(key, (0, 0))
        self._counts[key] = (before[0] + count, before[1] + size)

    def take(self) -> list[tuple[tuple[str, str, str], int, int]]:
        """What was counted, the largest first, at most SUMMARIES and one for each reason; the counts begin anew."""
        counts, self._counts = self._counts, {}
        ordered = sorted(counts.items(), key=lambda item: -item[1][0])
        rest: dict[tuple[str, str, str], tuple[int, int]] = {}
        for (_, _, code), (count, size) in ordered[SUMMARIES:]:
            before = rest.get(("", "", code), (0, 0))
            rest["", "", code] = (before[0] + count, before[1] + size)
        return [(key, count, size) for key, (count, size) in [*ordered[:SUMMARIES], *rest.items()]]


class Receipts:
    """Writes receipts in the background; `accepted` and `refused` never wait and never fail."""

    def __init__(self, journal: Journal, cluster: ClusterName, clock: Clock) -> None:
        self._journal = journal
        self._cluster = cluster
        self._clock = clock
        self._queue: deque[Fields] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._ended = asyncio.Event()
        self._peers: OrderedDict[str, Bucket] = OrderedDict()
        self._total = Bucket(TOTAL_BURST, TOTAL_RATE, clock())
        self._suppressed = Suppressed()
        self._last_complaint = 0.0

    def accepted(self, accepted: Accepted, *, peer: str, host: str, size: int) -> None:
        span = accepted.span
        place: Fields = {"id": accepted.crash_id, "file": span.path, "start": span.start, "end": span.end}
        self._put({**self._fields(peer, host, "accepted", size), **place})

    def refused(self, refused: Refused, *, peer: str, host: str, size: int) -> None:
        if self._may_record(peer):
            fields = self._fields(peer, host, "refused", size)
            self._put({**fields, "reason": refused.code, "detail": refused.detail})
        else:
            self._suppressed.add(peer, host, refused.code, size=size)

    async def keep_writing(self) -> None:
        """Writes receipts as they come, and every minute how many were counted only, until `close()`."""
        time = asyncio.get_running_loop().time
        due = time() + SUMMARY_EVERY
        while not self._closed:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._wake.wait()
            self._wake.clear()
            with suppress(TimeoutError):  # what comes within a moment shares a line's sync
                await asyncio.wait_for(self._ended.wait(), RECEIPTS_GATHER)
            if self._closed or time() >= due:
                self._summarise()
                due = time() + SUMMARY_EVERY
            await self._write()
        self._summarise()  # what was counted while the last ones were written
        await self._write()

    def close(self) -> None:
        """Lets `keep_writing()` write what is left, and end."""
        self._closed = True
        self._ended.set()
        self._wake.set()

    def _fields(self, peer: str, host: str, verdict: str, size: int) -> Fields:
        about: Fields = {"kind": "crash", "cluster": self._cluster, "host": host, "peer": peer}
        return {**about, "time": self._clock(), "verdict": verdict, "size": size}

    def _may_record(self, peer: str) -> bool:
        now = self._clock()
        bucket = self._peers.pop(peer, None) or Bucket(PEER_BURST, PEER_RATE, now)
        self._peers[peer] = bucket
        if len(self._peers) > PEERS:
            self._peers.popitem(last=False)
        return bucket.take(now) and self._total.take(now)

    def _summarise(self) -> None:
        for (peer, host, code), count, size in self._suppressed.take():
            fields = self._fields(peer, host, "refused", size)
            self._put({**fields, "reason": code, "detail": f"{count} more, not recorded one by one"})

    def _put(self, fields: Fields) -> None:
        if len(self._queue) >= RECEIPTS_WAITING:
            UNWRITTEN.inc()
            return
        self._queue.append(fields)
        self._wake.set()

    async def _write(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), RECEIPTS_TOGETHER))]
            try:
                await self._journal.write_all("receipt", batch)
            except Exception as error:  # noqa: BLE001 - a receipt that is not written never fails a report
                for fields in batch:
                    self._keep_count(fields, error)

    def _keep_count(self, fields: Fields, error: BaseException) -> None:
        UNWRITTEN.inc()
        if fields["verdict"] == "refused":
            self._suppressed.add(
                str(fields["peer"]), str(fields["host"]), str(fields["reason"]), size=int(fields["size"])
            )
        now = self._clock()
        if now - self._last_complaint > SUMMARY_EVERY:
            self._last_complaint = now
            known = isinstance(error, ArchiveError)
            log.warning("receipts are not written: %s", error, exc_info=None if known else error)
