"""What was sent to an archive, what it acknowledged, and whether it keeps its word."""

import asyncio
import itertools
from collections import defaultdict
from pathlib import Path

from lae_monitor.archive import Archive, ArchiveError, Exists, Journal, Reserve
from lae_monitor.archive.kernel import Kernel, Space
from lae_monitor.core.rows import Span

NOW = 1795341085.0  # 2026-11-22T09:51:25Z
NO_RESERVE = Reserve(size=0)


class Oracle:
    """Stands outside: it knows what it sent, and what it was told.

    Every payload is different, and every line is, so that a misplaced byte cannot go unseen.
    """

    def __init__(self, first: int = 0):
        self.acknowledged: list[tuple[Span, bytes]] = []
        self.journaled: list[tuple[Span, bytes]] = []  # and a piece of what is there
        self.refused: list[str] = []
        self.sent: dict[str, list[bytes]] = defaultdict(list)  # by the path of whole files
        self.lines: set[str] = set()  # the paths of growing files
        self.moving: list[bytes] = []  # acknowledged under a name that may get a number on the way home
        self._serial = itertools.count(first)

    def remember(self, other: "Oracle") -> None:
        """Takes over what `other` knows."""
        self.acknowledged += other.acknowledged
        self.journaled += other.journaled
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
        self.journaled.append((span, text.encode()))
        return True

    def check(self, *roots: dict[str, bytes]) -> None:
        """Everything acknowledged is where it is said to be, and no file under a final name is partial.

        Args:
            roots: what is on each root, as seen from outside: the bytes by path.
        """
        for (path, start, end), data in self.acknowledged:
            assert data in [root[path][start:end] for root in roots if path in root], f"not there: {path} {start} {end}"
        for (path, start, end), text in self.journaled:
            lines = {root[path][start:end] for root in roots if path in root}
            assert any(text in line and line.endswith(b"}\n") for line in lines), f"not there: {path} {start} {end}"
        for root in roots:
            for path in root.keys() & self.sent.keys():
                assert root[path] in self.sent[path], f"partial: {path}"

    def expect_numbers(self) -> None:
        """Of what was acknowledged twice under one name, on two roots, one gets a number on the way home."""
        paths = [span.path for span, _ in self.acknowledged if span.path in self.sent]
        twice = {path for path in paths if paths.count(path) > 1}
        self.moving += [data for span, data in self.acknowledged if span.path in twice]
        self.acknowledged = [(span, data) for span, data in self.acknowledged if span.path not in twice]

    def check_moved(self, home: dict[str, bytes]) -> None:
        """What may have got a number on the way home is there, once."""
        for data in self.moving:
            assert list(home.values()).count(data) == 1, "not there once, under any name"

    async def check_growing(self, archive: Archive, *roots: dict[str, bytes]) -> None:
        """Growing files end in whole lines once they have been opened again.

        Args:
            roots: what was on each root before.
        """
        for path in sorted(self.lines):
            assert await self.append(archive, path, 20)
            span, _ = self.acknowledged[-1]
            before = next((root[span.path] for root in roots if span.path in root), b"")
            assert span.start == before.rfind(b"\n") + 1, "what was torn was not cut, or something else was"


class Fillable(Kernel):
    """Is full while `full` is set."""

    full = False

    def space(self):
        return Space(0, 1 << 40) if self.full else super().space()


async def fill_home(archive: Archive) -> None:
    archive.roots[0].files.kernel.full = True
    await archive.roots[0].probe()
    assert archive.roots[0].health != "ok"


async def empty_home(archive: Archive) -> None:
    archive.roots[0].files.kernel.full = False
    await archive.roots[0].probe()


def on_disk(folder: Path) -> dict[str, bytes]:
    """What is below `folder`, except for temporary files."""
    return {
        name: path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not (name := str(path.relative_to(folder))).startswith(".tmp/")
    }


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
