"""Many writers, one fdatasync: what waits while the disk syncs goes out together in the next batch.

A growing file has one writing process (it holds the file's lock) and one GroupCommit. After a batch that failed while being
written the file is retired for good: what it holds beyond the last acknowledged byte is unknown, and may have been read.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from lae_monitor.archive.errors import Failed, Full
from lae_monitor.archive.growing_file import GrowingFile
from lae_monitor.archive.root import Root, Unusable
from lae_monitor.core.rows import Span


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
