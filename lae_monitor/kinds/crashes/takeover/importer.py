"""Takes over the crashes of an older system: each into our archive under its own id, as if it had come in by itself."""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Final

from lae_monitor.archive import Archive, Exists
from lae_monitor.core.names import ClusterName, CrashId, HostName
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.time import EARLIEST, format_time, parse_time
from lae_monitor.kinds.crashes.container import Writer, path_of
from lae_monitor.kinds.crashes.crashmover.crash import Crash, Data, check_dumps, check_names, encode, from_zip, parse
from lae_monitor.kinds.crashes.report import OURS, RAW_CRASH, SCHEMA
from lae_monitor.kinds.crashes.takeover.old import Broken, Old

# An older system's crash as our own collector would have stored it. Pure.
UNKNOWN_HOST: Final = HostName("imported")  # whose crash it is nobody says


def adopt(
    crash_id: CrashId,
    raw: bytes,
    dumps: Mapping[str, Data],
    *,
    where: str,
    cluster: ClusterName,
    host: HostName | None,
) -> Crash:
    """The crash with the metadata that readers of our archive want.

    Args:
        where: it was found, for a note.
        cluster: of whom it is, unless it says so itself.
        host: the same; None for what it says, or nobody.

    Raises:
        Refused: `unreadable`: it is damaged, or is not the crash of that id.
    """
    document = parse(raw)
    if document.get("uuid") not in [None, crash_id, f"bp-{crash_id}"]:  # a list: it may be anything
        raise Refused("unreadable", "its uuid is another one", raw=document.get("uuid"))
    check_names(dumps)
    metadata = _metadata(document)
    for sums in (metadata.get("dump_checksums"), document.get("dump_checksums")):
        if isinstance(sums, dict):
            check_dumps(dumps, sums)
    metadata |= {
        "cluster": _cluster(metadata, cluster),
        "host": host or _host(metadata),
        "collector_notes": [*metadata["collector_notes"], f"imported from {where}"],
        "dump_checksums": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(dumps.items())},
    }
    timestamp = format_time(received(crash_id, document), digits=6).replace("Z", "+00:00")
    ours = {"submitted_timestamp": timestamp, "uuid": crash_id, "version": SCHEMA, "metadata": metadata}
    adopted = {**document, **ours}
    try:
        return Crash(crash_id, encode(adopted), adopted, dict(dumps))
    except (ValueError, RecursionError) as error:
        raise Refused("unreadable", str(error)) from error


def _metadata(document: Mapping[str, Any]) -> dict[str, Any]:
    """What its own collector noted, in the form that ours has."""
    said = document.get("metadata")
    metadata = dict(said) if isinstance(said, dict) else {}
    notes, replaced = metadata.get("collector_notes"), metadata.get("replaced")
    metadata["collector_notes"] = notes if isinstance(notes, list) else []
    metadata["replaced"] = (replaced if isinstance(replaced, dict) else {}) | _replaced(document)
    metadata.setdefault("payload", "unknown")
    if str(document.get("legacy_processing")) in {"0", "1"}:
        metadata.setdefault("legacy_processing", int(document["legacy_processing"]))
    return metadata


def _replaced(document: Mapping[str, Any]) -> dict[str, Any]:
    """What stands under the names that are ours, and is not what we would have there."""
    found = {name: document[name] for name in OURS & document.keys()}
    if isinstance(found.get("metadata"), dict):
        del found["metadata"]
    if found.get("version") == SCHEMA:
        del found["version"]
    return {name: value for name, value in found.items() if name not in {"uuid", "submitted_timestamp"}}


def _cluster(metadata: Mapping[str, Any], otherwise: ClusterName) -> ClusterName:
    try:
        return ClusterName(metadata["cluster"])
    except (KeyError, Refused):
        return otherwise


def _host(metadata: Mapping[str, Any]) -> HostName:
    try:
        return HostName(metadata["host"])
    except (KeyError, Refused):
        return UNKNOWN_HOST


def received(crash_id: CrashId, document: Mapping[str, Any]) -> float:
    """When it was received, in seconds: by its timestamps, or else the day in its id.

    Raises:
        Refused: `unreadable`.
    """
    try:
        day = parse_time(crash_id.day)
    except Refused:
        raise Refused("unreadable", "there is no such day as that of its id", raw=crash_id.day) from None
    for text in (document.get("submitted_timestamp"), document.get("timestamp")):
        try:
            found = parse_time(text) if isinstance(text, str) and "-" in text else float(str(text))
        except (Refused, ValueError):
            continue
        if EARLIEST <= found < day + 366 * 86400:
            return found
    return day


def packed(crash: Crash) -> list[bytes]:
    """The zip of the archive, in pieces."""
    pieces: list[bytes] = []
    writer = Writer(pieces.append, received(crash.crash_id, crash.document))
    for name in crash.names:
        writer.add(name, bytes(crash.dumps[name]))
    writer.add(RAW_CRASH, crash.raw)
    writer.finish()
    return pieces


