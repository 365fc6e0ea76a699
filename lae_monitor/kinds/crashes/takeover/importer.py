"""Takes over the crashes of an older system: each into our archive under its own id, as if it had come in by itself."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace

from lae_monitor.archive import Archive, Exists
from lae_monitor.core.names import ClusterName, CrashId, HostName
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.kinds.crashes.crashmover.crash import Crash, Data, check_dumps, from_zip
from lae_monitor.kinds.crashes.crashmover.source import path_of
from lae_monitor.kinds.crashes.takeover.adopt import adopt, is_same, packed
from lae_monitor.kinds.crashes.takeover.old import Broken, Old

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
    """What is about to be stored has to be read by whoever reads the archive.

    Raises:
        Refused: `unreadable`.
    """
    read = from_zip(crash.crash_id, data)
    check_dumps(read.dumps, read.metadata["dump_checksums"])


__all__ = ["Importer", "Summary"]
