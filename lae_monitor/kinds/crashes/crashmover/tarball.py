"""The destination that is a row of tar files, names in them as in the Socorro collector's folders. Blocking.

    <id>.dump, <id>.<dump name>.dump, <id>.json: the raw crash last

Each crash is added at the end, durable. What a killed run left half done is cut off by the next save into that file, so any
reader of tar files finds whole crashes only, and after them the end that a tar file has. Only what is provably of such a run
is cut off: a file of somebody else's, or one that is damaged, stays as it is.
"""

import hashlib
import io
import os
import tarfile
import threading
from pathlib import Path
from typing import Final

from lae_monitor.archive.outside import Outside
from lae_monitor.core.names import CrashId
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import parse_time
from lae_monitor.kinds.crashes.crashmover import config
from lae_monitor.kinds.crashes.crashmover.crash import MINIDUMP, Crash, Data
from lae_monitor.kinds.crashes.crashmover.destination import Never, Unavailable

END: Final = bytes(2 * tarfile.BLOCKSIZE)  # what a tar file ends with
JSON: Final = ".json"
DUMP: Final = ".dump"
MAX_OPEN: Final = 8  # files whose contents are remembered
PIECE: Final = 1 << 20  # bytes read at a time
_SAMPLE: Final = "00000000-0000-4000-8000-000000261122"  # completes the beginning of an id
_LONG: Final = b"././@PaxHeader"  # the name of what precedes a member with a long one

Stamp = tuple[int, int, int]  # device, inode and size of a file


class Tarball:
    """Used by one process. A crash that came twice is compared with the one that is there."""

    def __init__(self, settings: config.Tar) -> None:
        self._settings = settings
        mask = int(settings.umask, 8)
        self._outside = Outside(mask)
        self._mode = 0o666 & ~mask
        self._writing = threading.Lock()
        self._known: dict[Path, _Contents] = {}

    def save(self, crash: Crash) -> str:
        """
        Raises:
            Unavailable, Never
        """
        files = {name_of(crash.crash_id, name): crash.dumps[name] for name in crash.names}
        files[f"{crash.crash_id}{JSON}"] = crash.raw
        with self._writing:
            try:
                path = self._path(crash.crash_id)
                contents = self._contents(path)
                if crash.crash_id not in contents.crashes:
                    self._add(path, contents, crash.crash_id, self._members(crash, files))
                self._compare(path, contents, files)
                if contents.size != contents.end + len(END):  # a killed run left a part of a crash, or of the end
                    self._outside.extend(path, contents.end, [], END, contents.size)
                    contents.look(path, contents.end)
            except OSError as error:
                self._known.clear()  # what is there now has to be looked at anew
                raise Unavailable(str(error)) from error
        return str(path)

    def _path(self, crash_id: CrashId) -> Path:
        """The file of the day; or the one that has the crash, or else the first with room."""
        folder = self._settings.folder
        if not self._settings.per:
            return folder / f"{crash_id.day}.tar"
        number = 1
        while True:
            path = folder / f"crashes-{number:06d}.tar"
            crashes = self._contents(path).crashes
            if crash_id in crashes or len(crashes) < self._settings.per:
                return path
            number += 1

    def _contents(self, path: Path) -> "_Contents":
        """What is in the file now: somebody may have moved it away since, or changed it."""
        found = self._known.get(path)
        if found is None or found.stamp != stamp_of(path):
            self._known.pop(path, None)
            found = self._known[path] = _Contents(path)
            if not self._settings.per and len(self._known) > MAX_OPEN:
                self._known = {path: found}
        return found

    def _members(self, crash: Crash, files: dict[str, Data]) -> list[Data]:
        try:
            received = parse_time(str(crash.document.get("submitted_timestamp")))
        except Refused:
            received = parse_time(crash.crash_id.day)
        parts: list[Data] = []
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), int(received), self._mode
            parts += [info.tobuf(tarfile.PAX_FORMAT), data, bytes(-len(data) % tarfile.BLOCKSIZE)]
        return parts

    def _add(self, path: Path, contents: "_Contents", crash_id: CrashId, parts: list[Data]) -> None:
        self._outside.extend(path, contents.end, parts, END, contents.size)
        contents.look(path, contents.end)
        if crash_id not in contents.crashes:
            raise OSError(f"{path}: does not hold what was written")

    def _compare(self, path: Path, contents: "_Contents", files: dict[str, Data]) -> None:
        with path.open("rb") as file:
            for name, data in files.items():
                start, size = contents.members.get(name, (0, -1))
                file.seek(start)
                there = hashlib.sha256(file.read(max(size, 0))).digest()
                if size != len(data) or there != hashlib.sha256(data).digest():
                    raise Never(f"{path}: {name} in it is another one")

    def close(self) -> None:
        self._known.clear()


