"""What was sent to an archive, what it acknowledged, and whether it keeps its word."""

import asyncio
import itertools
from collections import defaultdict

from lae_monitor.archive import Archive, ArchiveError, Exists, Journal, Reserve
from lae_monitor.core.rows import Span

NOW = 1795341085.0  # 2026-11-22T09:51:25Z
NO_RESERVE = Reserve(size=0)


class Oracle:
    """Stands outside: it knows what it sent, and what it was told.

    Every payload is different, and every line is, so that a misplaced byte cannot go unseen.
    """

    def __init__(self, first: int = 0):
        self.acknowledged: list[tuple[Span, bytes]] = []
        self.refused: list[str] = []
        self.sent: dict[str, list[bytes]] = defaultdict(list)  # by the path of whole files
        self.lines: set[str] = set()  # the paths of growing files
        self.moving: list[bytes] = []  # acknowledged under a name that may get a number on the way home
        self._serial = itertools.count(first)

    def remember(self, other: "Oracle") -> None:
        """Takes over what `other` knows."""
        self.acknowledged += other.acknowledged
        self.sent.update(other.sent)
        self.lines |= other.lines
        self.moving += other.moving

    def payload(self, size: int) -> bytes:
        head = b"%08d" % next(self._serial)
        return (head * (size // 8 + 1))[:size]

    def line(self, size: int) -> bytes:
        return self.payload(size - 1) + b"\n"

    def _heard(self, answer, data: bytes, path: str) -> bool:
        if isinstance(answer, Span):
            self.acknowledged.append((answer, data))
            return True
        self.refused.append(path)
        return False

    async def store(self, archive: Archive, path: str, size: int) -> bool:
        data = self.payload(size)
        self.sent[path].append(data)
        try:
            answer = await archive.store(path, [data[: size // 3], data[size // 3 :]])
        except ArchiveError as refused:
            answer = refused
        return self._heard(answer, data, path)

    async def upload(self, archive: Archive, path: str, size: int) -> bool:
        """As a client does: once more, if it was told that it did not work."""
        data = self.payload(size)
        self.sent[path].append(data)
        answer = None
        for _ in range(2):
            try:
                async with archive.upload() as upload:
                    for start in range(0, size, size // 3 + 1):
                        await upload.write(data[start : start + size // 3 + 1])
                    answer = await upload.commit(path)
                    break
            except Exists:
                answer = Span(path, 0, size)  # the first attempt got further than it knew
                break
            except ArchiveError as refused:
                answer = refused
        return self._heard(answer, data, path)

    async def append(self, archive: Archive, path: str, size: int) -> bool:
        self.lines.add(path)
        data = self.line(size)
        try:
            answer = await archive.append(path, data)
        except ArchiveError as refused:
            answer = refused
        return self._heard(answer, data, path)

    async def journal(self, archive: Archive, text: str) -> bool:
        path = f"journal/2026/11/22/{archive.process}.jsonl"
        self.lines.add(path)
        try:
            span = await Journal(archive, lambda: NOW).write("mark", text=text)
        except ArchiveError:
            self.refused.append(path)
            return False
        data = await archive.read(span)
        assert text.encode() in data, "what a journal entry's span holds is not the entry"
        self.acknowledged.append((span, data))
        return True

    async def check(self, archive: Archive) -> None:
        """Everything acknowledged is where it is said to be, and no file under a final name is partial."""
        for span, data in self.acknowledged:
            assert await archive.read(span) == data, f"acknowledged, and not there: {span}"
        for path, size in [found async for found in files(archive)]:
            if path in self.sent:
                assert await archive.read(Span(path, 0, size)) in self.sent[path], f"partial: {path}"

    async def check_moved(self, archive: Archive) -> None:
        """What may have got a number on the way home is there, once."""
        here = [await archive.read(Span(path, 0, size)) async for path, size in files(archive)] if self.moving else []
        for data in self.moving:
            assert here.count(data) == 1, f"{here.count(data)} times under some name, not once"

    async def check_growing(self, archive: Archive) -> None:
        """Growing files end in whole lines once they have been opened again."""
        for path in sorted(self.lines):
            assert await self.append(archive, path, 20)
        for span, _ in self.acknowledged[-len(self.lines) :]:
            size = await archive.settle(span.path)
            assert size == span.end
            assert span.start == 0 or await archive.read(Span(span.path, span.start - 1, span.start)) == b"\n"


async def files(archive: Archive, folder: str = ""):
    """The path and size of every file, on any root."""
    for entry in await archive.entries(folder):
        path = f"{folder}/{entry.name}" if folder else entry.name
        if entry.folder:
            async for found in files(archive, path):
                yield found
        else:
            yield path, entry.size


async def work(archive: Archive, oracle: Oracle) -> None:
    """A little of everything: new folders and known ones, small and large, alone and many at once."""
    await oracle.store(archive, "crashes/20261122/a.zip", 5000)
    await oracle.upload(archive, "incidents/c/incidents/h/b.flog.bz2", 9000)
    await asyncio.gather(*(oracle.append(archive, "sonar/c/2026/11/22/h.csv", 700 + n) for n in range(6)))
    await oracle.journal(archive, "one")
    await asyncio.gather(
        oracle.store(archive, "crashes/20261122/c.zip", 600),
        oracle.append(archive, "sonar/c/2026/11/22/h.csv", 6000),
        oracle.append(archive, "sonar/c/2026/11/22/h2.csv", 40),
        oracle.journal(archive, "two"),
    )
    await oracle.store(archive, "crashes/20261122/a.zip", 5000)  # the name is taken
    await oracle.append(archive, "sonar/c/2026/11/22/h.csv", 3000)
