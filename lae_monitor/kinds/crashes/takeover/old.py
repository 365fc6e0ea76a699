"""A crash in a layout of an older system, before it was read: where its files are, and how they go away. Blocking."""

import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from lae_monitor.core.names import CrashId
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.crashes.crashmover.crash import DUMP_NAME, MINIDUMP

MAX_FILE: Final = 1 << 30  # bytes of one file, and of all dumps of one crash

Read = Callable[[], bytes]


class Broken(NamedTuple):
    """Something that should be a crash, and cannot be read as one. It stays where it is."""

    where: str
    why: str


@dataclass
class Old:
    """A crash as it was found.

    `raw` and `dumps` read its files; `gone` are their paths and those of its links, in the order in which they are removed:
    the raw crash last, so that what was interrupted is found again. `up_to` stays, empty or not.
    """

    crash_id: CrashId
    where: str
    raw: Read
    dumps: Mapping[str, Read]
    gone: Sequence[Path] = ()
    up_to: Path | None = None
    missing: list[str] = field(default_factory=list)

    def read(self) -> tuple[bytes, dict[str, bytes]]:
        """The raw crash, and the dumps; those that are not there are named in `missing`.

        Raises:
            OSError
            Refused: `unreadable`: too large.
        """
        raw, dumps, size = self.raw(), {}, 0
        for name, read in self.dumps.items():
            try:
                dumps[name] = read()
            except FileNotFoundError:
                self.missing.append(name)
                continue
            size += len(dumps[name])
            if size > MAX_FILE:
                raise Refused("unreadable", f"its dumps are larger than {MAX_FILE} bytes")
        return raw, dumps

    def remove(self) -> None:
        """Takes it away, and folders that are empty then.

        Raises:
            OSError: something of it is there still.
        """
        for path in self.gone:
            path.unlink(missing_ok=True)
        for path in self.gone:
            folder = path.parent
            with suppress(OSError):  # fails on one that holds something
                while self.up_to is not None and folder != self.up_to and self.up_to in folder.parents:
                    folder.rmdir()
                    folder = folder.parent


def reading(path: Path) -> Read:
    """Reads the plain file `path`; a link or a pipe in its place is an OSError."""
    return lambda: read_plain(path)


def read_plain(path: Path) -> bytes:
    """
    Raises:
        OSError
        Refused: `unreadable`: no plain file, or too large.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Refused("unreadable", f"{path} is no plain file")
        if status.st_size > MAX_FILE:
            raise Refused("unreadable", f"{path} is larger than {MAX_FILE} bytes")
        return file.read()


# Finds the crashes in a tar file, compressed or not, with names as tarball.py has them. Blocking.
SUFFIXES: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_MEMBERS: Final = 10_000_000  # of one file
ID: Final = 36  # characters of a crash id
JSON: Final = ".json"
DUMP: Final = ".dump"


def tar_files(path: Path) -> list[Path]:
    """`path`, or the tar files that it holds."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES))


def tarred(path: Path) -> Iterator[Old | Broken]:
    """The crashes of one tar file, and what is wrong with it."""
    try:
        with tarfile.open(path, "r:*") as tar:
            crashes: dict[CrashId, dict[str, tarfile.TarInfo]] = {}
            trouble = _collect(tar, crashes)
            for crash_id, members in crashes.items():
                yield _crash(path, tar, crash_id, members)
            if trouble:
                yield Broken(str(path), trouble)
    except (tarfile.TarError, OSError, EOFError) as error:
        yield Broken(str(path), f"cannot be read as a tar file: {error}")


def _collect(tar: tarfile.TarFile, crashes: dict[CrashId, dict[str, tarfile.TarInfo]]) -> str:
    """The members of each crash; returns what was wrong on the way."""
    try:
        for number, info in enumerate(tar):
            if number >= MAX_MEMBERS:
                return f"has more than {MAX_MEMBERS} members"
            name = info.name.rpartition("/")[2]
            try:
                crash_id = CrashId(name[:ID])
            except Refused:
                continue
            if name.endswith((JSON, DUMP)):
                crashes.setdefault(crash_id, {})[name[ID:]] = info
    except (tarfile.TarError, OSError, EOFError) as error:
        return f"is cut short, or damaged: {error}"
    return ""


def dump_of(rest: str) -> str:
    """The name of the dump in a file whose name has `rest` after the id; empty when it is none that a dump can have."""
    middle = rest.removesuffix(DUMP)
    if not middle:
        return MINIDUMP
    return middle[1:] if middle[0] == "." and DUMP_NAME.fullmatch(middle[1:]) else ""


def _crash(path: Path, tar: tarfile.TarFile, crash_id: CrashId, members: dict[str, tarfile.TarInfo]) -> Old | Broken:
    where = f"{path}:{crash_id}"
    raw = members.pop(JSON, None)
    if raw is None:
        return Broken(where, "there is no raw crash: it was never stored whole")
    dumps: dict[str, tarfile.TarInfo] = {}
    for rest, info in members.items():
        name = dump_of(rest)
        if not name or name in dumps:
            return Broken(where, f"name of a dump: {crash_id}{rest}")
        dumps[name] = info
    if not all(info.isreg() for info in (raw, *dumps.values())):
        return Broken(where, "a member is no plain file")
    sizes = raw.size + sum(info.size for info in dumps.values())
    if sizes > MAX_FILE:
        return Broken(where, f"is larger than {MAX_FILE} bytes")

    def read(info: tarfile.TarInfo) -> bytes:
        try:
            file = tar.extractfile(info)
            data = file.read() if file is not None else b""
        except (tarfile.TarError, EOFError) as error:
            raise OSError(f"{where}: {error}") from error
        if len(data) != info.size:
            raise OSError(f"{where}: cut short")
        return data

    return Old(
        crash_id,
        where,
        lambda: read(raw),
        {name: (lambda info=info: read(info)) for name, info in dumps.items()},  # type: ignore[misc]
    )
