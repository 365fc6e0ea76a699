"""Files that went to a fallback root while home was in trouble come home, and keep their paths.

A file is copied, compared, durable at home, and only then removed where it was; killed at any point, the next run goes on,
and nothing is lost or there twice under two names. Not touched: what somebody writes to (its writer holds its lock).
Pieces are never merged: if home has another file of that name, the one that comes gets a number, made from its content.
"""

import errno
import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from lae_monitor.archive.archive import Archive
from lae_monitor.archive.files import ArchiveError, Exists, InUse, check_path
from lae_monitor.archive.growing import numbered
from lae_monitor.archive.root import Root, Unusable
from lae_monitor.archive.upload import Upload
from lae_monitor.archive.workers import OpenFile
from lae_monitor.core.limits import MiB
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.time import Clock, wall_clock

log = logging.getLogger(__name__)

CHUNK: Final = 1 * MiB  # all that is in memory of a file, twice while comparing


async def bring_home(archive: Archive, clock: Clock = wall_clock) -> int:
    """Moves what is on fallback roots, and that nobody writes to, to the first root; returns how many files came.

    Does nothing while home is not ok. A file that cannot be moved now stays where it is, and can be read there.
    """
    home, *others = archive.roots
    brought = 0
    for away in others:
        journey = _Journey(home, away, archive.hint, clock)
        with suppress(_Over):
            await journey.empty("")
        brought += journey.brought
    return brought


class _Over(Exception):
    """Home takes nothing any more, or the other root does not answer."""


class _Journey:
    """From the root `away` to `home`."""

    def __init__(self, home: Root, away: Root, hint: Callable[[Span], None], clock: Clock) -> None:
        self._home = home
        self._away = away
        self._hint = hint
        self._clock = clock
        self.brought = 0

    def _check(self) -> None:
        if self._home.health != "ok" or self._away.health in {"hanging", "refused"}:
            raise _Over

    async def empty(self, folder: str) -> None:
        """Brings home what is below `folder`, and removes folders that have been empty for a while."""
        self._check()
        try:
            entries = await self._away.ask(lambda: self._away.files.entries(folder))
        except (Unusable, OSError) as error:
            log.warning("%s: %s: %s", self._away.name, folder, error)
            return
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                check_path(path, stored=True)
            except Refused:  # nothing of ours has such a name
                continue
            if entry.folder:
                await self.empty(path)
                # Fails on one that holds something.
                await self._away.ask(
                    lambda path=path, entry=entry: self._away.files.folders.remove_empty(  # type: ignore[misc]
                        path, entry.modified, self._clock()
                    )
                )
            else:
                await self._bring_or_leave(path)

    async def _bring_or_leave(self, path: str) -> None:
        self._check()
        try:
            await self._bring(path)
        except InUse:
            return
        except (Unusable, ArchiveError, OSError) as error:
            log.warning("%s stays on %s for now: %s", path, self._away.name, error)
        else:
            self.brought += 1

    async def _bring(self, path: str) -> None:
        """
        Raises:
            InUse: somebody writes to it.
            Unusable, ArchiveError, OSError: it stays where it is.
        """
        source = OpenFile(lambda: self._away.files.open_locked(path), self._away.files.kernel.close)
        try:
            target = await self._find_place(path, source)
            await self._home.run(lambda _ticket: self._home.files.settle(target))
            await self._away.ask(lambda: self._away.files.remove(path))
        finally:
            self._away.later(source.close)

    async def _find_place(self, path: str, source: OpenFile) -> str:
        """Copies the file unless home has it; returns the name under which home has the same bytes."""
        target, attempts, copied = path, 0, ""
        while True:
            same = await self._is_same(target, source)
            if same:
                return target
            if same is None:
                copied = target
                with suppress(Exists):  # made meanwhile: look what it is
                    await self._copy(source, target)
            elif copied == target:
                raise OSError(errno.EIO, "is not at home what it was here", target)
            else:
                # The same name each time, so that a run which was killed is found to have copied it already.
                target = numbered(path, await self._digest(source) + attempts)
                attempts += 1

    async def _copy(self, source: OpenFile, target: str) -> None:
        upload = Upload([self._home], self._hint)
        try:
            start = 0
            while piece := await self._piece(source, start):
                await upload.write(piece)
                start += len(piece)
            await upload.commit(target)
        finally:
            await upload.discard()

    async def _is_same(self, target: str, source: OpenFile) -> bool | None:
        """Whether home's file is equal; None when there is none."""
        start = 0
        try:
            while True:
                at_home = await self._home.ask(lambda start=start: self._home.files.read(target, start, CHUNK))  # type: ignore[misc]
                here = await self._piece(source, start)
                if at_home != here:
                    return False
                if not here:
                    return True
                start += len(here)
        except FileNotFoundError:
            return None

    async def _digest(self, source: OpenFile) -> int:
        digest = hashlib.blake2b(digest_size=7)
        start = 0
        while piece := await self._piece(source, start):
            digest.update(piece)
            start += len(piece)
        return 10**17 + int.from_bytes(digest.digest())  # 18 digits

    async def _piece(self, source: OpenFile, start: int) -> bytes:
        def read() -> bytes:
            with source.use() as fd:
                return self._away.files.kernel.pread(fd, CHUNK, start)

        return await self._away.ask(read)
