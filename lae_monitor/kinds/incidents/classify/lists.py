"""flogtool's lists of what is classified: a file a category, with a line for each of its incidents.

    incidents/<cluster>/classified/<category>       lines `incidents/<host>/<name>.flog.bz2`, the newest incident last
    incidents/<cluster>/classified.json             by which rules, and how far a classification by new ones has come

The files are written whole, in place of the old ones: a line may have to go, and no reader ever sees half a file. What is in
no file is not classified: who deletes one has its incidents classified again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from lae_monitor.archive import Archive
from lae_monitor.core.limits import MiB
from lae_monitor.core.names import ClusterName, HostName, Place
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.time import parse_time
from lae_monitor.kinds.incidents.classify.rules import is_category
from lae_monitor.kinds.incidents.read import SUFFIX
from lae_monitor.kinds.incidents.stored import TOP
from lae_monitor.kinds.incidents.wire.names import IncidentName

log = logging.getLogger(__name__)

CLASSIFIED: Final = "classified"
MARK: Final = "classified.json"
MAX_LIST: Final = 1 << 30  # bytes read of one list; a line has about 70
MAX_MARK: Final = 10_000  # bytes

Names = dict[str, dict[str, None]]  # host -> names, in the order in which they came


class Item(NamedTuple):
    """An incident. Items sort by age, as their names do."""

    name: str
    cluster: str
    host: str

    @property
    def place(self) -> Place:
        return Place(self.cluster, self.host)

    @property
    def line(self) -> str:
        """As flogtool writes it."""
        return f"incidents/{self.host}/{self.name}{SUFFIX}"


class Mark(msgspec.Struct, kw_only=True):
    """By which rules the incidents of a cluster are classified: those that are not below `down_to`; others by older ones.

    `time`: of the newest answer that was given, in seconds.
    """

    rules: str = ""
    down_to: tuple[str, str, str] = ("", "", "")
    time: float = 0.0


class Lists:
    """The lists of all clusters, in memory and in the archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._lists: dict[str, dict[str, Names]] = {}  # cluster -> category -> names
        self._changed: set[tuple[str, str]] = set()  # clusters and categories whose file is not what it should be
        self._marks: dict[str, Mark] = {}
        self._marks_changed: set[str] = set()

    # ---- what is known -----------------------------------------------------------------------------------------------

    @property
    def clusters(self) -> list[str]:
        return sorted(self._lists)

    @property
    def is_changed(self) -> bool:
        """Whether `save()` has something to do."""
        return bool(self._changed or self._marks_changed)

    def of(self, item: Item) -> list[str]:
        """The categories of an incident, sorted; none when it is not classified."""
        lists = self._lists.get(item.cluster, {})
        return sorted(category for category, names in lists.items() if item.name in names.get(item.host, ()))

    def names(self, place: Place) -> set[str]:
        """The names of a host's classified incidents."""
        lists = self._lists.get(place.cluster, {})
        return {name for names in lists.values() for name in names.get(place.host, ())}

    def hosts(self, cluster: str) -> set[str]:
        return {host for names in self._lists.get(cluster, {}).values() for host, kept in names.items() if kept}

    def items(self) -> set[Item]:
        """All classified incidents."""
        return {
            Item(name, cluster, host)
            for cluster, lists in self._lists.items()
            for names in lists.values()
            for host, kept in names.items()
            for name in kept
        }

    def mark(self, cluster: str) -> Mark:
        return self._marks.get(cluster, Mark())

    # ---- changing it -------------------------------------------------------------------------------------------------

    def put(self, item: Item, categories: Iterable[str]) -> None:
        """From now on the incident has these categories, and no other; none: it is not classified."""
        lists = self._lists.setdefault(item.cluster, {})
        wanted = set(categories)
        for category, names in lists.items():
            if category not in wanted and item.name in names.get(item.host, ()):
                del names[item.host][item.name]
                self._changed.add((item.cluster, category))
        for category in wanted:
            kept = lists.setdefault(category, {}).setdefault(item.host, {})
            if item.name not in kept:
                kept[item.name] = None
                self._changed.add((item.cluster, category))

    def set_mark(self, cluster: str, mark: Mark) -> None:
        if self._marks.get(cluster) != mark:
            self._marks[cluster] = mark
            self._marks_changed.add(cluster)

    # ---- the archive -------------------------------------------------------------------------------------------------

    async def load(self) -> list[Item]:
        """Reads the lists of all clusters; a file that cannot be read is one that is not there.

        Returns:
            What the journal says otherwise, and the lists from now on, too: by which rules, is not known.
        """
        for cluster in await clusters(self._archive):
            lists = self._lists.setdefault(cluster, {})
            for category in await self._files(cluster):
                try:
                    data = await self._archive.read(Span(f"{TOP}/{cluster}/{CLASSIFIED}/{category}", 0, MAX_LIST))
                except (OSError, Refused) as error:
                    log.warning("%s/%s: %s", cluster, category, error)
                    continue
                lists[category] = await asyncio.to_thread(parse_list, data)
            self._marks[cluster] = await self._load_mark(cluster)
        return await self._catch_up()

    async def _catch_up(self) -> list[Item]:
        said = await said_since(self._archive, {cluster: mark.time for cluster, mark in self._marks.items()})
        for one in said:
            self.put(Item(one.name, one.cluster, one.host), [name for name in one.categories if is_category(name)])
            mark = self.mark(one.cluster)
            self.set_mark(one.cluster, Mark(rules=mark.rules, down_to=mark.down_to, time=max(mark.time, one.time)))
        return sorted({Item(one.name, one.cluster, one.host) for one in said})

    async def _load_mark(self, cluster: str) -> Mark:
        try:
            data = await self._archive.read(Span(f"{TOP}/{cluster}/{MARK}", 0, MAX_MARK))
            return msgspec.json.decode(data, type=Mark)
        except (OSError, Refused, msgspec.MsgspecError):
            return Mark()  # all are classified anew, which changes nothing where nothing is to be changed

    async def _files(self, cluster: str) -> set[str]:
        entries = await self._archive.entries(f"{TOP}/{cluster}/{CLASSIFIED}")
        return {entry.name for entry in entries if not entry.folder and is_category(entry.name)}

    async def deleted(self) -> list[Item]:
        """What is classified no more, since somebody deleted the file that said so."""
        gone: list[Item] = []
        for cluster, lists in self._lists.items():
            there = await self._files(cluster)
            for category in [name for name in lists if name not in there and (cluster, name) not in self._changed]:
                names = lists.pop(category)
                items = [Item(name, cluster, host) for host, kept in names.items() for name in kept]
                gone += [item for item in items if not self.of(item)]
        return gone

    async def save(self) -> None:
        """Writes the files that changed, and then the marks.

        Raises:
            Refused: the archive takes nothing now; what was not written is still to be.
        """
        for cluster, category in sorted(self._changed):
            lists = self._lists[cluster]
            lines = [Item(name, cluster, host) for host, names in lists.get(category, {}).items() for name in names]
            await self._write(f"{TOP}/{cluster}/{CLASSIFIED}/{category}", lines)
            if not lines:
                lists.pop(category, None)
            self._changed.discard((cluster, category))
        for cluster in sorted(self._marks_changed):
            await self._archive.replace(f"{TOP}/{cluster}/{MARK}", msgspec.json.encode(self._marks[cluster]) + b"\n")
            self._marks_changed.discard(cluster)

    async def _write(self, path: str, items: list[Item]) -> None:
        if not items:
            await self._archive.remove(path)
            return
        data = await asyncio.to_thread(lambda: "".join(f"{item.line}\n" for item in sorted(items)).encode("ascii"))
        await self._archive.replace(path, data)


