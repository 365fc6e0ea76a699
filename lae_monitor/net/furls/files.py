"""A FURL for each host: the credential that identifies a caller, and that can be revoked for one host alone.

    <folder>/<cluster>/<host>.furl        one line, 0600; remove the file to revoke every FURL of the host
    <folder>/<cluster>/<host>.furl.old    FURLs that it had before, one a line, each with the second when it ends
    <folder>/log_gatherer.furl            the shared FURL, by flogtool's name for a gatherer's only one

All FURLs of a folder name the same tub; they differ in their swissnum, which nobody can guess.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from lae_monitor.archive.small_files import locked, make_folder, read_or_make, remove, replace
from lae_monitor.core.names import ClusterName, HostName, new_swissnum
from lae_monitor.core.refusals import Refused
from lae_monitor.core.secrets import Furl
from lae_monitor.core.time import Clock, wall_clock

log = logging.getLogger(__name__)

SUFFIX: Final = ".furl"
OLD: Final = ".furl.old"  # no host's name ends so that both could be meant: a FURL's file ends with SUFFIX
OPEN: Final = "log_gatherer.furl"
MAX_FILE: Final = 4096  # bytes; a FURL has about 120
MAX_OLD: Final = 8  # older FURLs of a host that stay valid; one more rotation ends the oldest
CLOCK_STEP: Final = 2.0  # seconds; a folder changed so lately may change again without its time showing it


Stamp = tuple[int, int, int]  # of a file: inode, time of change in ns, size


class HostFurl(NamedTuple):
    """A FURL, the host it belongs to, and the file that keeps it."""

    cluster: ClusterName
    host: HostName
    furl: Furl
    path: Path
    stamp: Stamp  # of the file when it was read
    until: float | None = None  # seconds since the epoch when an old one ends


class HostFurls:
    """The FURLs below `folder`. Any process may make or remove one; all others see it when they next ask."""

    def __init__(self, folder: Path, clock: Clock = wall_clock) -> None:
        self.folder = folder
        self._clock = clock
        self._by_swissnum: dict[str, HostFurl] = {}
        self._seen: dict[Path, int] = {}
        self._read: dict[Path, tuple[Stamp, list[HostFurl]]] = {}  # what the files hold, by their stamps
        self._failed = False  # whether something could not be read the last time

    # ---- making and ending -----------------------------------------------------------------------------------------

    def issue(self, cluster: ClusterName, host: HostName, tub_id: str, location: str) -> tuple[HostFurl, bool]:
        """The FURL of `host`, and whether it is new. One that exists keeps its swissnum, and gets the new location."""
        path = self.path(cluster, host)
        with locked(path.parent):
            if not path.exists():  # it was revoked by hand: that ended the old ones, and a new one brings none back
                remove(_old_path(path))
        current, new = _issue(path, tub_id, location)
        return HostFurl(cluster, host, current, path, _stamp(path.stat())), new

    def rotate(self, cluster: ClusterName, host: HostName, tub_id: str, location: str, grace: float) -> HostFurl:
        """A new FURL for `host`; the old one is valid for `grace` more seconds, with 0 no more.

        Raises:
            FileNotFoundError: it has none.
            Refused: `bad_furl`.
        """
        path = self.path(cluster, host)
        with locked(path.parent):
            kept = _furl(path)
            # First the old one is written as an old one: a command that is killed in between cuts off no node.
            self._write_old(path, [*self._old(path), (kept, self._clock() + grace)] if grace > 0 else [])
            replace(path, _line(Furl.build(tub_id, location, new_swissnum())))
        return HostFurl(cluster, host, _furl(path), path, _stamp(path.stat()))

    def revoke(self, cluster: ClusterName, host: HostName) -> bool:
        """Ends every FURL of `host`, old ones too; returns whether it had one."""
        path = self.path(cluster, host)
        if not path.parent.is_dir():
            return False
        with locked(path.parent):
            had = path.exists()
            remove(path)
            remove(_old_path(path))
        return had

    def _old(self, path: Path) -> list[tuple[Furl, float]]:
        now = self._clock()
        try:
            lines = _old_path(path).read_text("ascii", "replace").splitlines()
        except FileNotFoundError:
            return []
        return [(furl, until) for furl, until in map(_old_line, lines) if furl is not None and until > now]

    def _write_old(self, path: Path, old: list[tuple[Furl, float]]) -> None:
        if not old:
            remove(_old_path(path))
            return
        lines = [f"{furl.reveal()} {until:.0f}\n" for furl, until in old[-MAX_OLD:]]
        replace(_old_path(path), "".join(lines).encode())

    def path(self, cluster: ClusterName, host: HostName) -> Path:
        return self.folder / cluster / f"{host}{SUFFIX}"

    # ---- look-up ---------------------------------------------------------------------------------------------------

    def find(self, swissnum: str) -> HostFurl | None:
        """The host's FURL with `swissnum`; None if there is none, or it has ended."""
        known = self._by_swissnum.get(swissnum)
        if known is not None and self.is_valid(known):
            return known
        if known is not None or self._has_changed():
            self._read_all()
        found = self._by_swissnum.get(swissnum)
        return found if found is not None and self._is_in_time(found) else None

    def is_valid(self, known: HostFurl) -> bool:
        """Whether the file still holds what was read from it. A disk that fails for a moment revokes no FURL."""
        if not self._is_in_time(known):
            return False
        try:
            if known.until is not None:
                self.path(known.cluster, known.host).stat()  # without its own, a host has no old ones either
            if _stamp(known.path.stat()) == known.stamp:
                return True
            again = _read(known.cluster, known.host, known.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            log.warning("%s: %s", known.path, error)
            return True
        return any(one.furl.swissnum == known.furl.swissnum and one.until == known.until for one in again)

    def _is_in_time(self, known: HostFurl) -> bool:
        return known.until is None or self._clock() < known.until

    def _has_changed(self) -> bool:
        """Whether there may be files that were not read: only then is it worth reading them all for an unknown name."""
        seen = self._changed()
        fresh = (time.time() - CLOCK_STEP) * 1e9
        return self._failed or seen != self._seen or any(changed > fresh for changed in seen.values())

    def _changed(self) -> dict[Path, int]:
        """When each folder was changed, in ns."""
        changed = {}
        for folder in (self.folder, *self._folders()):
            with suppress(OSError):
                changed[folder] = folder.stat().st_mtime_ns
        return changed

    def _folders(self) -> list[Path]:
        return [Path(entry.path) for entry in self._scan(self.folder) if entry.is_dir(follow_symlinks=False)]

    def _scan(self, folder: Path) -> list["os.DirEntry[str]"]:
        try:
            with os.scandir(folder) as entries:
                return list(entries)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._failed = True
            log.warning("%s: %s", folder, error)
            return []

    def _read_all(self) -> None:
        found: dict[str, list[HostFurl]] = {}
        self._failed = False
        self._seen = self._changed()
        files = list(self._files())
        owners = {(known.cluster, known.host) for known in files if known.until is None}
        for known in files:
            if (known.cluster, known.host) not in owners:
                continue  # without its own, a host has no old ones either
            found.setdefault(known.furl.swissnum.reveal(), []).append(known)
        for same in found.values():
            # Its own goes before an old one: between the two steps of a rotation both are the same.
            same.sort(key=lambda known: known.until is not None)
            if len({(known.cluster, known.host) for known in same}) > 1:
                names = ", ".join(str(known.path) for known in same)
                log.error("one FURL for several hosts, so for none; keep one of these files: %s", names)
                same.clear()
        before = self._by_swissnum if self._failed else {}  # a disk that fails for a moment revokes no FURL
        kept = {swissnum: one for swissnum, one in before.items() if swissnum not in found and self.is_valid(one)}
        self._by_swissnum = {**kept, **{swissnum: same[0] for swissnum, same in found.items() if same}}

    def _files(self) -> Iterator[HostFurl]:
        read: dict[Path, tuple[Stamp, list[HostFurl]]] = {}
        fresh = (time.time() - CLOCK_STEP) * 1e9
        for folder in self._folders():
            for entry in self._scan(folder):
                suffix = next((suffix for suffix in (OLD, SUFFIX) if entry.name.endswith(suffix)), None)
                if suffix is None or entry.name.startswith("."):
                    continue
                path = Path(entry.path)
                try:
                    stamp = _stamp(entry.stat())
                    known = self._read.get(path)
                    if known is None or known[0] != stamp or stamp[1] > fresh:
                        cluster, host = ClusterName(folder.name), HostName(entry.name.removesuffix(suffix))
                        known = stamp, _read(cluster, host, path)
                except FileNotFoundError:
                    continue
                except (OSError, Refused) as error:
                    self._failed = self._failed or isinstance(error, OSError)
                    log.warning("%s: not a host's FURL: %s", entry.path, error)
                    continue
                read[path] = known
                yield from known[1]
        self._read = read


def registered(folder: Path) -> Iterator[tuple[ClusterName, HostName]]:
    """The hosts with a FURL below `folder`, by the names of the files; other files are passed over.

    Raises:
        OSError
    """
    for cluster in _entries(folder):
        if cluster.is_dir(follow_symlinks=False):
            for file in _entries(Path(cluster.path)):
                if file.name.endswith(SUFFIX):
                    try:
                        yield ClusterName(cluster.name), HostName(file.name.removesuffix(SUFFIX))
                    except Refused:
                        continue


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


class OpenFurl:
    """The shared FURL, as flogtool's gatherer has it: in `folder`, for as long as the file is there."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / OPEN
        self._stamp: Stamp | None = None
        self._furl: Furl | None = None

    def issue(self, tub_id: str, location: str) -> Furl:
        """The FURL; one that exists, such as flogtool's, keeps its swissnum.

        Raises:
            Refused: `bad_furl`.
        """
        return _issue(self.path, tub_id, location)[0]

    def has(self, swissnum: str) -> bool:
        """Whether it is the FURL with `swissnum`."""
        try:
            stamp = _stamp(self.path.stat())
            if stamp != self._stamp:
                self._furl, self._stamp = _furl(self.path), stamp
        except FileNotFoundError:
            self._furl = self._stamp = None
        except (OSError, Refused) as error:
            log.warning("%s: %s", self.path, error)
        return self._furl is not None and self._furl.swissnum.matches(swissnum)


def _issue(path: Path, tub_id: str, location: str) -> tuple[Furl, bool]:
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
    return current, new


def _old_path(path: Path) -> Path:
    return path.with_name(f"{path.name.removesuffix(SUFFIX)}{OLD}")


def _old_line(line: str) -> tuple[Furl | None, float]:
    text, _, until = line.partition(" ")
    try:
        return Furl(text), float(until)
    except (Refused, ValueError):
        return None, 0.0


def _furl(path: Path) -> Furl:
    try:
        return Furl(path.read_text("ascii", "replace")[:MAX_FILE])
    except Refused as refused:
        raise Refused("bad_furl", f"{path}; remove the file to have a new one made") from refused


def _read(cluster: ClusterName, host: HostName, path: Path) -> list[HostFurl]:
    with path.open("rb") as file:
        stamp = _stamp(os.fstat(file.fileno()))
        text = file.read(MAX_FILE).decode("ascii", "replace")
    if path.name.endswith(OLD):
        old = map(_old_line, text.splitlines())
        return [HostFurl(cluster, host, furl, path, stamp, until) for furl, until in old if furl is not None]
    try:
        return [HostFurl(cluster, host, Furl(text), path, stamp)]
    except Refused:
        log.warning("%s holds no FURL", path)
        return []


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _line(furl: Furl) -> bytes:
    return furl.reveal().encode() + b"\n"
