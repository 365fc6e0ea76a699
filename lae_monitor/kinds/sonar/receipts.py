"""What was accepted or refused, and why: into the journal, after the answer.

A flood of refusals cannot fill the disk: of each code a few are written one by one, and how many more there were as one
receipt a minute. The metrics count them all.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final

from prometheus_client import Counter

from lae_monitor.archive import Journal
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.time import Clock

log = logging.getLogger(__name__)

MAX_QUEUED: Final = 10_000  # receipts; 4 MiB, and a minute of a fleet of 50,000 nodes
AT_ONCE: Final = 500  # receipts that are handed to the archive together; they share one sync
BURST: Final = 20.0  # refusals of one code that are written one by one
REFILL: Final = 1 / 60  # refusals of one code a second after that; 300 bytes each: half a megabyte a day
SUMMARY_EVERY: Final = 60.0  # seconds between two receipts that say how many were suppressed

SUPPRESSED: Final = Counter("lae_sonar_receipts_suppressed_total", "Receipts not written one by one", ["reason"])
LOST: Final = Counter("lae_sonar_receipts_lost_total", "Receipts that the journal could not take; the samples are safe")

Fields = dict[str, str | float]


class _Bucket:
    """Lets BURST through, then REFILL a second; counts the rest."""

    def __init__(self, now: float) -> None:
        self.suppressed = 0
        self._tokens = BURST
        self._filled = now

    def take(self, now: float) -> bool:
        self._tokens = min(BURST, self._tokens + max(0.0, now - self._filled) * REFILL)
        self._filled = now
        if self._tokens < 1:
            self.suppressed += 1
            return False
        self._tokens -= 1
        return True


class Receipts:
    """The receipts of one gatherer. `keep_writing()` runs beside it; `close()` writes what is left."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._queue: list[Fields] = []
        self._buckets: dict[str, _Bucket] = {}
        self._closed = False
        self._wake = asyncio.Event()

    def accepted(self, span: Span, *, cluster: str, host: str, peer: str, lines: int) -> None:
        """`span` of the archive holds what `peer` sent of `host`, and was acknowledged."""
        self._put(
            verdict="accepted",
            cluster=cluster,
            host=host,
            peer=peer,
            id=f"{span.path}:{span.start}",
            size=span.end - span.start,
            file=span.path,
            start=span.start,
            end=span.end,
            detail=f"lines in the post: {lines}",
        )

    def refused(self, refused: Refused, *, cluster: str, peer: str, size: int) -> None:
        """What `peer` sent was refused; `size` bytes of it had come."""
        now = self._clock()
        bucket = self._buckets.setdefault(refused.code, _Bucket(now))
        if not bucket.take(now):
            SUPPRESSED.labels(refused.code).inc()
            return
        self._put(
            verdict="refused",
            cluster=cluster,
            host="",
            peer=peer,
            reason=refused.code,
            detail=refused.detail,
            size=size,
        )

    def _put(self, **fields: str | float) -> None:
        if len(self._queue) >= MAX_QUEUED:
            LOST.inc()
            return
        self._queue.append({"kind": "sonar", "time": self._clock(), **fields})
        self._wake.set()

    async def keep_writing(self) -> None:
        """Writes receipts as they come, and every minute how many were suppressed, until `close()`."""
        clock = asyncio.get_running_loop().time
        summary_at = clock() + SUMMARY_EVERY
        while not self._closed:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(summary_at):
                    await self._wake.wait()
            self._wake.clear()
            if self._closed or clock() >= summary_at:
                self._summarize()
                summary_at = clock() + SUMMARY_EVERY
            await self._write()

    def close(self) -> None:
        """Lets `keep_writing()` write what is left, and end."""
        self._closed = True
        self._wake.set()

    def _summarize(self) -> None:
        for code, bucket in self._buckets.items():
            if bucket.suppressed:
                detail = f"{bucket.suppressed} more, not written one by one"
                bucket.suppressed = 0
                self._put(verdict="refused", cluster="", host="", peer="", reason=code, detail=detail, size=0)

    async def _write(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[:AT_ONCE], self._queue[AT_ONCE:]
            results = await asyncio.gather(
                *(self._journal.write("receipt", **fields) for fields in batch), return_exceptions=True
            )
            failures = [result for result in results if isinstance(result, BaseException)]
            if failures:
                LOST.inc(len(failures))
                log.error("%d receipts could not be written: %s", len(failures), failures[0])