async def clusters(archive: Archive) -> list[str]:
    """The clusters that have incidents."""
    return [entry.name for entry in await archive.entries(TOP) if entry.folder and _is(ClusterName, entry.name)]


async def stored_items(archive: Archive, place: Place) -> set[Item]:
    """The incidents of a host that the archive has."""
    entries = await archive.entries(f"{TOP}/{place.cluster}/incidents/{place.host}")
    names = [entry.name.removesuffix(SUFFIX) for entry in entries if not entry.folder and entry.name.endswith(SUFFIX)]
    return await asyncio.to_thread(lambda: {Item(name, *place) for name in names if _is(IncidentName, name)})


async def stored_places(archive: Archive) -> list[Place]:
    """The hosts that have a folder."""
    found = []
    for cluster in await clusters(archive):
        hosts = await archive.entries(f"{TOP}/{cluster}/incidents")
        found += [Place(cluster, host.name) for host in hosts if host.folder and _is(HostName, host.name)]
    return found


def parse_list(data: bytes) -> Names:
    """The hosts and names of a list; lines of another form are flogtool's business, or nobody's."""
    names: Names = {}
    for host, name in _lines(data.decode("ascii", "replace")):
        names.setdefault(host, {})[name] = None
    return names


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        parts = line.split("/")
        if len(parts) == 3 and parts[0] == "incidents" and parts[2].endswith(SUFFIX):
            name = parts[2].removesuffix(SUFFIX)
            if _is(HostName, parts[1]) and _is(IncidentName, name):
                yield parts[1], name


