"""The file `.lae-monitor`, which says whose folder it lies in. installation.py tells what follows from it."""

import os
import stat
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from lae_monitor.archive import small_files
from lae_monitor.core.limits import KiB

Part = Literal["state", "archive", "store"]
Standing = Literal["new", "older", "known"]

FILE: Final = ".lae-monitor"
MAX_SIZE: Final = 64 * KiB  # of a file; ours have a few hundred bytes
NOTE: Final = "lae-monitor knows its folders by this file: leave it here, and copy it with the rest"
TITLES: Final[dict[Part, str]] = {"state": "a state folder", "archive": "an archive root", "store": "a store's folder"}
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotOurs(Exception):
    """The folder is not the one that it should be. The text says why, and what to do."""


class Place(NamedTuple):
    """Which folder a path leads to. A disk that is mounted there, or taken away, changes it."""

    device: int
    inode: int


class Identity(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a file says.

    Args:
        installation: a random id, made at the first start.
        part: what the folder is.
        folders: of the state only: what is known of the other folders, by their absolute paths. A `known` one had its file.
            A `new` one gets it as soon as it can be written, an `older` one when it proves to be ours.
    """

    installation: str
    part: Part
    folders: dict[str, Standing] = {}
    note: str = NOTE


def look(folder: Path) -> tuple[Place, Identity | None]:
    """Which folder `folder` leads to, and what its file says; None when it has none.

    Raises:
        NotOurs: its file cannot be understood.
        OSError: the folder, or its file, cannot be opened.
    """
    fd = os.open(folder, _FOLDER)
    try:
        status = os.fstat(fd)
        place = Place(status.st_dev, status.st_ino)
        try:
            file = os.open(FILE, _FILE, dir_fd=fd)
        except FileNotFoundError:
            return place, None
    finally:
        os.close(fd)
    try:
        data = os.read(file, MAX_SIZE) if stat.S_ISREG(os.fstat(file).st_mode) else b""
    finally:
        os.close(file)
    try:
        return place, msgspec.json.decode(data, type=Identity)
    except (msgspec.DecodeError, RecursionError) as error:
        raise NotOurs(
            f"{folder / FILE} does not say whose folder this is ({error}); put a copy back, or make the folder "
            f"ours: lae-monitor archive adopt {folder}"
        ) from error


def look_if_there(folder: Path) -> tuple[Place | None, Identity | None]:
    try:
        return look(folder)
    except FileNotFoundError:
        return None, None


def replace(folder: Path, identity: Identity) -> None:
    """Writes the file of `folder`, durably, in place of what it has."""
    small_files.replace(folder / FILE, msgspec.json.encode(identity))
