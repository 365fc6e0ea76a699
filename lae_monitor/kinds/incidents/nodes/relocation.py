"""What was stored under an address goes to the host that claimed it: the same bytes, below that host's folder.

First the incident is at its new place, then a decision in the journal says so, and then the old file goes; the mover takes
back what it had read from there. Interrupted anywhere, it goes on where it was: nothing is lost, and nothing shows twice for
longer than the mover needs.
"""

import asyncio
import json
import logging
from typing import Final

from lae_monitor.archive import Exists, Journal
from lae_monitor.archive.kernel import Entry
from lae_monitor.core.names import ClusterName, HostName, Place
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.kinds.incidents.nodes.shared import LATEST, Shared
from lae_monitor.kinds.incidents.read import SUFFIX
from lae_monitor.kinds.incidents.stored import folder, path_of
from lae_monitor.kinds.incidents.wire.names import identity_in
from lae_monitor.net.furls import door
from lae_monitor.net.furls.claims import Claims

log = logging.getLogger(__name__)

MOVED: Final = "moved file"  # subject of decisions: the mover takes back what it read from the old path


class Relocation:
    """Follows the claims; one file at a time."""

    def __init__(self, shared: Shared, claims: Claims, cluster: ClusterName, journal: Journal) -> None:
        self._shared = shared
        self._journal = journal
        self._claims = claims
        self._cluster = cluster
        self._done: dict[Place, Place] = {}  # addresses below which nothing is left, and whose they are
        self._late: set[Place] = set()  # addresses of which something was being fetched when they were claimed
        shared.on_stored.append(self._stored)

    def _stored(self, place: Place, _span: Span) -> None:
        self._done.pop(place, None)
        self._late.add(place)

    async def keep(self) -> None:
        """Runs for ever, beside the gatherer."""
        while True:
            claimed = self._claims.all()
            for old, place in list(self._done.items()):
                if claimed.get(HostName(old.host)) != place:
                    del self._done[old]
                    self._shared.part(place, old)
            for address, place in list(claimed.items()):
                old = Place(self._cluster, address)
                if old != place and self._done.get(old) != place:
                    try:
                        await self._move_all(old, place)
                    except (Refused, OSError) as error:
                        log.warning("%s/%s: not yet moved to %s/%s: %s", *old, *place, error)
            await asyncio.sleep(door.WATCH_EVERY)

    async def _move_all(self, old: Place, new: Place) -> None:
        """
        Raises:
            Refused, OSError: the archive takes nothing now; what is left goes later.
        """
        self._late.discard(old)
        # Nodes that are asked from now on are asked for nothing of it. This also waits until it is known what is stored.
        await self._shared.known(new)
        entries = await self._shared.archive.entries(folder(old))
        incidents = [entry for entry in entries if not entry.folder and entry.name.endswith(SUFFIX)]
        moved = 0
        for entry in incidents:
            moved += await self._move(old, new, entry)
        if incidents or any(entry.name == LATEST for entry in entries):
            await self._shared.move_cursor(old, new)
            await self._shared.look_into(new)
        if old not in self._late:
            self._done[old] = new
        if moved:
            log.info("%s/%s: %d incidents are now those of %s/%s", *old, moved, *new)
            self._shared.receipts.mark(
                new, "an address was claimed", address=old.host, incidents=str(moved), left=str(len(incidents) - moved)
            )

    async def _move(self, old: Place, new: Place, entry: Entry) -> bool:
        """Whether the incident has its new place, and only that."""
        name = entry.name.removesuffix(SUFFIX)
        source, target = path_of(old, name), path_of(new, name)
        data = await self._shared.archive.read(Span(source, 0, entry.size))
        key = await asyncio.to_thread(identity_in, data)
        span = None
        try:
            span = await self._shared.archive.store(target, [data])
        except Exists:
            there = await self._shared.archive.read(Span(target, 0, entry.size + 1))
            if there != data and (key is None or await asyncio.to_thread(identity_in, there) != key):
                log.warning("%s stays: %s is another incident", source, target)
                return False
        value = json.dumps({"to": target, "why": "claimed"})
        await self._journal.write("decision", subject=MOVED, about=source, value=value, by="gather-incidents")
        await self._shared.archive.remove(source)
        self._shared.stored.add(new, name, key)
        self._shared.stored.remove(old, name)
        if span is not None:
            self._shared.tell_stored(new, span)
        return True