def is_same(one: Crash, other: Crash, missing: Collection[str]) -> bool:
    """Whether two are the same crash: dumps byte for byte (those `missing` of the other are not compared), annotations too.

    What collectors noted may differ: one of them was imported before.
    """
    dumps = {name: bytes(data) for name, data in one.dumps.items() if name not in missing}
    if dumps != {name: bytes(data) for name, data in other.dumps.items()}:
        return False
    ignored = {*OURS, "dump_checksums"}
    theirs = [{name: value for name, value in crash.document.items() if name not in ignored} for crash in (one, other)]
    return theirs[0] == theirs[1]


Caller = Callable[[], AbstractContextManager[None]]


@dataclass
class Summary:
    """What an import did. `unreadable`: where, and why; nothing of that was touched. `products`: how many are of which."""

    imported: int = 0
    already: int = 0
    removed: int = 0
    bytes: int = 0
    unreadable: list[Broken] = field(default_factory=list)
    products: Counter[str] = field(default_factory=Counter)


class Importer:
    """
    Args:
        archive: that takes the crashes.
        cluster, host: whose they are, where they do not say it; a host that is given counts before what they say.
        move: removes what was found, once it was read back from the archive.
        dry_run: only says what would be done.
        as_caller: the files are read, and removed, as the account that this makes us.
    """

    def __init__(
        self,
        archive: Archive,
        cluster: ClusterName,
        host: HostName | None,
        *,
        move: bool = False,
        dry_run: bool = False,
        as_caller: Caller = nullcontext,
    ) -> None:
        self.summary = Summary()
        self._archive = archive
        self._cluster = cluster
        self._host = host
        self._move = move
        self._dry_run = dry_run
        self._as_caller = as_caller

    async def take(
        self, found: Iterable[Old | Broken], tell: Callable[[Summary], None] = lambda _summary: None
    ) -> Summary:
        """Imports what was found; `tell` hears how far it is after each.

        Raises:
            Full, Failed: the archive takes nothing now; what is told so far was done.
        """
        for item in self._each(found):
            if isinstance(item, Broken):
                self.summary.unreadable.append(item)
            else:
                try:
                    await self._import(item)
                except _Unreadable as error:
                    self.summary.unreadable.append(Broken(item.where, str(error)))
            tell(self.summary)
        return self.summary

    def _each(self, found: Iterable[Old | Broken]) -> Iterator[Old | Broken]:
        items = iter(found)
        while True:
            with self._as_caller():
                item = next(items, None)
            if item is None:
                return
            yield item

    async def _import(self, old: Old) -> None:
        with self._as_caller(), _explained():
            raw, dumps = old.read()
        stored = await self._stored(old.crash_id)
        missing = set(old.missing)
        if stored is not None and self._move:
            missing |= stored.dumps.keys() - dumps.keys()  # removed by a run that was interrupted
        elif missing:
            raise _Unreadable(f"a dump is missing: {', '.join(sorted(missing))}")
        with _explained():
            crash = self._adopted(old, raw, dumps, {} if stored is None else stored.dumps)
        self.summary.products[crash.product] += 1
        if stored is not None:
            if not is_same(stored, crash, missing):
                raise _Unreadable("the archive has another crash of this id")
            self.summary.already += 1
        elif self._dry_run:
            self.summary.imported += 1
            self.summary.bytes += sum(map(len, crash.dumps.values()))
        else:
            await self._store(crash)
        if self._move and not self._dry_run:
            self._remove(old)

    def _adopted(self, old: Old, raw: bytes, dumps: dict[str, bytes], stored: Mapping[str, Data]) -> Crash:
        """
        Raises:
            Refused
        """
        whole: dict[str, Data] = {**stored, **dumps}
        crash = adopt(old.crash_id, raw, whole, where=old.where, cluster=self._cluster, host=self._host)
        return replace(crash, dumps=dumps) if stored else crash

    async def _stored(self, crash_id: CrashId) -> Crash | None:
        """
        Raises:
            _Unreadable: the archive has something of that id that it cannot read.
        """
        path = path_of(crash_id)
        try:
            size = await self._archive.settle(path)
            data = await self._archive.read(Span(path, 0, size))
        except FileNotFoundError:
            return None
        with _explained():
            return from_zip(crash_id, data)

    async def _store(self, crash: Crash) -> None:
        pieces = packed(crash)
        with _explained():
            _check(crash, b"".join(pieces))
        try:
            span = await self._archive.store(path_of(crash.crash_id), pieces)
        except Exists as error:
            raise _Unreadable("it came into the archive meanwhile; import it again") from error
        back = await self._archive.read(span)
        if back != b"".join(pieces):
            raise _Unreadable(f"{span.path} in the archive is not what was written")
        self.summary.imported += 1
        self.summary.bytes += len(back)

    def _remove(self, old: Old) -> None:
        if not old.gone:
            return
        with self._as_caller(), _explained():
            old.remove()
        self.summary.removed += 1


class _Unreadable(Exception):
    """It was left where it is."""


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        raise _Unreadable(refused.detail or str(refused)) from refused
    except OSError as error:
        raise _Unreadable(str(error)) from error


def _check(crash: Crash, data: bytes) -> None:
    """What is about to be stored has to be readable by our own reader.

    Raises:
        Refused: `unreadable`.
    """
    read = from_zip(crash.crash_id, data)
    check_dumps(read.dumps, read.metadata["dump_checksums"])
