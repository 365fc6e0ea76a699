"""Where a report waits until it is whole: in memory while it is small, else in a temporary file of the archive."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, TypeVar

from lae_monitor.archive import Archive
from lae_monitor.archive.upload import Upload
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.kinds.crashes.limits import BATCH, HOLD
from lae_monitor.kinds.crashes.minidump import Look, looking
from lae_monitor.kinds.pace import Budget

T = TypeVar("T")


class Spool:
    """The bytes of one report's file. A context manager: what was not committed is gone at its end."""

    def __init__(self, archive: Archive, budget: Budget, peer: str) -> None:
        self._archive = archive
        self._budget = budget
        self._peer = peer
        self._buffer = bytearray()
        self._buffered = 0  # of the budget, for the buffer
        self._reserved = 0  # of the budget, for what is not in the buffer
        self._crowded = False
        self._upload: Upload | None = None
        self._stack: AsyncExitStack | None = None  # holds the upload

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._buffer.clear()
        self._budget.give(self._buffered + self._reserved, self._peer)
        if self._stack is not None:
            await self._stack.aclose()

    def reserve(self, size: int) -> None:
        """Memory for something that cannot go to a file: annotations.

        Raises:
            Refused: `busy` when all reports together, or this peer's, hold too much.
        """
        if not self._budget.take(size, self._peer):
            raise Refused("busy", "memory for annotations")
        self._reserved += size

    def add(self, piece: bytes) -> None:
        self._buffer += piece
        if self._upload is None:
            if self._budget.take(len(piece), self._peer):
                self._buffered += len(piece)
            else:
                self._crowded = True

    async def relieve(self) -> None:
        """Moves what is too much for memory to the temporary file.

        Raises:
            Full, Failed
        """
        if self._upload is None and (len(self._buffer) > HOLD or self._crowded):
            self._stack = AsyncExitStack()
            self._upload = await self._stack.enter_async_context(self._archive.upload())
            await self._flush(self._upload)
            self._budget.give(self._buffered, self._peer)
            self._buffered = 0
        elif self._upload is not None and len(self._buffer) >= BATCH:
            await self._flush(self._upload)

    async def _flush(self, upload: Upload) -> None:
        data = bytes(self._buffer)
        self._buffer.clear()
        await upload.write(data)

    async def look(self, job: Callable[[Look], T]) -> T:
        """What `job` makes of the bytes so far.

        Raises:
            Full, Failed
        """
        if self._upload is None:
            return job(looking(self._buffer))
        await self._flush(self._upload)
        return await self._upload.look(job)

    async def commit(self, path: str) -> Span:
        """Makes it durable at `path`.

        Raises:
            Exists, Full, Failed: it is not there then.
        """
        await self.relieve()
        if self._upload is None:
            return await self._archive.store(path, [bytes(self._buffer)])
        await self._flush(self._upload)
        return await self._upload.commit(path)
