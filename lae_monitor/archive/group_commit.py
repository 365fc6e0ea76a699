"""Many writers, one fdatasync: what waits while the disk syncs goes out together in the next batch.

A growing file has one writing process (it holds the file's lock) and one GroupCommit. After a batch that failed while being
written the file is retired for good: what it holds beyond the last acknowledged byte is unknown, and may have been read.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from lae_monitor.archive.errors import Full
from lae_monitor.archive.files import Ticket
from lae_monitor.archive.root import Root, Unusable
from lae_monitor.core.rows import Span


class NotAppended(Exception):
    """Nothing was acknowledged; append to a file of another root, or to another file if this one is retired."""

    def __init__(self, cause: Unusable) -> None:
        super().__init__(str(cause))
        self.cause = cause


class GroupCommit:
    """Appends to the file `path` of `root`, shared by all waiting writers.

    Args:
        root: where.
        path: the file, relative to the root.
        on_retired: called once when a batch has failed.
    """

    def __init__(self, root: Root, path: str, on_retired: Callable[["GroupCommit"], None]) -> None:
        self.root = root
        self.path = path
        self.retired: Unusable | None = None
        self._on_retired = on_retired
        self._fd: int | None = None
        self._size = 0
        self._waiting: list[tuple[bytes, asyncio.Future[Span]]] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        return not self._waiting and self._task is None

    async def append(self, data: bytes) -> Span:
        """Adds `data` to the file; returns where it is once it is durable.

        Raises:
            NotAppended: it was not acknowledged here.
        """
        if self.retired is not None:
            raise NotAppended(self.retired)
        future: asyncio.Future[Span] = asyncio.get_running_loop().create_future()
        self._waiting.append((data, future))
        if self._task is None:
            self._task = asyncio.create_task(self._commit(), name=f"commit {self.path}")
        return await future

    async def _commit(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                try:
                    start = await self.root.run(lambda ticket, batch=batch: self._write(ticket, batch))  # type: ignore[misc]
                except Unusable as cause:
                    if isinstance(cause.failure, Full):  # refused before a byte was written: the file is as it was
                        self._fail(cause, batch)
                    else:
                        self._retire(cause, batch)
                    return
                for data, future in batch:
                    if not future.done():
                        future.set_result(Span(self.path, start, start + len(data)))
                    start += len(data)
        except BaseException as error:
            self._retire(Unusable(OSError(repr(error))), batch)
            raise
        finally:
            self._task = None

    def _write(self, ticket: Ticket, batch: list[tuple[bytes, "asyncio.Future[Span]"]]) -> int:
        """In a worker: the batch at the end of the file, synced. Returns where it starts."""
        files = self.root.files
        ticket.check()
        files.check_space(sum(len(data) for data, _ in batch))
        if self._fd is None:
            self._fd, self._size = files.open_growing(self.path)
        start = self._size
        try:
            written = files.write_all(self._fd, [data for data, _ in batch])
            files.kernel.fdatasync(self._fd)
        except OSError:
            # So that the retired file ends in what was acknowledged; if this fails too, the next start cuts a torn line.
            with suppress(OSError):
                files.kernel.truncate(self._fd, start)
            raise
        self._size = start + written
        return start

    def _retire(self, cause: Unusable, batch: list[tuple[bytes, "asyncio.Future[Span]"]]) -> None:
        self.retired = cause
        self._on_retired(self)
        self._fail(cause, batch)
        self.close()

    def _fail(self, cause: Unusable, batch: list[tuple[bytes, "asyncio.Future[Span]"]]) -> None:
        for _, future in (*batch, *self._waiting):
            if not future.done():
                future.set_exception(NotAppended(cause))
        self._waiting = []

    def close(self) -> None:
        """Lets go of the file and its lock, unless a worker is still busy with it."""
        fd, self._fd = self._fd, None
        if fd is not None and self.root.health != "hanging":
            self.root.files.kernel.close(fd)
