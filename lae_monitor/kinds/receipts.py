"""Receipts and marks of a gatherer go to the journal in the background, after the reply; a failure there fails no report.

A flood does not fill the disk: of each code and sender some refusals are written one by one. The others are counted with
their peers, and a line a minute says how many there were. The flood of one peer hides no refusal of another one.

Memory is bounded: MAX_BUCKETS senders, MAX_COUNTED counts, MAX_QUEUED entries, however many peers there are.
"""

import asyncio
import logging
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Hashable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

import prometheus_client

from lae_monitor.archive import ArchiveError, Journal
from lae_monitor.core.names import Place
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.time import Clock
from lae_monitor.kinds.pace import Bucket

log = logging.getLogger(__name__)

BURST: Final = 20.0  # refusals of one code and sender, or marks of one title and host, that are written one by one
RATE: Final = 1 / 30  # of them a second after that: enough to see that it goes on
SENDER_BURST: Final = 60.0  # refusals of one sender, whatever their codes: a tenth of what all may have
SENDER_RATE: Final = 1 / 10  # of them a second after that
TOTAL_BURST: Final = 600.0  # refusals of all senders: 0.2 MB
TOTAL_RATE: Final = 1.0  # of them a second after that; 0.3 KB each: at most 26 MB a day
MAX_BUCKETS: Final = 3_000  # 0.4 KB each; the least recently used is forgotten, and begins anew
MAX_COUNTED: Final = 1_000  # (code, host, peer) that are counted apart, 0.5 KB each; the others are added up by code
SUMMARY_EVERY: Final = 60.0  # seconds between the lines that say how many were not written
SUMMARIES: Final = 50  # of them at a time, the largest; the others are added up by code
NAMED_PEERS: Final = 5  # that such a line names; one line of a page has room for them
MAX_QUEUED: Final = 10_000  # entries not yet in the journal, 8 MB: 12 seconds of 50,000 nodes that report every minute
AT_ONCE: Final = 200  # entries that are written together, 60 KB: they share one sync

Fields = dict[str, str | float]


class _About(NamedTuple):
    """What is counted together: refusals with one code, or marks with one title, of one host."""

    what: str  # receipt or mark
    code: str
    place: Place


class _Entry(NamedTuple):
    """A line of the journal, and the refusals it stands for, by peer: they are counted if it is not written."""

    what: str
    fields: Fields
    about: _About | None = None
    peers: Mapping[str, int] = {}


class _Dropped:
    """Refusals and marks that are only counted, by what they are about and their peer."""

    def __init__(self, nowhere: Place) -> None:
        self._nowhere = nowhere
        self._counts: dict[tuple[_About, str], tuple[int, int]] = {}  # how many, and their bytes

    def add(self, about: _About, peer: str, count: int, size: int) -> None:
        key = (about, peer)
        if key not in self._counts and len(self._counts) >= MAX_COUNTED:
            key = (about._replace(place=self._nowhere), "")
        before = self._counts.get(key, (0, 0))
        self._counts[key] = (before[0] + count, before[1] + size)

    def take(self) -> list[tuple[_About, Counter[str], int]]:
        """What was counted, with peers and bytes: the SUMMARIES largest, and the others by code; begins anew."""
        groups: defaultdict[_About, Counter[str]] = defaultdict(Counter)
        sizes: Counter[_About] = Counter()
        for (about, peer), (count, size) in self._counts.items():
            groups[about][peer] += count
            sizes[about] += size
        self._counts = {}
        for about in sorted(groups, key=lambda about: -groups[about].total())[SUMMARIES:]:
            rest = about._replace(place=self._nowhere)
            if about != rest:
                groups[rest].update(groups.pop(about))
                sizes[rest] += sizes[about]
        return [(about, peers, sizes[about]) for about, peers in groups.items()]


