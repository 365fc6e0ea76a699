"""A FURL for each host: the credential that says who a caller is, and that can be revoked for one host alone.

    <folder>/<cluster>/<host>.furl        one line, 0600; remove the file, and the host is let in no more

All FURLs of a folder name the same tub; they differ in their swissnum, which nobody can guess.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from lae_monitor.core.ids import new_swissnum
from lae_monitor.core.names import ClusterName, HostName
from lae_monitor.core.refusals import Refused
from lae_monitor.core.secrets import Furl
from lae_monitor.net.tubs_files import locked, make_folder, read_or_make, replace

log = logging.getLogger(__name__)

SUFFIX: Final = ".furl"
MAX_FILE: Final = 4096  # bytes; a FURL has about 120
CLOCK_STEP: Final = 2.0  # seconds; a folder changed so lately may change again without its time showing it


class HostFurl(NamedTuple):
    """Whose FURL it is, and the file that keeps it."""

    cluster: ClusterName
    host: HostName
    furl: Furl
    path: Path
    stamp: tuple[int, int, int]  # of the file when it was read: inode, time of change in ns, size


class HostFurls:
    """The FURLs below `folder`. Any process may make or remove one; all others see it at the next question."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_swissnum: dict[str, HostFurl] = {}
        self._seen: dict[Path, int] = {}

    def issue(self, cluster: ClusterName, host: HostName, tub_id: str, location: str) -> tuple[HostFurl, bool]:
        """The FURL of `host`, and whether it is new. One that exists keeps its swissnum, and is told a new location."""
        path = self.path(cluster, host)
        make_folder(path.parent)
        wanted = Furl.build(tub_id, location, new_swissnum())
        data, new = read_or_make(path, lambda: _line(wanted))
        try:
            kept = Furl(data.decode("ascii", "replace"))
        except Refused as refused:
            raise Refused("bad_furl", f"{path}; remove the file to have a new one made") from refused
        current = Furl.build(tub_id, location, kept.swissnum.reveal())
        if current != kept:
            with locked(path.parent):
                replace(path, _line(current))
        return HostFurl(cluster, host, current, path, _stamp(path.stat())), new

    def path(self, cluster: ClusterName, host: HostName) -> Path:
        return self.folder / cluster / f"{host}{SUFFIX}"

    def find(self, swissnum: str) -> HostFurl | None:
        """Whose FURL has `swissnum`; None when nobody's has, or no more."""
        known = self._by_swissnum.get(swissnum)
        if known is not None and self.is_valid(known):
            return known
        if known is not None or self._has_changed():
            self._read_all()
        return self._by_swissnum.get(swissnum)

    def is_valid(self, known: HostFurl) -> bool:
        """Whether the file still holds what was read from it. A disk that fails for a moment revokes nobody."""
        try:
            if _stamp(known.path.stat()) == known.stamp:
                return True
            again = _read(known.cluster, known.host, known.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            log.warning("%s: %s", known.path, error)
            return True
        return again is not None and again.furl.swissnum == known.furl.swissnum

    def _has_changed(self) -> bool:
        """Whether there may be files that were not read: only then is it worth reading them all for an unknown name."""
        seen = self._changed()
        fresh = (time.time() - CLOCK_STEP) * 1e9
        return seen != self._seen or any(changed > fresh for changed in seen.values())

    def _changed(self) -> dict[Path, int]:
        """When each folder was changed, in ns."""
        changed = {}
        for folder in (self.folder, *self._folders()):
            with suppress(FileNotFoundError):
                changed[folder] = folder.stat().st_mtime_ns
        return changed

    def _folders(self) -> list[Path]:
        try:
            return [Path(entry.path) for entry in os.scandir(self.folder) if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []

    def _read_all(self) -> None:
        found: dict[str, list[HostFurl]] = {}
        self._seen = self._changed()
        for known in self._files():
            found.setdefault(known.furl.swissnum.reveal(), []).append(known)
        for same in found.values():
            if len(same) > 1:
                names = ", ".join(str(known.path) for known in same)
                log.error("one FURL for several hosts, so for none; keep one of these files: %s", names)
        self._by_swissnum = {swissnum: same[0] for swissnum, same in found.items() if len(same) == 1}

    def _files(self) -> Iterator[HostFurl]:
        for folder in self._folders():
            for entry in os.scandir(folder):
                if not entry.name.endswith(SUFFIX) or entry.name.startswith("."):
                    continue
                try:
                    cluster, host = ClusterName(folder.name), HostName(entry.name.removesuffix(SUFFIX))
                    known = _read(cluster, host, Path(entry.path))
                except FileNotFoundError:
                    continue
                except (OSError, Refused) as error:
                    log.warning("%s: not a host's FURL: %s", entry.path, error)
                    continue
                if known is not None:
                    yield known


def _read(cluster: ClusterName, host: HostName, path: Path) -> HostFurl | None:
    with path.open("rb") as file:
        stamp = _stamp(os.fstat(file.fileno()))
        text = file.read(MAX_FILE).decode("ascii", "replace")
    try:
        return HostFurl(cluster, host, Furl(text), path, stamp)
    except Refused:
        log.warning("%s holds no FURL", path)
        return None


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _line(furl: Furl) -> bytes:
    return furl.reveal().encode() + b"\n"
