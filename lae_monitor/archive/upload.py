"""A file that comes in pieces, too large to keep in memory: crash dumps, incidents.

Written under a temporary name on one root; if that root stops working before `commit`, the sender has to start again, and
is told so by Full or Failed.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

from lae_monitor.archive.errors import Failed, Full
from lae_monitor.archive.files import Ticket, check_path
from lae_monitor.archive.root import Root, Unusable
from lae_monitor.core.rows import Span

if TYPE_CHECKING:
    from lae_monitor.archive.archive import Archive


class Upload:
    """Made by `Archive.upload()`; one task uses it at a time."""

    def __init__(self, archive: "Archive") -> None:
        self._archive = archive
        self._root: Root | None = None
        self._name = ""
        self._fd = -1
        self._size = 0

    async def write(self, *parts: bytes) -> None:
        """Adds to the file; returns when the kernel has it.

        Raises:
            Full, Failed
        """
        if self._root is None:
            await self._begin()
        assert self._root is not None  # noqa: S101 - for the type checker
        root, fd, size = self._root, self._fd, sum(map(len, parts))

        def write(ticket: Ticket) -> None:
            ticket.check()
            root.files.check_space(size)
            root.files.write_all(fd, parts)

        await self._run(write)
        self._size += size

    async def commit(self, path: str) -> Span:
        """Syncs the file and gives it its name.

        Raises:
            Exists, Full, Failed: it has no name then.
        """
        check_path(path)
        if self._root is None:
            await self._begin()
        assert self._root is not None  # noqa: S101 - for the type checker
        root, fd, name = self._root, self._fd, self._name

        def commit(ticket: Ticket) -> None:
            root.files.kernel.fsync(fd)
            root.files.publish(name, path, ticket)

        await self._run(commit)
        self._name = ""
        span = Span(path, 0, self._size)
        self._archive.hint(span)
        return span

    async def _begin(self) -> None:
        for root in self._archive.roots:
            if root.health != "ok":
                continue
            name = root.files.temporary()

            def create(_ticket: Ticket, root: Root = root, name: str = name) -> int:
                root.files.check_space(0)
                return root.files._create(name)

            try:
                self._fd = await root.run(create)
            except Unusable:
                continue
            self._root, self._name = root, name
            return
        raise self._archive._refusal([])

    async def _run(self, job: object) -> None:
        assert self._root is not None  # noqa: S101 - for the type checker
        try:
            await self._root.run(job)  # type: ignore[arg-type]
        except Unusable as failure:
            detail = f"{self._root.name}: {failure}"
            raise (Full(detail) if self._root.health == "full" else Failed(detail)) from failure

    async def discard(self) -> None:
        """Closes the file, and removes it unless it was committed."""
        if self._root is None:
            return
        root, fd, name = self._root, self._fd, self._name
        self._root = None

        def remove(_ticket: Ticket) -> None:
            root.files.kernel.close(fd)
            if name:
                with suppress(FileNotFoundError):
                    root.files.kernel.remove(name)

        with suppress(Unusable):
            await root.run(remove)