def _is(kind: type[ClusterName] | type[HostName] | type[IncidentName], text: str) -> bool:
    try:
        kind(text)
    except Refused:
        return False
    return True


# ---- answers in the journal ------------------------------------------------------------------------------------------
# Of categories that the lists do not have yet: a process was killed between writing the two. Without these, rules that were
# changed and changed back around a kill could leave the store with answers that no list shows.


FOLDER: Final = "journal"
WHAT: Final = "categories"
FILES: Final = 2  # the newest ones that are looked at: a kill may be at midnight
TAIL: Final = 8 * MiB  # bytes of each: lists are written within seconds
SAME: Final = 2e-6  # seconds: the journal has times with six digits

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Said(NamedTuple):
    """One answer in the journal."""

    cluster: str
    host: str
    name: str
    categories: list[str]
    time: float


async def said_since(archive: Archive, after: Mapping[str, float]) -> list[Said]:
    """The answers of this process that are newer than `after` says, by cluster; the oldest first."""
    found: list[Said] = []
    async for path, size in _newest(archive):
        data = await archive.read(Span(path, max(size - TAIL, 0), size))
        found += [said for said in _answers(data) if said.time > after.get(said.cluster, 0.0) + SAME]
    return sorted(found, key=lambda said: said.time)


async def _newest(archive: Archive) -> AsyncIterator[tuple[str, int]]:
    """The newest files of the journal that we wrote, and their sizes."""
    days = [FOLDER]
    for _ in range(3):  # year, month, day
        days = [
            f"{folder}/{entry.name}"
            for folder in days
            for entry in sorted(await archive.entries(folder), key=lambda entry: entry.name, reverse=True)
            if entry.folder and entry.name.isdigit()
        ][:FILES]
    for day in days:
        for entry in await archive.entries(day):
            if not entry.folder and entry.name.partition(".")[0] == archive.process and entry.name.endswith(".jsonl"):
                yield f"{day}/{entry.name}", entry.size


def _answers(data: bytes) -> Iterator[Said]:
    for line in data.split(b"\n"):
        if b'"categories"' not in line:
            continue
        try:
            entry = _decode(line)
            if entry["what"] == WHAT:
                categories = entry["categories"].split(",")
                yield Said(entry["cluster"], entry["host"], entry["id"], categories, parse_time(entry["time"]))
        except (msgspec.MsgspecError, LookupError, AttributeError, Refused):
            continue  # torn, or the middle of a line
