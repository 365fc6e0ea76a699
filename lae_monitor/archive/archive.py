"""A report is on disk before it is acknowledged.

`store()` and `append()` return only after fsync of file and folder, on the first root that works. Nothing here deletes what
the mover has not moved. Layout below a root: docs/archive.md.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Container, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from lae_monitor.archive.files import Failed, Files, InUse, NameUncertain, check_path
from lae_monitor.archive.group_commit import NotAppended
from lae_monitor.archive.growing import GrowingFiles
from lae_monitor.archive.hints import Hints
from lae_monitor.archive.identity import Place
from lae_monitor.archive.installation import Installation, installation
from lae_monitor.archive.kernel import Entry, Kernel
from lae_monitor.archive.root import HANG_AFTER, THREADS, Health, Hung, Root, Unusable, refusal, refuse_if_elsewhere
from lae_monitor.archive.upload import Upload
from lae_monitor.config import Settings
from lae_monitor.core.limits import Reserve
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.time import Clock, wall_clock

T = TypeVar("T")

HINTS: Final = "mover.sock"  # in the state folder: where the mover hears what is new
TIDY_EVERY: Final = 15.0  # seconds between looks for growing files that nobody uses


class Archive:
    """The archive as one process sees it. It belongs to the event loop that opened it.

    Args:
        roots: folders in order of preference; made if they are missing.
        process: this process's name, unique on the host: `gather-crashes`, `serve`.
        reserve: free space that stays free on each root.
        hints: the mover's datagram socket, or None to send no hints.
        clock: now, in seconds.
        kernel: makes the kernel of a root.
        hang_after: seconds until a root that does not answer counts as hanging, and the next one is asked.
        threads: calls that a root makes at the same time.
        installation: whose roots they have to be; None: whatever is there is ours.
    """

    def __init__(
        self,
        roots: Sequence[str | Path],
        process: str,
        *,
        reserve: Reserve | None = None,
        hints: Path | None = None,
        clock: Clock = wall_clock,
        kernel: Callable[[str], Kernel] = Kernel,
        hang_after: float = HANG_AFTER,
        threads: int = THREADS,
        installation: Installation | None = None,
    ) -> None:
        kept_free = reserve or Reserve(share=0.05)
        self.process = process
        self.roots = [
            Root(number, name, files, clock, hang_after=hang_after, threads=threads)
            for number, (name, files) in enumerate(
                (name, Files(kernel(name), process, kept_free, _locator(installation, name)))
                for name in map(str, roots)
            )
        ]
        self._installation = installation
        self._clock = clock
        self._hints = Hints(hints) if hints is not None else None
        self._growing = GrowingFiles(clock)
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    async def open(self) -> "Archive":
        """Makes missing roots, removes what an earlier run left half done, and starts probing.

        It opens even if no root takes anything now, because they are full, hang, or fail: until one works again,
        everything is refused, with the reason. So is a root that is not ours. An operator's mistake is another matter;
        waiting would not mend it.

        Raises:
            Failed: a root is no folder, or we may not write to it; or the state folder is not ours.
            OSError: the state folder cannot be used.
        """
        await self._settle_installation()
        await asyncio.gather(*(root.probe() for root in self.roots))
        mistakes = [f"{root.name}: {root.mistake.strerror}" for root in self.roots if root.mistake is not None]
        if mistakes or not self.roots:
            await self.close()
            raise Failed("; ".join(mistakes) or "no archive root is configured")
        self._tasks = [asyncio.create_task(root.keep_probing(), name=f"probe {root.name}") for root in self.roots]
        self._tasks.append(asyncio.create_task(self._keep_tidy(), name="close growing files"))
        return self

    async def _settle_installation(self) -> None:
        """Before the first root gets its file, all that answer are looked at: one may say which installation this is."""
        installation = self._installation
        if installation is None or installation.known() is not None:
            return
        looks = [root.peek(lambda root=root: installation.look(root.name)) for root in self.roots]  # type: ignore[misc]
        answers = await asyncio.gather(*looks, return_exceptions=True)
        said = {
            root: said for root, said in zip(self.roots, answers, strict=True) if not isinstance(said, BaseException)
        }
        for root in list(said)[
            :1
        ]:  # in one of its threads, as more is read from the roots; without any, it is done later
            with suppress(Hung):
                await root.peek(lambda: installation.begin({root.name: found for root, found in said.items()}))

    async def _keep_tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_EVERY)
            self._growing.tidy(next(iter(self._usable_roots()), None))

    async def close(self) -> None:
        """Takes nothing more, waits for what is being written (as long as its root answers), then lets go."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._growing.close()
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
            Exists: there is a file of that name, whole and durable; it stays as it is.
            Full, Failed: no root took it; nothing is acknowledged.
            Refused: `bad_archive_path`, `shutting_down`.
        """
        check_path(path)
        self._check_open()
        parts = list(chunks)
        failures: list[tuple[Root, Unusable]] = []
        for root in self._usable_roots():
            perhaps_ours = [failed for failed, error in failures if isinstance(error.failure, NameUncertain | Hung)]
            await refuse_if_elsewhere(path, [other for other in self.roots if other not in {root, *perhaps_ours}])
            try:
                size = await root.run(lambda ticket, root=root: root.files.store(path, parts, ticket))  # type: ignore[misc]
                break
            except Unusable as failure:
                failures.append((root, failure))
        else:
            raise refusal(self.roots, failures)
        span = Span(path, 0, size)
        self.hint(span)
        return span

    @asynccontextmanager
    async def upload(self) -> AsyncIterator[Upload]:
        """A file that grows under a temporary name until `commit(path)`; without it, nothing remains.

        Raises:
            Full, Failed: no root takes it, or the one that had begun stopped working; nothing is acknowledged.
        """
        self._check_open()
        upload = Upload(self.roots, self.hint)
        try:
            yield upload
        finally:
            await upload.discard()

    async def append(self, path: str, data: bytes, *, head: bytes = b"") -> Span:
        """Adds `data` to the growing file `path`; returns where it lies, perhaps in a numbered file beside it.

        Args:
            path: relative, made of checked names.
            data: whole lines: the last byte is a newline. Anything else would look torn at the next start, and be cut.
            head: whole lines with which every file of the path begins, the numbered ones too; the same from every writer.

        Raises:
            Full, Failed: no root took it; nothing is acknowledged.
            Refused: `bad_archive_path`, `shutting_down`.
        """
        check_path(path)
        if not data.endswith(b"\n"):
            raise ValueError(f"{path}: only whole lines are appended, each with its newline")
        self._check_open()
        root = next((root for root in self.roots if root.health == "ok"), None)
        if root is None:
            raise refusal(self.roots, [])
        try:
            span = await self._growing.take(root, path).append(data, head)
        except NotAppended as error:
            span = await self._append_elsewhere(path, data, head, [(root, error.cause)])
        self.hint(span)
        return span

    async def _append_elsewhere(
        self, path: str, data: bytes, head: bytes, failures: list[tuple[Root, Unusable]]
    ) -> Span:
        for _ in range(2):
            self._check_open()
            # Twice each: a root that works is asked for another file, since the first one must have been at fault.
            for root in [root for root in self._usable_roots() for _ in range(2)]:
                last, failure = failures[-1]
                if last is root and not failure.root_works:
                    continue
                try:
                    return await self._growing.take(root, path).append(data, head)
                except NotAppended as error:
                    failures.append((root, error.cause))
            failing = [root for root, _ in failures if root.health == "failing"]
            if not failing:
                break
            # An error retired the file; its root may well take another one, even if it is the only root.
            await asyncio.gather(*(root.probe() for root in failing))
        raise refusal(self.roots, failures)

    async def replace(self, path: str, data: bytes) -> None:
        """A small file that is no report, such as a cursor, durable at `path` in place of what had that name.

        At home only, where it is read first: what came home later would be older.

        Raises:
            Full, Failed: the file is as it was.
            Refused: `bad_archive_path`, `shutting_down`.
        """
        check_path(path)
        self._check_open()
        home = self.roots[0]
        if home.health != "ok":
            raise refusal([home], [])
        try:
            await home.run(lambda ticket: home.files.store(path, [data], ticket, replace=True))
        except Unusable as failure:
            raise refusal([home], [(home, failure)]) from failure

    def _check_open(self) -> None:
        if self._closed:
            raise Refused("shutting_down")

    # ---- roots -----------------------------------------------------------------------------------------------------

    def _usable_roots(self) -> list[Root]:
        return [root for root in self.roots if root.health == "ok"]

    def health(self) -> list[dict[str, Any]]:
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

    def describe(self) -> str:
        """One line for logs."""
        return "; ".join(root.describe() for root in self.roots)

    # ---- reading ---------------------------------------------------------------------------------------------------

    async def settle(self, path: str) -> int:
        """How many bytes of `path` are durable.

        Raises:
            FileNotFoundError: no root that answers has it.
        """
        return await self._find(path, lambda root: root.files.settle(path))

    async def read(self, span: Span) -> bytes:
        """The bytes of `span`; fewer when the file ends before.

        Raises:
            FileNotFoundError: no root that answers has it.
        """
        return await self._find(span.path, lambda root: root.files.read(span.path, span.start, span.end - span.start))

    async def _find(self, path: str, job: Callable[[Root], T]) -> T:
        check_path(path, stored=True)
        reasons: list[str] = []
        # Twice, for a file that came home between asking there and asking where it was before.
        for root in self.roots * min(len(self.roots), 2):
            if root.health in {"hanging", "refused"}:
                reasons.append(f"{root.name}: not asked, it {'hangs' if root.health == 'hanging' else 'is refused'}")
                continue
            try:
                return await root.ask(partial(job, root))
            except FileNotFoundError:
                continue
            except (Unusable, OSError) as error:
                reasons.append(f"{root.name}: {error}")
        detail = f" ({'; '.join(dict.fromkeys(reasons))})" if reasons else ""
        raise FileNotFoundError(f"{path}: in no archive root{detail}")

    async def entries(self, folder: str, passing: Container[str] = ()) -> list[Entry]:
        """What is in `folder` ("" for the top), over all roots that answer; a file on two roots counts once, the first's.

        Args:
            passing: names that are not looked at.

        Returns:
            Of a folder on several roots, `modified` is the sum of all: it changes whenever one does.
        """
        if folder:
            check_path(folder, stored=True)
        found: dict[str, Entry] = {}
        for root in reversed(self.roots):
            if root.health in {"hanging", "refused"}:
                continue
            try:
                listed = await root.ask(lambda root=root: root.files.entries(folder, passing))  # type: ignore[misc]
            except (Unusable, OSError):
                continue
            for entry in listed:
                other = found.get(entry.name) if entry.folder else None
                found[entry.name] = entry._replace(modified=entry.modified + other.modified) if other else entry
        return [found[name] for name in sorted(found)]

    async def remove(self, path: str) -> None:
        """Removes `path` from every root that has it, durably: for retention, when its rows have gone.

        A root that is refused is passed over: its disk may be away for weeks. What it has comes back with it, and
        goes then.

        Raises:
            Failed: somebody writes to it, a root could not be asked, or refused; the file may be there still.
        """
        check_path(path, stored=True)
        for root in self.roots:
            if root.health == "refused":
                continue
            try:
                await root.ask(lambda root=root: root.files.remove_unused(path))  # type: ignore[misc]
            except FileNotFoundError:
                continue
            except (Unusable, InUse, OSError) as error:
                raise Failed(f"{root.name}: {path}: {error}") from error

    async def stamp(self, path: str, time: float) -> None:
        """Sets the modification time of `path`, in seconds, on every root that has it: its receipt, for retention.

        A root that does not answer, or refuses, keeps the time that it has.
        """
        check_path(path, stored=True)
        for root in self.roots:
            if root.health not in {"hanging", "refused"}:
                with suppress(Unusable, OSError):
                    await root.ask(lambda root=root: root.files.kernel.stamp(path, time))  # type: ignore[misc]

    def silent(self) -> list[str]:
        """The roots that cannot be asked now: what they hold is missing from every answer, and is not gone."""
        return [root.name for root in self.roots if root.health not in {"ok", "full"}]

    def hint(self, span: Span) -> None:
        """Tells the mover what is new. May be lost; a sweep finds what was missed."""
        if self._hints is not None:
            self._hints.send(span.path)


def _locator(installation: Installation | None, root: str) -> Callable[[], Place] | None:
    return (lambda: installation.check_root(root)) if installation is not None else None


__all__ = ["Archive", "Health"]


def archive_of(settings: Settings, process: str) -> Archive:
    """The archive as `process`, a name unique on the host, uses it; not opened yet."""
    return Archive(
        settings.archive_roots,
        process,
        reserve=settings.archive.reserve.reserve(),
        hints=settings.state.path / HINTS,
        installation=installation(settings),
    )
