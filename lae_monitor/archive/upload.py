"""A file that comes in pieces, too large to keep in memory: crash dumps, incidents.

Written under a temporary name on one root; if that root stops working before `commit`, the sender has to start again, and
is told so by Full or Failed.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from lae_monitor.archive.files import Exists, Failed, Full, check_path
from lae_monitor.archive.root import Root, Unusable, refusal, refuse_if_elsewhere
from lae_monitor.archive.workers import OpenFile, Ticket
from lae_monitor.core.rows import Span

T = TypeVar("T")


class Upload:
    """Made by `Archive.upload()`; one task uses it at a time.

    Args:
        roots: those that may take it, in order of preference.
        on_committed: hears of the finished file.
    """

    def __init__(self, roots: Sequence[Root], on_committed: Callable[[Span], None]) -> None:
        self._roots = roots
        self._on_committed = on_committed
        self._at: _Temporary | None = None
        self._size = 0
        self._over: Full | Failed | None = None  # why it takes nothing more: half a piece may have been written

    async def write(self, *parts: bytes) -> None:
        """Adds to the file; returns when the kernel has it.

        Raises:
            Full, Failed: the upload is over.
        """
        at = await self._begun()
        await self._run(at, lambda ticket: at.write(parts, ticket))
        self._size += sum(map(len, parts))

    async def look(self, job: Callable[[Callable[[int, int], bytes]], T]) -> T:
        """What `job` makes, in a worker, of a function that gives the bytes from an offset on, at most so many.

        Raises:
            Full, Failed: the upload is over.
        """
        at = await self._begun()
        return await self._run(at, lambda _ticket: at.look(job))

    async def commit(self, path: str) -> Span:
        """Syncs the file and gives it its name. The upload is over then.

        Raises:
            Exists: there is a file of that name; it stays as it is, and this one can be committed under another name.
            Full, Failed: nothing is acknowledged, and the upload is over.
            Refused: `bad_archive_path`.
        """
        check_path(path, stored=True)
        at = await self._begun()
        await refuse_if_elsewhere(path, [root for root in self._roots if root is not at.root])
        await self._run(at, lambda ticket: at.commit(path, ticket))
        self._over = Failed(f"{path} is committed already")
        span = Span(path, 0, self._size)
        self._on_committed(span)
        return span

    async def _begun(self) -> "_Temporary":
        if self._over is not None:
            raise self._over
        if self._at is not None:
            return self._at
        failures: list[tuple[Root, Unusable]] = []
        for root in self._roots:
            if root.health == "ok":
                self._at = _Temporary(root)
                try:
                    await root.run(self._at.begin)
                except Unusable as failure:
                    failures.append((root, failure))
                    await self.discard()
                else:
                    return self._at
        self._over = refusal(self._roots, failures)
        raise self._over

    async def _run(self, at: "_Temporary", job: Callable[[Ticket], T]) -> T:
        self._over = Failed("interrupted")  # whatever ends the next line, unless it is said otherwise below
        try:
            result = await at.root.run(job)
        except Exists:
            self._over = None
            raise
        except Unusable as failure:
            self._over = refusal([at.root], [(at.root, failure)])
            raise self._over from failure
        self._over = None
        return result

    async def discard(self) -> None:
        """Lets go of the file, and removes it unless it was committed."""
        at, self._at = self._at, None
        if at is not None:
            closing = at.root.later(at.file.close)
            if not at.committed:
                await asyncio.wait({closing})


class _Temporary:
    """The temporary file of an upload, in workers."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.file = OpenFile(self._open, self._close)
        self.committed = False
        self._name = ""

    def begin(self, _ticket: Ticket) -> None:
        self.root.files.check_space(0)
        with self.file.use():
            pass

    def write(self, parts: Sequence[bytes], ticket: Ticket) -> None:
        self.root.files.check_space(sum(map(len, parts)))
        with self.file.use() as fd:
            ticket.check()
            self.root.files.write_all(fd, parts)

    def look(self, job: Callable[[Callable[[int, int], bytes]], T]) -> T:
        kernel = self.root.files.kernel
        with self.file.use():
            fd = kernel.open_read(self._name)
            try:
                return job(lambda at, size: kernel.pread(fd, size, at))
            finally:
                kernel.close(fd)

    def commit(self, path: str, ticket: Ticket) -> None:
        with self.file.use() as fd:
            self.root.files.kernel.fsync(fd)
            self.root.files.size_of_own(self._name, fd)
            self.root.files.publish(self._name, path, ticket)
            self.committed = True

    def _open(self) -> int:
        self._name, fd = self.root.files.temporary.create()
        return fd

    def _close(self, fd: int) -> None:
        with suppress(OSError):
            self.root.files.kernel.close(fd)
        if not self.committed:
            self.root.files.temporary.remove(self._name)
