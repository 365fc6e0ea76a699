"""A crash in a layout of an older system, before it was read: where its files are, and how they go away. Blocking."""

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from lae_monitor.core.names import CrashId
from lae_monitor.core.refusals import Refused

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