class _Contents:
    """What a tar file holds: where its last whole crash ends, its members, and the crashes whose raw crash is there.

    Raises:
        Never: it is not ours.
        Unavailable: it is damaged.
        OSError
    """

    def __init__(self, path: Path) -> None:
        self.end = 0
        self.stamp: Stamp | None = None  # of the file, as it was found
        self.members: dict[str, tuple[int, int]] = {}  # where the bytes begin, and how many
        self.crashes: set[str] = set()
        self.look(path, 0)

    @property
    def size(self) -> int:
        return 0 if self.stamp is None else self.stamp[2]

    def look(self, path: Path, start: int) -> None:
        """Adds what stands from `start` on.

        Raises:
            Never, Unavailable, OSError
        """
        self.stamp = stamp_of(path)
        if self.stamp is None:
            return
        pending: dict[str, tuple[int, int]] = {}
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            after = start
            for info in members(file, start):
                if not _is_ours(info):
                    raise Never(f"{path}: another file has this name")
                after = info.offset_data + info.size + (-info.size % tarfile.BLOCKSIZE)
                if after > self.size:
                    return
                pending[info.name] = (info.offset_data, info.size)
                if info.name.endswith(JSON):
                    self.members |= pending
                    pending = {}
                    self.crashes.add(info.name.removesuffix(JSON))
                    self.end = after
            if not _is_torn(file, after, self.size):
                if after == 0:
                    raise Never(f"{path}: another file has this name")
                raise Unavailable(f"{path}: damaged at offset {after}; move it away, and it begins anew")


def stamp_of(path: Path) -> Stamp | None:
    """None when there is no such file.

    Raises:
        OSError
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_size


def _is_ours(info: tarfile.TarInfo) -> bool:
    rest = info.name[len(_SAMPLE) :]
    return (
        info.type == tarfile.REGTYPE
        and _is_id(info.name)
        and (rest == JSON or (rest[:1] == "." and rest.endswith(DUMP)))
    )


def _is_id(text: str) -> bool:
    """Whether `text` begins as a crash id does."""
    try:
        CrashId(text[: len(_SAMPLE)] + _SAMPLE[len(text) :])
    except Refused:
        return False
    return True


def _is_torn(file: io.BufferedReader, start: int, size: int) -> bool:
    """Whether a save of ours that was interrupted can have left what stands from `start` on, where no member can be read:
    zeros, or the first part of a header. A whole header that cannot be read was whole once, and what follows it too.
    """
    file.seek(start)
    block = file.read(tarfile.BLOCKSIZE)
    if not any(block):
        return all(not any(piece) for piece in iter(lambda: file.read(PIECE), b""))
    if block.startswith(_LONG) and len(block) == tarfile.BLOCKSIZE:
        try:
            name = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.TarError:
            return False
        said = file.read(name.size)
        blocks = 2 + -(-name.size // tarfile.BLOCKSIZE)  # both headers, and the name
        whose = said.partition(b" path=")[2].decode("utf-8", "replace")
        return size - start < blocks * tarfile.BLOCKSIZE and (start > 0 or _is_id(whose))
    if len(block) == tarfile.BLOCKSIZE:
        return False
    return start > 0 or _LONG.startswith(block[: len(_LONG)]) or _is_id(block[: len(_SAMPLE)].decode("latin-1"))


def name_of(crash_id: CrashId, name: str) -> str:
    """What a dump is called."""
    return f"{crash_id}.dump" if name == MINIDUMP else f"{crash_id}.{name}.dump"


def members(file: io.BufferedReader, start: int) -> "list[tarfile.TarInfo]":
    """The members from `start` on, as far as they can be read."""
    found: list[tarfile.TarInfo] = []
    file.seek(start)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for info in tar:
                found.append(info)  # noqa: PERF402 - what was found counts also when the next one is torn
    except tarfile.TarError:
        pass
    return found
