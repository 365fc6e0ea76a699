"""Which growing file takes what belongs to a path now: the plain one at home, or a numbered one beside it.

Numbered ones are for pieces on a fallback root, and for paths whose plain file is retired or written by somebody else. Only
so many files stay open, and none that is not used: a file that nobody writes to can be brought home.
"""

import asyncio
import re
from collections import OrderedDict, deque
from typing import Final

from lae_monitor.archive.group_commit import GroupCommit
from lae_monitor.archive.root import Root
from lae_monitor.core.time import Clock

MAX_OPEN: Final = 512  # growing files kept open; a larger fleet reopens the least used
MAX_RETIRED: Final = 4096  # paths remembered as retired; a forgotten one is repaired and used again, as after a restart
CLOSE_AFTER: Final = 60.0  # seconds without an append
_NUMBER: Final = re.compile(r"[0-9]{18,20}")


def numbered(path: str, number: int) -> str:
    """A name beside `path`: `<stem>.<number><suffix>`; a number that it has already is replaced."""
    folder, slash, name = path.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    if not dot or _NUMBER.fullmatch(suffix):
        stem, dot, suffix = name, "", ""
    head, _, tail = stem.rpartition(".")
    if head and _NUMBER.fullmatch(tail):
        stem = head
    return f"{folder}{slash}{stem}.{number}{dot}{suffix}"


class GrowingFiles:
    """The growing files that this process writes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_path: OrderedDict[str, GroupCommit] = OrderedDict()  # least recently used first
        self._leaving: set[GroupCommit] = set()  # no longer asked for, and not yet closed
        self._closing: dict[tuple[Root, str], asyncio.Future[None]] = {}
        self._retired: OrderedDict[tuple[Root, str], None] = OrderedDict()
        self._last_number = 0
        self._open = 0
        self._wanting: deque[asyncio.Future[None]] = deque()  # files that wait until another one is closed

    def take(self, root: Root, path: str) -> GroupCommit:
        """The file on `root` that takes what belongs to `path`."""
        growing = self._by_path.get(path)
        if growing is not None and growing.root is root:
            self._by_path.move_to_end(path)
            return growing
        if growing is not None:
            self._leave(path, growing)
        plain = root.home and (root, path) not in self._retired
        name = path if plain else numbered(path, self._number())
        growing = self._come_back(root, name) or GroupCommit(
            root,
            name,
            fresh=not plain,
            after=self._closing.get((root, name)),
            admit=self._admit,
            on_idle=lambda idle: self._on_idle(path, idle),
        )
        self._by_path[path] = growing
        return growing

    def _come_back(self, root: Root, name: str) -> GroupCommit | None:
        for growing in self._leaving:
            if growing.root is root and growing.path == name and growing.retired is None:
                self._leaving.discard(growing)
                return growing
        return None

    def _number(self) -> int:
        """Nanoseconds since the epoch, and never the same twice."""
        self._last_number = max(self._last_number + 1, int(self._clock() * 1e9))
        return self._last_number

    def _on_idle(self, path: str, growing: GroupCommit) -> None:
        if growing.retired is not None:
            self._retired[growing.root, path] = None
            while len(self._retired) > MAX_RETIRED:
                self._retired.popitem(last=False)
            if self._by_path.get(path) is growing:
                self._leave(path, growing)
        if growing in self._leaving:
            self._close(growing)
        self._make_room()

    def _leave(self, path: str, growing: GroupCommit) -> None:
        """Nothing more is appended to `growing`; it is closed when what waits for it is done."""
        del self._by_path[path]
        if growing.idle:
            self._close(growing)
        else:
            self._leaving.add(growing)

    def _close(self, growing: GroupCommit) -> None:
        self._leaving.discard(growing)
        key = (growing.root, growing.path)
        self._closing[key] = closing = growing.close()

        def closed(answer: "asyncio.Future[None]") -> None:
            if self._closing.get(key) is answer:
                del self._closing[key]
            if growing.admitted:
                self._closed()

        closing.add_done_callback(closed)

    async def _admit(self) -> None:
        """Returns when one more file may be opened: a fleet that reports on the minute would take all descriptors."""
        if self._open < MAX_OPEN:
            self._open += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wanting.append(place)
        self._make_room()
        await place

    def _make_room(self) -> None:
        excess = len(self._wanting) - len(self._closing)
        if excess > 0:
            for path, growing in [item for item in self._by_path.items() if item[1].idle][:excess]:
                self._leave(path, growing)

    def _closed(self) -> None:
        while self._wanting:
            place = self._wanting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._open -= 1

    def tidy(self, preferred: Root | None) -> None:
        """Closes what was not used for a while, and pieces on a fallback root once `preferred` takes writes again."""
        now = asyncio.get_running_loop().time()
        for path, growing in list(self._by_path.items()):
            away = preferred is not None and growing.root is not preferred
            if growing.idle and (away or now - growing.used > CLOSE_AFTER):
                self._leave(path, growing)

    async def close(self) -> None:
        """Waits for what is being written, and lets go of every file."""
        for path, growing in list(self._by_path.items()):
            self._leave(path, growing)
        for growing in list(self._leaving):
            await growing.wait()
        if self._closing:
            await asyncio.wait(self._closing.values())
