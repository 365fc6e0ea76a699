"""Many writers, one fdatasync: what waits while the disk syncs goes out together in the next batch.

A growing file has one writing process (it holds the file's lock) and one GroupCommit. After a batch that failed while being
written the file is retired for good: what it holds beyond the last acknowledged byte is unknown, and may have been read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from lae_monitor.archive.files import Failed, Files, Full, InUse
from lae_monitor.archive.folders import folder_of
from lae_monitor.archive.root import Root, Unusable
from lae_monitor.archive.workers import OpenFile, Ticket
from lae_monitor.core.limits import KiB
from lae_monitor.core.rows import Span

TAIL: Final = 64 * KiB  # read backwards in such pieces when looking for the last whole line


class GrowingFile:
    """A file that only grows, a whole line at a time, written by one process: the one that holds its lock.

    Whole lines are never taken back, not even those of a write that failed: the mover may have read them already, and what
    is appended after a cut would be skipped as read. So such lines can be there twice, here and where their sender was told
    that they are; readers give both the same key. A torn line at the end was read by nobody and is cut off before anything
    follows.

    After a power cut there can be garbage between the last acknowledged line and the end, where the disk had written some
    blocks of an unfinished write and not others; readers pass over it, saying so.

    All calls are made in workers, one at a time.

    Args:
        fresh: there must be no such file yet.
    """

    def __init__(self, files: Files, path: str, *, fresh: bool) -> None:
        self.path = path
        self._files = files
        self._fresh = fresh
        self._size = 0
        self._file = OpenFile(self._open, self._close)

    def append(self, parts: Sequence[bytes], ticket: Ticket, head: bytes = b"") -> int:
        """Adds `parts` at the end, synced, `head` before them if the file is empty; returns where `parts` start.

        Raises:
            Full: before a byte was written; the file is as it was.
            InUse, Abandoned, OSError: what the file has beyond its last acknowledged line is unknown.
        """
        self._files.check_space(len(head) + sum(map(len, parts)))
        with self._file.use() as fd:
            ticket.check()  # opening may have hung
            if self._size:
                head = b""
            size = len(head) + sum(map(len, parts))
            try:
                self._files.write_all(fd, [head, *parts] if head else parts)
                self._files.kernel.fdatasync(fd)
                end = self._files.size_of_own(self.path, fd)
            except FileNotFoundError as error:
                raise InUse(f"{self.path} was removed while it was written") from error
            except OSError:
                with suppress(OSError):  # else the next one who opens it cuts it
                    self._cut_torn_line(fd)
                raise
            if end != self._size + size:
                raise InUse(
                    f"{self.path} has {end} bytes where {self._size + size} were written: somebody else writes too"
                )
            start, self._size = self._size + len(head), end
            return start

    def close(self) -> None:
        """In a worker: lets go of the file and its lock; at once, or when the worker that hangs in it goes on."""
        self._file.close()

    def _open(self) -> int:
        """Opens the file to append to it, alone, its torn line cut off."""
        try:
            fd, new = self._files.folders.with_folder(
                folder_of(self.path), lambda: self._files.kernel.open_append(self.path)
            )
        except FileExistsError as error:  # between looking and making it
            raise InUse(f"{self.path} was made by somebody else") from error
        try:
            self._take_over(fd, new=new)
        except BaseException:
            self._close(fd)
            raise
        self._fresh = False
        return fd

    def _take_over(self, fd: int, *, new: bool) -> None:
        kernel = self._files.kernel
        if self._fresh and not new:
            raise InUse(f"{self.path} is there already")
        if not kernel.lock(fd):
            raise InUse(f"{self.path} is being written by another process")
        try:
            size = kernel.size(fd)
        except FileNotFoundError as error:  # brought home, between opening and locking it
            raise InUse(f"{self.path} was removed while it was opened") from error
        self._cut_torn_line(fd)
        if new or size == 0:
            kernel.sync_folder(folder_of(self.path))
        self._size = kernel.size(fd)

    def _cut_torn_line(self, fd: int) -> None:
        size = self._files.kernel.size(fd)
        end = size
        while end > 0:
            start = max(0, end - TAIL)
            found = self._files.kernel.pread(fd, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end != size:
            self._files.kernel.truncate(fd, end)

    def _close(self, fd: int) -> None:
        with suppress(OSError):
            self._files.kernel.close(fd)


class NotAppended(Exception):
    """Nothing was acknowledged; append to a file of another root, or to another file if this one is retired."""

    def __init__(self, cause: Unusable) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _Writer(NamedTuple):
    data: bytes
    head: bytes
    future: "asyncio.Future[Span]"


class GroupCommit:
    """Appends to the file `path` of `root`, shared by all waiting writers.

    Args:
        root: where.
        path: the file, relative to the root.
        fresh: there must be no such file yet.
        after: the closing of the same file by its last GroupCommit, or None.
        admit: returns when the file may be opened.
        on_idle: called whenever nobody waits any more; also after a batch has failed, with `retired` set.
    """

    def __init__(
        self,
        root: Root,
        path: str,
        *,
        fresh: bool,
        after: "asyncio.Future[None] | None",
        admit: Callable[[], Awaitable[None]],
        on_idle: Callable[["GroupCommit"], None],
    ) -> None:
        self.root = root
        self.path = path
        self.retired: Unusable | None = None
        self.used = 0.0  # the loop's time of the last append
        self._file = GrowingFile(root.files, path, fresh=fresh)
        self._after = after
        self._admit: Callable[[], Awaitable[None]] | None = admit
        self._on_idle = on_idle
        self._waiting: list[_Writer] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        return not self._waiting and self._task is None

    @property
    def admitted(self) -> bool:
        """Whether it may have the file open."""
        return self._admit is None

    async def append(self, data: bytes, head: bytes = b"") -> Span:
        """Adds `data` to the file, which begins with `head` if it is new; returns where it is once it is durable.

        Raises:
            NotAppended: it was not acknowledged here.
        """
        if self.retired is not None:
            raise NotAppended(self.retired)
        loop = asyncio.get_running_loop()
        self.used = loop.time()
        future: asyncio.Future[Span] = loop.create_future()
        self._waiting.append(_Writer(data, head, future))
        if self._task is None:
            self._task = loop.create_task(self._commit(), name=f"commit {self.path}")
        return await future

    async def wait(self) -> None:
        """Returns when nobody waits any more."""
        while self._task is not None:
            await asyncio.wait({self._task})

    async def _commit(self) -> None:
        batch: list[_Writer] = []
        try:
            if self._admit is not None:
                await self._admit()
                self._admit = None
            if self._after is not None:
                await asyncio.wait({self._after}, timeout=self.root.hang_after)
                self._after = None
            while self._waiting:
                # Without those who gave up: they may try again, and their data would be there twice.
                batch = [writer for writer in self._waiting if not writer.future.done()]
                self._waiting = []
                if batch:
                    await self._write(batch)
        except Unusable as cause:
            if not isinstance(cause.failure, Full):  # Full: refused before a byte was written, the file is as it was
                self.retired = cause
            self._fail(cause, batch)
        except BaseException as error:
            self.retired = Unusable(Failed(repr(error)))
            self._fail(self.retired, batch)
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._task = None
            self._on_idle(self)

    async def _write(self, batch: list[_Writer]) -> None:
        parts = [writer.data for writer in batch]
        start = await self.root.run(lambda ticket: self._file.append(parts, ticket, batch[0].head))
        for data, _, future in batch:
            if not future.done():
                future.set_result(Span(self.path, start, start + len(data)))
            start += len(data)

    def _fail(self, cause: Unusable, batch: list[_Writer]) -> None:
        for writer in (*batch, *self._waiting):
            if not writer.future.done():
                writer.future.set_exception(NotAppended(cause))
        self._waiting = []

    def close(self) -> "asyncio.Future[None]":
        """Lets go of the file and its lock; the future is done when that has happened."""
        return self.root.later(self._file.close)
