"""Which incidents the archive has, by what they are and not only by their names: none is stored twice.

What is stored is remembered in the gatherer's state. What is not remembered there, because the state is new, lost, or a
killed process had no time to write it, is read from the archive in the background. An incident whose name somebody has that
was not yet read is compared with that file first.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from lae_monitor.archive import Archive
from lae_monitor.core.names import ClusterName, HostName, Place
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.time import HOUR
from lae_monitor.kinds.incidents.read import SUFFIX
from lae_monitor.kinds.incidents.state import State, Stored
from lae_monitor.kinds.incidents.wire.flog import MAX_INFLATED
from lae_monitor.kinds.incidents.wire.names import identity_in

log = logging.getLogger(__name__)

TOP: Final = "incidents"
GROUP: Final = 20  # files that are read before what they are is written down
LOOK_EVERY: Final = HOUR  # other programs put incidents there, too, and take some away
CHANGES_EVERY: Final = 2.0  # seconds between looks for folders that others, such as an import, put something into
REST: Final = 3.0  # times as long as reading took, it rests: a start has better to do


class StoredIncidents:
    """All incidents that the archive has."""

    def __init__(self, archive: Archive, state: State) -> None:
        self._archive = archive
        self._state = state
        self._unread: dict[str, list[Place]] = defaultdict(list)  # places that have a file of a name, not yet read
        self._listed = asyncio.Event()
        self._changed: dict[Place, float] = {}  # when each folder was changed, as it was seen last
        self._looked = 0.0
        self._storing: dict[bytes, asyncio.Event] = {}

    # ---- looking -----------------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Runs for ever, beside the gatherer."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> None:
        """Reads what is not remembered."""
        try:
            for place, changed in await self._folders():
                await self._look_at(place, changed)
        finally:
            self._listed.set()  # without it nothing would ever be stored
        if self._unread:
            log.info("%d stored incidents are not remembered: reading which they are", len(self._unread))
        while names := list(self._unread)[:GROUP]:
            begun = asyncio.get_running_loop().time()
            for name in names:
                await self._read(name)
            await asyncio.sleep(REST * (asyncio.get_running_loop().time() - begun))

    async def places(self) -> list[Place]:
        """Every host that has a folder."""
        return [place for place, _ in await self._folders()]

    async def _folders(self) -> list[tuple[Place, float]]:
        """Every host that has a folder, and when that was changed."""
        found = []
        for cluster in await self._archive.entries(TOP):
            if cluster.folder and _is_name(ClusterName, cluster.name):
                hosts = await self._archive.entries(f"{TOP}/{cluster.name}/incidents")
                found += [
                    (Place(cluster.name, host.name), host.modified)
                    for host in hosts
                    if host.folder and _is_name(HostName, host.name)
                ]
        return found

    async def _look_for_changes(self) -> None:
        """Sees what others put there since the last look."""
        now = asyncio.get_running_loop().time()
        if now - self._looked < CHANGES_EVERY:
            return
        self._looked = now
        for place, changed in await self._folders():
            if self._changed.get(place) != changed:
                await self._look_at(place, changed)

    async def _look_at(self, place: Place, changed: float) -> None:
        try:
            entries = await self._archive.entries(folder(place))
        except OSError as error:
            log.warning("which incidents of %s/%s are stored is not known: %s", *place, error)
            return  # looked at again, with all others, the next time
        self._changed[place] = changed
        there = {
            entry.name.removesuffix(SUFFIX) for entry in entries if not entry.folder and entry.name.endswith(SUFFIX)
        }
        remembered = self._state.stored(*place)
        for name in there - remembered:
            if place not in self._unread[name]:
                self._unread[name].append(place)
        if (gone := remembered - there) and not self._archive.silent():
            self._state.forget(*place, gone)

    async def _read(self, name: str) -> None:
        """Remembers every incident of that name."""
        for place in list(self._unread.get(name, ())):
            try:
                data = await self._archive.read(Span(path_of(place, name), 0, MAX_INFLATED))
            except (OSError, Refused) as error:
                log.warning("%s: %s", path_of(place, name), error)
            else:
                key = await asyncio.to_thread(identity_in, data)
                self._state.remember([Stored(*place, name, key)])
        self._unread.pop(name, None)

    # ---- storing -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def alone(self, key: bytes | None) -> AsyncIterator[None]:
        """Another task that stores the same incident at the same time waits."""
        if key is None:
            yield
            return
        while (other := self._storing.get(key)) is not None:
            await other.wait()
        ended = self._storing[key] = asyncio.Event()
        try:
            yield
        finally:
            del self._storing[key]
            ended.set()

    async def elsewhere(self, place: Place, name: str, key: bytes | None) -> str:
        """The path of the file that holds the same incident under another name or host, "" for none."""
        await self._listed.wait()
        await self._look_for_changes()
        if name in self._unread:
            await self._read(name)
        for cluster, host, known in self._state.with_key(key) if key is not None else ():
            path = path_of(Place(cluster, host), known)
            if (Place(cluster, host), known) != (place, name) and await self._is_there(path):
                return path
        return ""

    async def _is_there(self, path: str) -> bool:
        """A deleted file does not count as a duplicate."""
        try:
            await self._archive.read(Span(path, 0, 1))
        except (OSError, Refused):
            return False
        return True

    def add(self, place: Place, name: str, key: bytes | None) -> None:
        """It is stored now."""
        self._state.remember([Stored(*place, name, key)])

    def remove(self, place: Place, name: str) -> None:
        """It is stored there no more."""
        self._state.forget(*place, [name])


def folder(place: Place) -> str:
    """The host's folder in the archive."""
    return f"{TOP}/{place.cluster}/incidents/{place.host}"


def path_of(place: Place, name: str) -> str:
    return f"{folder(place)}/{name}{SUFFIX}"


def _is_name(kind: type[ClusterName] | type[HostName], text: str) -> bool:
    try:
        kind(text)
    except Refused:
        return False
    return True