class Receipts:
    """`async with` writes in the background what `accepted`, `refused` and `mark` add; these never wait and never fail.

    Args:
        journal: the gatherer's.
        kind: of the reports, as receipts name it: `crash`.
        cluster: where the refusals of no known host, or of too many, are counted.
        lost: counts the entries that the journal did not take.
        suppressed: counts the refusals that are not written one by one, by reason.
        summary: whether a receipt, or a mark on the host's timeline, says how many these were.
        gather: seconds for which an entry waits for others, to share one sync.
    """

    def __init__(
        self,
        journal: Journal,
        kind: str,
        cluster: str,
        clock: Clock,
        *,
        lost: prometheus_client.Counter,
        suppressed: prometheus_client.Counter | None = None,
        summary: Literal["receipt", "mark"] = "receipt",
        gather: float = 0.0,
    ) -> None:
        self._journal = journal
        self._kind = kind
        self._nowhere = Place(cluster, "")
        self._clock = clock
        self._lost = lost
        self._suppressed = suppressed
        self._summary = summary
        self._gather = gather
        self._queue: deque[_Entry] = deque()
        self._added = asyncio.Event()
        self._closing = asyncio.Event()
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._total = Bucket(TOTAL_BURST, TOTAL_RATE, clock())
        self._buckets: OrderedDict[Hashable, Bucket] = OrderedDict()
        self._dropped = _Dropped(self._nowhere)
        self._last_complaint = 0.0  # by the clock

    # ---- what is written -------------------------------------------------------------------------------------------

    def accepted(self, span: Span, place: Place, *, peer: str, **fields: str | float) -> None:
        """`span` of the archive holds what `peer` sent of `place`. `size` among `fields`: bytes as they came."""
        where: Fields = {"size": span.end - span.start, "file": span.path, "start": span.start, "end": span.end}
        self._add(_Entry("receipt", self._receipt("accepted", place, peer, {**where, **fields})))

    def refused(self, refused: Refused, place: Place, *, peer: str, **fields: str | float) -> bool:
        """What `peer` sent was refused; returns whether that is written, not only counted."""
        # Hosts may share an address. A cluster without a host is the sender's choice, so it tells nobody apart.
        about = _About(self._summary, refused.code, place if place.host else self._nowhere)
        sender = (place.host, peer)
        now = self._clock()
        if not (
            self._bucket((refused.code, *sender), BURST, RATE).take(now)
            and self._bucket(sender, SENDER_BURST, SENDER_RATE).take(now)
            and self._total.take(now)
        ):
            if self._suppressed is not None:
                self._suppressed.labels(refused.code).inc()
            self._dropped.add(about, peer, 1, int(fields.get("size", 0)))
            return False
        why = {"reason": refused.code, "detail": refused.detail}
        self._add(_Entry("receipt", self._receipt("refused", place, peer, {**why, **fields}), about, {peer: 1}))
        return True

    def mark(self, place: Place, title: str, **attrs: str) -> None:
        """Something to see on the host's timeline."""
        about = _About("mark", title, place)
        if self._bucket(about, BURST, RATE).take(self._clock()):
            self._add(_Entry("mark", self._mark(place, title, attrs)))
        else:
            self._dropped.add(about, attrs.get("peer", ""), 1, 0)

    def _mark(self, place: Place, title: str, attrs: Mapping[str, str]) -> Fields:
        return {**attrs, **place._asdict(), "time": self._clock(), "title": title}

    def _receipt(self, verdict: str, place: Place, peer: str, fields: Fields) -> Fields:
        about = {"kind": self._kind, "time": self._clock(), "verdict": verdict, "peer": peer}
        return {**about, **place._asdict(), **fields}

    def _add(self, entry: _Entry) -> None:
        if len(self._queue) >= MAX_QUEUED:
            self._lose(entry)
        else:
            self._queue.append(entry)
            self._added.set()

    # ---- what is only counted --------------------------------------------------------------------------------------

    def _bucket(self, key: Hashable, burst: float, rate: float) -> Bucket:
        bucket = self._buckets.pop(key, None) or Bucket(burst, rate, self._clock())
        self._buckets[key] = bucket
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return bucket

    def _summarize(self) -> None:
        for about, peers, size in self._dropped.take():
            self._add(self._summary_of(about, peers, size))

    def _summary_of(self, about: _About, peers: Counter[str], size: int) -> _Entry:
        count, named = peers.total(), [(peer, number) for peer, number in peers.most_common() if peer][:NAMED_PEERS]
        texts = [f"{number} from {peer}" for peer, number in named]
        if named and (rest := count - sum(number for _, number in named)):
            texts.append(f"{rest} from others")
        text = ", ".join(texts)
        if about.what == "mark":
            fields = self._mark(about.place, f"{count} more: {about.code}", {"level": "warning", "text": text})
        else:
            detail = f"{count} more, not written one by one" + (f": {text}" if len(texts) > 1 else "")
            why: Fields = {"reason": about.code, "detail": detail, "size": size}
            fields = self._receipt("refused", about.place, named[0][0] if named else "", why)
        return _Entry(about.what, fields, about, peers)

    # ---- writing ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_writing(), name=f"{self._kind} receipts")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Writes what is left."""
        self._closing.set()
        self._added.set()
        if self._task is not None:
            await self._task

    async def _keep_writing(self) -> None:
        time = asyncio.get_running_loop().time
        due = time() + SUMMARY_EVERY
        while not self._closing.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._added.wait()
            self._added.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._gather):
                    await self._closing.wait()
            if time() >= due:
                self._summarize()
                due = time() + SUMMARY_EVERY
            await self.write()
        self._summarize()
        await self.write()

    async def write(self) -> None:
        """Writes what waits; returns when it is durable, or counted as lost."""
        async with self._turn:
            while self._queue:
                batch = [self._queue.popleft()]
                while self._queue and len(batch) < AT_ONCE and self._queue[0].what == batch[0].what:
                    batch.append(self._queue.popleft())
                try:
                    await self._journal.write_all(batch[0].what, [entry.fields for entry in batch])
                except Exception as error:  # noqa: BLE001 - a receipt that is not written never fails a report
                    self._complain(error)
                    for entry in batch:
                        self._lose(entry)

    def _lose(self, entry: _Entry) -> None:
        self._lost.inc()
        size = int(entry.fields.get("size", 0))
        if entry.about is not None:
            for number, (peer, count) in enumerate(entry.peers.items()):
                self._dropped.add(entry.about, peer, count, 0 if number else size)

    def _complain(self, error: Exception) -> None:
        now = self._clock()
        if now - self._last_complaint >= SUMMARY_EVERY:
            self._last_complaint = now
            log.warning(
                "receipts are not written: %s", error, exc_info=None if isinstance(error, ArchiveError) else error
            )
