"""Brings the incidents of a plan into the archive, each as it is, under its host, as if the gatherer had fetched it.

Nothing is taken for imported before it is in the archive, and nothing is removed where it was. What is in the archive
already, under whatever host, stays as it is there: a gatherer may run meanwhile, and fetch the same.
"""

import asyncio
import bz2
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from lae_monitor.archive import Archive, Exists
from lae_monitor.core.names import ClusterName, Place
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.kinds.incidents.read import SUFFIX
from lae_monitor.kinds.incidents.stored import folder, path_of
from lae_monitor.kinds.incidents.takeover.folders import Broken, Old, Told, digest, identity, load
from lae_monitor.kinds.incidents.takeover.plan import Caller, Plan
from lae_monitor.kinds.receipts import Receipts

PEER: Final = "import"  # in receipts, where others have the address that something came from
AT_ONCE: Final = 16  # incidents that are made durable together: each waits for the disk twice
LOOK_AGAIN: Final = 10.0  # seconds until the archive is listed anew: a gatherer that runs meanwhile adds to it

Stored = dict[str, list[str]]  # hosts by the names of incidents that they have


@dataclass
class Summary:
    """What an import did. `unreadable`: where, and why; nothing of that was touched."""

    imported: int = 0
    already: int = 0
    bytes: int = 0
    unreadable: list[Broken] = field(default_factory=list)


class _Item(NamedTuple):
    """An incident on its way."""

    old: Old
    told: Told
    place: Place
    data: bytes


class Importer:
    """
    Args:
        archive: that takes the incidents.
        receipts: say what was taken; they are durable when `take` returns.
        cluster: whose they are.
        dry_run: only says what would be done.
        as_caller: the files are read as the account that this makes us.
    """

    def __init__(
        self,
        archive: Archive,
        receipts: Receipts,
        cluster: ClusterName,
        *,
        dry_run: bool = False,
        as_caller: Caller = nullcontext,
    ) -> None:
        self.summary = Summary()
        self._archive = archive
        self._receipts = receipts
        self._cluster = cluster
        self._dry_run = dry_run
        self._as_caller = as_caller
        self._stored: Stored = {}
        self._listed = 0.0

    async def stored(self) -> Stored:
        """What the archive has of the cluster."""
        hosts = await self._archive.entries(folder(Place(self._cluster, "")).rstrip("/"))
        found: Stored = {}
        for host in hosts:
            if host.folder:
                for entry in await self._archive.entries(folder(Place(self._cluster, host.name))):
                    if entry.name.endswith(SUFFIX):
                        found.setdefault(entry.name.removesuffix(SUFFIX), []).append(host.name)
        self._stored, self._listed = found, time.monotonic()
        return found

    async def take(self, plan: Plan, tell: Callable[[Summary], None] = lambda _summary: None) -> Summary:
        """Imports what is planned; `tell` hears how far it is now and then.

        Raises:
            Full, Failed: the archive takes nothing now; what is told so far was done.
        """
        self.summary.unreadable += plan.broken
        for part in _parts(plan, self._cluster):
            if time.monotonic() - self._listed > LOOK_AGAIN:
                await self.stored()
            items = []
            for old, told, place in part:
                try:
                    if not await self._is_there(told, place):
                        items.append(self._read(old, told, place))
                except _Unreadable as error:
                    self.summary.unreadable.append(Broken(old.where, str(error), old.tub))
            results = await asyncio.gather(*(self._store(item) for item in items), return_exceptions=True)
            await self._receipts.write()
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            tell(self.summary)
        return self.summary

    async def _is_there(self, told: Told, place: Place) -> bool:
        """Whether the archive has it, of this host or another.

        Raises:
            _Unreadable: it has another incident, or something else, in its place.
        """
        hosts = self._stored.get(told.identity.name, [])
        for host in sorted(hosts, key=lambda host: host != place.host):
            if await self._has(told, Place(self._cluster, host), is_place=host == place.host):
                self.summary.already += 1
                return True
        return False

    async def _has(self, told: Told, place: Place, *, is_place: bool = True) -> bool:
        path = path_of(place, told.identity.name)
        try:
            size = await self._archive.settle(path)
            there = identity(told.identity.name, await self._archive.read(Span(path, 0, size)))
        except FileNotFoundError:
            return False
        except Refused as refused:
            if is_place:
                raise _Unreadable(f"{path} in the archive cannot be read: {refused.detail}") from refused
            return False
        if there != told.identity and is_place:
            raise _Unreadable(f"{path} in the archive is another incident of this name")
        return there == told.identity

    def _read(self, old: Old, told: Told, place: Place) -> _Item:
        try:
            with self._as_caller():
                data = load(old)
        except (OSError, Refused) as error:
            raise _Unreadable(str(error)) from error
        if digest(data) != told.digest:
            raise _Unreadable("it was changed meanwhile; import it again")
        return _Item(old, told, place, data)

    async def _store(self, item: _Item) -> None:
        summary, path = self.summary, path_of(item.place, item.told.identity.name)
        data = bz2.compress(item.data) if item.old.is_plain else item.data
        if not self._dry_run:
            try:
                span = await self._archive.store(path, [data])
            except Exists:
                try:
                    await self._has(item.told, item.place)
                    summary.already += 1
                except _Unreadable as error:
                    summary.unreadable.append(Broken(item.old.where, str(error), item.old.tub))
                return
            self._receipts.accepted(span, item.place, peer=PEER, id=item.told.identity.name)
        summary.imported += 1
        summary.bytes += len(data)


class _Unreadable(Exception):
    """It was left where it is."""


def _parts(plan: Plan, cluster: ClusterName) -> Iterator[Sequence[tuple[Old, Told, Place]]]:
    """The incidents of all nodes, some at a time. The newest come last, as nodes would report them."""
    part: list[tuple[Old, Told, Place]] = []
    for node in plan.nodes:
        for known in sorted(node.incidents, key=lambda known: known.name):
            part.append((*node.incidents[known], Place(cluster, node.host)))
            if len(part) == AT_ONCE:
                yield part
                part = []
    if part:
        yield part
