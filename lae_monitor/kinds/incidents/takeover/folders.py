"""Finds the incidents in the folders of flogtool's gatherer, or of a node, and reads what tells them apart. Blocking.

    DIR/incidents/<TubID>/incident-….flog.bz2    what flogtool's incident gatherer makes; DIR may be its `incidents`, too
    DIR/incident-….flog.bz2                      the folder of one node, such as its own logs/incidents

Names come from folders that others wrote to: each is checked before it becomes part of a path, and no link is followed.
"""

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from lae_monitor.core.limits import MiB
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.incidents.wire.flog import unpack
from lae_monitor.kinds.incidents.wire.names import PREFIX, IncidentName, identity_of
from lae_monitor.kinds.incidents.wire.render import message

PLAIN: Final = ".flog"
PACKED: Final = ".flog.bz2"
FOLDER: Final = "incidents"  # of a gatherer's folder: where the folders of its nodes are
TAC: Final = "gatherer.tac"  # beside it
TUB_ID: Final = re.compile(r"[a-z2-7]{32}", re.ASCII)
MAX_FILE: Final = 64 * MiB  # of one incident; typically 0.06 MiB

_WRITING: Final = ".bz2.tmp"  # added to what a node has not finished yet: until then it writes both
_WRITTEN_WITHIN: Final = 60.0  # seconds; it takes five
_SAYS: Final = "Tub location set to "  # what a Tahoe-LAFS node logs when it starts
_LOCATION: Final = re.compile(rf"{_SAYS}b?'([^']*)'")
_HINT: Final = re.compile(r"(?:[a-z0-9]+:)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*):[0-9]{1,5}", re.ASCII)
_NOWHERE: Final = re.compile(r"localhost|127\.[0-9.]+|0\.0\.0\.0|::1?", re.ASCII)  # what every host calls itself


class Broken(NamedTuple):
    """Something that should be an incident, and cannot be taken for one; of which node's folder. It stays where it is."""

    where: str
    why: str
    tub: str


class Old(NamedTuple):
    """A file that should be an incident. `tub`: the node's folder, by its name; "" when the files were not in one."""

    where: str
    name: IncidentName
    tub: str

    @property
    def is_plain(self) -> bool:
        return self.where.endswith(PLAIN)


class Identity(NamedTuple):
    """What two copies of an incident share, and no two incidents: its name, and its trigger; see identity.py."""

    name: str
    trigger: bytes | None


class Told(NamedTuple):
    """What an incident's file says. `location`: the host by which its node says it is reached, "" for none."""

    identity: Identity
    received: float
    location: str
    digest: bytes


def is_flogtool(path: Path) -> bool:
    """Whether `path` looks like a folder of flogtool's gatherer, or one with a node's incidents.

    Raises:
        OSError
    """
    if not path.is_dir():
        return False
    if (path / TAC).is_file():
        return True
    return any(_holds_incidents(folder) for folder, _ in _folders(path))


def find(path: Path) -> Iterator[Old | Broken]:
    """What is below `path`, node by node.

    Raises:
        FileNotFoundError: there is nothing of the kind.
        OSError
    """
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: there is no such folder")
    if not is_flogtool(path):
        raise FileNotFoundError(f"{path}: there are no incidents in it, as flogtool's gatherer or a node keeps them")
    return (found for folder, tub in _folders(path) for found in _in(folder, tub))


def names(path: Path) -> set[str]:
    """The names of the incidents that `find` would find; none when there are none. Reads no file."""
    if not path.is_dir() or not is_flogtool(path):
        return set()
    return {found.name for found in find(path) if isinstance(found, Old)}


def _folders(path: Path) -> Iterator[tuple[Path, str]]:
    """Folders that may hold incidents, and whose they are."""
    yield path, path.name if TUB_ID.fullmatch(path.name) else ""
    inside = path / FOLDER if (path / FOLDER).is_dir() else path
    with os.scandir(inside) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    for name in names:
        if name.isprintable():
            yield inside / name, name


def _holds_incidents(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.name.startswith(PREFIX) and entry.name.endswith((PLAIN, PACKED)) for entry in entries)


def _in(folder: Path, tub: str) -> Iterator[Old | Broken]:
    try:
        with os.scandir(folder) as entries:
            found = {entry.name: entry for entry in entries if entry.name.startswith(PREFIX)}
            fresh = {name for name in found if name.endswith(_WRITING) and _is_fresh(found[name])}
    except OSError as error:
        yield Broken(str(folder), error.strerror or str(error), tub)
        return
    for name in sorted(found):
        if not name.endswith((PLAIN, PACKED)):
            continue
        where = str(folder / name)
        if f"{name}{_WRITING}" in fresh:
            yield Broken(where, "its node is writing it; import it again", tub)
            continue
        try:
            yield Old(where, IncidentName(name.removesuffix(".bz2").removesuffix(PLAIN)), tub)
        except Refused as refused:
            yield Broken(where, refused.reason.text, tub)


def _is_fresh(entry: os.DirEntry[str]) -> bool:
    """By the file system's own clock, so far as it is this host's."""
    return time.time() - entry.stat(follow_symlinks=False).st_mtime < _WRITTEN_WITHIN


def load(old: Old) -> bytes:
    """The bytes of its file; a link or a pipe in its place is not followed.

    Raises:
        OSError
        Refused: `unreadable`: no plain file, or too large.
    """
    fd = os.open(old.where, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Refused("unreadable", "no plain file")
        if status.st_size > MAX_FILE:
            raise Refused("unreadable", f"larger than {MAX_FILE} bytes")
        return file.read()


# ---- what a file says ----------------------------------------------------------------------------------------------


def tell(name: str, data: bytes) -> Told:
    """Reads the whole of an incident's file.

    Raises:
        Refused: `unreadable`: cut short, a pickle, no incident.
    """
    objects = unpack(data)
    identity = _identity(name, next(objects, None))
    received, location = 0.0, ""
    for wrapper in objects:
        if wrapper is None:
            continue
        event = wrapper.get("d")
        if not isinstance(event, dict):
            raise Refused("unreadable", "an event that is no dictionary")
        if not received and isinstance(at := wrapper.get("rx_time"), int | float):
            received = float(at)
        location = _location(event) or location
    return Told(identity, received, location, digest(data))


def identity(name: str, data: bytes) -> Identity:
    """Of an incident's file that was read before.

    Raises:
        Refused: `unreadable`.
    """
    return _identity(name, next(unpack(data), None))


def digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _identity(name: str, first: Mapping[str, Any] | None) -> Identity:
    header = first.get("header") if first is not None else None
    if not isinstance(header, dict) or not isinstance(header.get("trigger"), dict):
        raise Refused("unreadable", "no header of an incident")
    return Identity(name, identity_of([header]))


def _location(event: Mapping[str, Any]) -> str:
    said = event.get("message") or event.get("format")
    if not isinstance(said, str) or "ocation" not in said:
        return ""
    found = _LOCATION.search(message(event))
    for hint in found[1].split(",") if found else ():
        host = _HINT.fullmatch(hint.strip())
        if host and not _NOWHERE.fullmatch(bare := host[1].strip("[]")):
            return bare
    return ""
