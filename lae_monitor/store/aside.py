"""What cannot be opened is set aside and begun anew: the store, and the SQLite ledgers beside it.

    <name>.aside-<time>     one for each name; an earlier one goes
    <name>/.aside-<time>    where <name> is a disk of its own, which cannot be renamed

A link stays, and what it leads to is set aside.

None of them holds what cannot be made again: the store and the mover's cursors from the archive, the rest from the archive
and the credentials, or by asking and sending once more.
"""

import glob
import logging
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from lae_monitor.core.limits import MiB
from lae_monitor.core.printable import one_line

log = logging.getLogger(__name__)

TRIAL: Final = 1 * MiB  # written, to know that the disk is not to blame
MAX_REASON: Final = (
    160  # characters in a notice: the engine's have hundreds, with bytes of what is damaged; the log has all
)

_notices: dict[Path, str] = {}


def set_aside(path: Path, why: str) -> Path:
    """Renames `path`, with SQLite's files beside it.

    Raises:
        OSError: the disk is to blame, or the rights: nothing was renamed, and nothing of this should be.
    """
    real = path.resolve()
    is_folder = real.is_dir()
    _try_disk(real if is_folder else real.parent)
    for old in asides(path):
        remove(old)
    name = f"aside-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    if os.path.ismount(real):
        place = real / f".{name}"
        place.mkdir(mode=0o700)
        for entry in real.iterdir():
            if entry.name != "lost+found" and not entry.name.startswith("."):
                entry.rename(place / entry.name)
    else:
        place = real.with_name(f"{real.name}.{name}")
        real.rename(place)
        if is_folder:
            real.mkdir(mode=0o700)
    for rest in ("-wal", "-shm"):
        real.with_name(real.name + rest).unlink(missing_ok=True)
    _notices[place] = f"{_notice(path, place)}. The reason: {one_line(why, MAX_REASON)}"
    log.error("%s. The reason: %s", _notice(path, place), one_line(why))
    return place


def _try_disk(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, TRIAL)
        file.write(bytes(TRIAL))


def asides(path: Path) -> list[Path]:
    """What was set aside of `path`."""
    real = path.resolve()
    inside = real.glob(".aside-*") if real.is_dir() else ()
    return sorted([*real.parent.glob(f"{glob.escape(real.name)}.aside-*"), *inside])


def remove(place: Path) -> None:
    """Removes what was set aside; it is told no more."""
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    _notices.pop(place, None)
    log.info("%s was removed", place)


def remember(path: Path) -> None:
    """What an earlier process set aside of `path` is told on."""
    for place in asides(path):
        _notices.setdefault(place, _notice(path, place))


def _notice(path: Path, place: Path) -> str:
    return f"{path} could not be opened and is made anew; the old one is {place}"


def notices() -> list[str]:
    """What was set aside and is still there."""
    return list(_notices.values())
