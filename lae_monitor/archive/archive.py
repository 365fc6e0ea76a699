"""A report is on disk before it is acknowledged.

`store()` and `append()` return only after fsync of file and folder, on the first root that works. Nothing here deletes what
the mover has not moved. Layout below a root: docs/archive.md.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from lae_monitor.archive.errors import Failed, Full
from lae_monitor.archive.files import Files, Reserve, Ticket, check_path
from lae_monitor.archive.group_commit import GroupCommit, NotAppended
from lae_monitor.archive.hints import Hints
from lae_monitor.archive.kernel import Entry, Kernel, LinuxKernel
from lae_monitor.archive.root import Health, Root, Unusable
from lae_monitor.archive.upload import Upload
from lae_monitor.core.limits import format_size
from lae_monitor.core.rows import Span
from lae_monitor.core.time import Clock, wall_clock

T = TypeVar("T")

MAX_OPEN: Final = 512  # growing files kept open; a larger fleet reopens the least used
HINTS: Final = "mover.sock"  # in the state folder: where the mover hears what is new


class Archive:
    """The archive as one process sees it.

    Args:
        roots: folders in order of preference; made if they are missing.
        process: this process's name, unique on the host: `gather-crashes`, `serve`.
        reserve: free space that stays free on each root.
        hints: the mover's datagram socket, or None to send no hints.
        clock: now, in seconds.
        kernel: makes the kernel of a root.
    """

    def __init__(
        self,
        roots: Sequence[str | Path],
        process: str,
        *,
        reserve: Reserve | None = None,
        hints: Path | None = None,
        clock: Clock = wall_clock,
        kernel: Callable[[str], Kernel] = LinuxKernel,
    ) -> None:
        self.process = process
        self.roots = [
            Root(number, str(name), Files(kernel(str(name)), process, reserve or Reserve(share=0.05)), clock)
            for number, name in enumerate(roots)
        ]
        self._clock = clock
        self._hints = Hints(hints) if hints is not None else None
        self._growing: dict[str, GroupCommit] = {}
        self._retired: set[tuple[int, str]] = set()
        self._probes: list[asyncio.Task[None]] = []

    async def open(self) -> "Archive":
        """Makes missing roots, removes what an earlier run left half done, and starts probing.

        Raises:
            Failed: no root could be opened.
        """
        await asyncio.gather(*(self._open_root(root) for root in self.roots))
        if all(root.health != "ok" for root in self.roots):
            raise Failed("; ".join(f"{root.name}: {root.health}: {root.error}" for root in self.roots))
        self._probes = [asyncio.create_task(root.keep_probing(), name=f"probe {root.name}") for root in self.roots]
        return self

    async def _open_root(self, root: Root) -> None:
        def prepare(_ticket: Ticket) -> None:
            Path(root.name).mkdir(mode=0o700, parents=True, exist_ok=True)
            root.files.repair()

        with suppress(Unusable):
            await root.run(prepare)
            await root.probe()

    async def close(self) -> None:
        """Waits for what is being written, then lets go."""
        for task in self._probes:
            task.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)
        self._probes = []
        while any(not growing.idle for growing in self._growing.values()):
            await asyncio.sleep(0.005)
        for growing in self._growing.values():
            growing.close()
        self._growing.clear()
        for root in self.roots:
            root.stop()
        if self._hints is not None:
            self._hints.close()

    # ---- accepting -------------------------------------------------------------------------------------------------

    async def store(self, path: str, chunks: Iterable[bytes]) -> Span:
        """A new file, whole and durable, at `path`.

        Args:
            path: relative, made of checked names.
            chunks: its bytes; kept in memory until a root has taken them. Use `upload()` for what may be large.

        Raises:
            Exists: there is a file of that name; it stays as it is.
            Full, Failed: no root took it; nothing is acknowledged.
            Refused: `bad_archive_path`.
        """
        check_path(path)
        parts = list(chunks)
        size = await self._on_first_root(lambda root, ticket: root.files.store(path, parts, ticket))
        span = Span(path, 0, size)
        self.hint(span)
        return span

    @asynccontextmanager
    async def upload(self) -> AsyncIterator[Upload]:
        """A file that grows under a temporary name until `commit(path)`; without it, nothing remains.

        Raises:
            Full, Failed: no root takes it, or the one that had begun stopped working; nothing is acknowledged.
        """
        upload = Upload(self)
        try:
            yield upload
        finally:
            await upload.discard()

    async def append(self, path: str, data: bytes) -> Span:
        """Adds `data` (whole lines) to the growing file `path`; returns where it lies, perhaps in a numbered file beside it.

        Raises:
            Full, Failed: no root took it; nothing is acknowledged.
            Refused: `bad_archive_path`.
        """
        check_path(path)
        failures: list[tuple[Root, Unusable]] = []
        for attempt in range(2):
            for root in self._usable_roots():
                try:
                    span = await self._growing_file(root, path).append(data)
                except NotAppended as error:
                    failures.append((root, error.cause))
                    continue
                self.hint(span)
                return span
            if attempt == 0 and not self._has_just_retired(failures):
                break
            # A file was retired by an error: its root may well take another file, even if it is the only one.
            for root, _ in failures:
                await root.probe()
        raise self._refusal(failures)

    def _has_just_retired(self, failures: list[tuple[Root, Unusable]]) -> bool:
        return any(isinstance(failure.failure, OSError) and root.health == "failing" for root, failure in failures)

    def _growing_file(self, root: Root, path: str) -> GroupCommit:
        """The file that takes what belongs to `path` now; away from home, or after a failure, a numbered one beside it."""
        growing = self._growing.get(path)
        if growing is not None and growing.root is root and growing.retired is None:
            self._growing[path] = self._growing.pop(path)  # most recently used last
            return growing
        if growing is not None and growing.idle:
            growing.close()
        plain = root.home and (root.number, path) not in self._retired
        name = path if plain else self._numbered(path)
        growing = GroupCommit(root, name, lambda retired: self._retired.add((retired.root.number, path)))
        self._growing[path] = growing
        self._close_least_used()
        return growing

    def _numbered(self, path: str) -> str:
        """A name beside `path` that no root has: `<stem>.<nanoseconds><suffix>`."""
        folder, _, name = path.rpartition("/")
        stem, dot, suffix = name.rpartition(".")
        number = int(self._clock() * 1e9)
        numbered = f"{stem}.{number}{dot}{suffix}" if dot else f"{name}.{number}"
        return f"{folder}/{numbered}" if folder else numbered

    def _close_least_used(self) -> None:
        excess = len(self._growing) - MAX_OPEN
        for path, growing in list(self._growing.items()):
            if excess <= 0:
                return
            if growing.idle:
                growing.close()
                del self._growing[path]
                excess -= 1

    # ---- roots -----------------------------------------------------------------------------------------------------

    def _usable_roots(self) -> list[Root]:
        return [root for root in self.roots if root.health == "ok"]

    async def _on_first_root(self, job: Callable[[Root, Ticket], T]) -> T:
        failures: list[tuple[Root, Unusable]] = []
        for root in self._usable_roots():
            try:
                return await root.run(lambda ticket, root=root: job(root, ticket))  # type: ignore[misc]
            except Unusable as failure:
                failures.append((root, failure))
        raise self._refusal(failures)

    def _refusal(self, failures: list[tuple[Root, Unusable]]) -> Full | Failed:
        detail = "; ".join(f"{root.name}: {root.health} {root.error}".strip() for root in self.roots)
        if failures and isinstance(failures[-1][1].failure, Full):
            return Full(detail)
        states = {root.health for root in self.roots}
        return Full(detail) if states <= {"full", "ok"} and "full" in states else Failed(detail)

    def health(self) -> list[dict[str, object]]:
        """Each root's name, health, error and the age in seconds of the last probe that wrote and synced."""
        now = self._clock()
        return [
            {
                "root": root.name,
                "health": root.health,
                "error": root.error,
                "probe_age": round(now - root.probed, 3) if root.probed else None,
            }
            for root in self.roots
        ]

    # ---- reading ---------------------------------------------------------------------------------------------------

    async def settle(self, path: str) -> int:
        """How many bytes of `path` are durable.

        Raises:
            FileNotFoundError: no root that answers has it.
        """
        return await self._where_it_is(path, lambda root: root.files.settle(path))

    async def read(self, span: Span) -> bytes:
        """The bytes of `span`; fewer when the file ends before.

        Raises:
            FileNotFoundError: no root that answers has it.
        """
        return await self._where_it_is(span.path, lambda root: root.files.read(span.path, span.start, span.end - span.start))

    async def _where_it_is(self, path: str, job: Callable[[Root], T]) -> T:
        check_path(path)
        hanging = []
        for root in self.roots:
            if root.health == "hanging":
                hanging.append(root.name)
                continue
            try:
                return await self._reading(root, job)
            except FileNotFoundError:
                continue
            except Unusable:
                hanging.append(root.name)
        detail = f" (not asked: {', '.join(hanging)})" if hanging else ""
        raise FileNotFoundError(f"{path}: in no archive root{detail}")

    async def _reading(self, root: Root, job: Callable[[Root], T]) -> T:
        def run(_ticket: Ticket) -> T | FileNotFoundError:
            try:
                return job(root)
            except FileNotFoundError as error:  # an answer, not a failure of the root
                return error

        result = await root.run(run)
        if isinstance(result, FileNotFoundError):
            raise result
        return result

    async def entries(self, folder: str) -> list[Entry]:
        """What is in `folder`, over all roots that answer; a file on two roots counts once, the first root's."""
        found: dict[str, Entry] = {}
        for root in reversed(self.roots):
            if root.health != "hanging":
                with suppress(Unusable, FileNotFoundError):
                    for entry in await self._reading(root, lambda root: root.files.entries(folder)):
                        found[entry.name] = entry
        return [found[name] for name in sorted(found)]

    # ---- hints -----------------------------------------------------------------------------------------------------

    def hint(self, span: Span) -> None:
        """Tells the mover what is new. May be lost; a sweep finds what was missed."""
        if self._hints is not None:
            self._hints.send(span.path)

    def describe(self) -> str:
        """One line for logs."""
        return "; ".join(
            f"{root.name}: {root.health}"
            + (f", {format_size(root.files.kernel.space().available)} free" if root.health == "ok" else f" ({root.error})")
            for root in self.roots
        )


__all__ = ["Archive", "Health"]
