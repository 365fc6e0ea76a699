"""What was accepted, refused and heard, in the journal. A host that sends much nonsense gets few receipts, with a count."""

import asyncio
import json
import logging
from typing import Final, NamedTuple

from lae_monitor.archive import Journal
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.time import MINUTE, Clock
from lae_monitor.kinds.incidents.measures import REFUSED

log = logging.getLogger(__name__)

KIND: Final = "incident"
MAX_A_MINUTE: Final = 20  # receipts of refusals, and marks, for one host and reason; more are counted
MOVED: Final = "moved file"  # subject of decisions: the mover takes back what it read from the old path
MAX_KEYS: Final = 10_000  # hosts and reasons that are counted at once


class Place(NamedTuple):
    """Of which host something is said."""

    cluster: str
    host: str


class Receipts:
    """Writes to the journal in the background, so that no call from a node waits for the disk."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._writing: set[asyncio.Task[None]] = set()
        self._counts: dict[tuple[Place, str], list[float]] = {}  # start of the minute, how many in it

    def accepted(self, place: Place, peer: str, name: str, span: Span) -> None:
        size = span.end - span.start
        self._write(
            "receipt", place, peer=peer, verdict="accepted", id=name, size=size, file=span.path, start=0, end=span.end
        )

    def refused(self, place: Place, peer: str, refused: Refused, name: str = "") -> None:
        REFUSED.labels(refused.code).inc()
        if self._may_write(place, refused.code):
            log.info("%s/%s: refused %s: %s", place.cluster, place.host, name or "what it sent", refused)
            self._refuse(place, peer, refused.code, refused.detail, name)

    def mark(self, place: Place, title: str, **attrs: str) -> None:
        """Something to see on the host's timeline."""
        if self._may_write(place, title):
            self._write("mark", place, title=title, **attrs)

    async def moved(self, old: str, new: str, why: str) -> None:
        """A decision that the file `old` of the archive is `new` from now on; returns when it is durable.

        Raises:
            Refused: the journal takes nothing.
        """
        value = json.dumps({"to": new, "why": why})
        await self._journal.write("decision", subject=MOVED, about=old, value=value, by="gather-incidents")

    def _refuse(self, place: Place, peer: str, code: str, detail: str, name: str) -> None:
        self._write("receipt", place, peer=peer, verdict="refused", reason=code, detail=detail, id=name)

    def _may_write(self, place: Place, what: str) -> bool:
        now = self._clock()
        if len(self._counts) >= MAX_KEYS and (place, what) not in self._counts:
            return False
        count = self._counts.setdefault((place, what), [now, 0])
        count[1] += 1
        return count[1] <= MAX_A_MINUTE

    def sum_up(self) -> None:
        """To be called now and then: says how many were not written, and begins to count anew."""
        now = self._clock()
        for (place, what), (start, count) in list(self._counts.items()):
            if now - start < MINUTE:
                continue
            del self._counts[place, what]
            if count > MAX_A_MINUTE:
                self._write("mark", place, title=f"{int(count) - MAX_A_MINUTE} more: {what}", level="warning")

    def _write(self, what: str, place: Place, **fields: str | float) -> None:
        if what == "receipt":
            fields["kind"] = KIND
        task = asyncio.create_task(self._write_one(what, {**fields, **place._asdict()}))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write_one(self, what: str, fields: dict[str, str | float]) -> None:
        try:
            await self._journal.write(what, **fields)
        except Refused as error:
            log.warning("no receipt could be written: %s", error)

    async def finish(self) -> None:
        """Waits for what is being written."""
        await asyncio.gather(*self._writing)
