"""The destinations that are trees of files: Antenna's, and the Socorro collector's. Blocking."""

import errno
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lae_monitor.archive.outside import Differs, Outside
from lae_monitor.core.names import CrashId
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import Clock, parse_time
from lae_monitor.kinds.crashes.crashmover import config
from lae_monitor.kinds.crashes.crashmover.crash import Crash, encode, radix_of, slot_of
from lae_monitor.kinds.crashes.crashmover.destination import Never, Unavailable


@contextmanager
def _telling() -> Iterator[None]:
    """Turns what the disk says into what the mover understands."""
    try:
        yield
    except Differs as error:
        raise Never(str(error)) from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise Never(str(error)) from error
        raise Unavailable(str(error)) from error


class AntennaFiles:
    """Writes what Antenna's FSCrashStorage writes, in its order:

    <fs_root>/<YYYYMMDD>/dump_names/<id>.json     the names of the dumps, a sorted JSON list
    <fs_root>/<YYYYMMDD>/<dump name>/<id>         each dump
    <fs_root>/<YYYYMMDD>/raw_crash/<id>.json      last: who finds it finds all of the crash
    """

    def __init__(self, settings: config.Antenna) -> None:
        self._root = settings.fs_root
        self._outside = Outside(int(settings.umask, 8))

    def save(self, crash: Crash) -> str:
        """
        Raises:
            Unavailable, Never
        """
        day = self._root / crash.crash_id.day
        raw = day / "raw_crash" / f"{crash.crash_id}.json"
        with _telling():
            self._outside.store(day / "dump_names" / f"{crash.crash_id}.json", [crash.dump_names])
            for name in crash.names:
                self._outside.store(day / name / crash.crash_id, [crash.dumps[name]])
            self._outside.store(raw, [crash.raw])
        return str(raw)

    def close(self) -> None:
        pass


class SocorroFiles:
    """Writes what the file system storage of the Socorro collector writes, `legacy` or `new`:

        <fs_root>/<YYYYMMDD>/name/<aa>/<bb>/             the radix folder; `new` adds a folder <id>/
            <id>.dump, <id>.<dump name>.dump, <id>.json  the crash, the raw crash last
            <id>       -> ../../../date/<HH>/<MM>_<S>    the back link; `new` calls it date_root
        <fs_root>/<YYYYMMDD>/date/<HH>/<MM>_<S>/
            <id>       -> ../../../name/<aa>/<bb>        what is new; `new` adds /<id>

    The back link is made before the other one, and says in which slot that one is: an interrupted save finds it again.
    """

    def __init__(self, settings: config.Socorro, clock: Clock) -> None:
        self._settings = settings
        self._outside = Outside(int(settings.umask, 8))
        self._clock = clock

    def save(self, crash: Crash) -> str:
        """
        Raises:
            Unavailable, Never
        """
        own, crash_id = self._settings, crash.crash_id
        inner = [] if own.style == "legacy" else [str(crash_id)]
        parts = [own.name_branch_base, *radix_of(crash_id), *inner]
        day = own.fs_root / crash_id.day
        folder = day.joinpath(*parts)
        raw = folder / f"{crash_id}{own.json_file_suffix}"
        with _telling():
            for name in crash.names:
                self._outside.store(folder / self._file_of(crash_id, name), [crash.dumps[name]])
            self._outside.store(raw, [encode(socorro_document(crash, own.checksum_method))])
            back = folder / (str(crash_id) if own.style == "legacy" else "date_root")
            slot = self._slot(back, "../" * len(parts))
            self._outside.symlink(day / own.date_branch_base / slot / crash_id, "../" * 3 + "/".join(parts))
        return str(raw)

    def _file_of(self, crash_id: CrashId, name: str) -> str:
        middle = "" if name == self._settings.dump_field else f".{name}"
        return f"{crash_id}{middle}{self._settings.dump_file_suffix}"

    def _slot(self, back: Path, up: str) -> str:
        """The slot that the back link leads to; it is made when it is missing."""
        slot = slot_of(self._clock(), self._settings.minute_slice_interval)
        front = f"{up}{self._settings.date_branch_base}/"
        try:
            found = str(back.readlink())
        except FileNotFoundError:
            self._outside.symlink(back, f"{front}{slot}")
            return slot
        except OSError as error:
            raise Differs(f"{back}: something else has this name") from error
        kept = found.removeprefix(front)
        if found == kept or len(kept.split("/")) != 2 or ".." in kept:
            raise Differs(f"{back}: another link has this name")
        return kept

    def close(self) -> None:
        pass


def socorro_document(crash: Crash, method: str) -> dict[str, Any]:
    """The raw crash with the fields that Socorro's own has at its top; what the client sent under such a name stays."""
    said = crash.metadata
    try:
        received = parse_time(str(crash.document.get("submitted_timestamp")))
    except Refused:
        received = parse_time(crash.crash_id.day)
    digest: Callable[[Any], Any] = hashlib.sha256 if method == "sha256" else _md5
    ours = {
        "timestamp": received,
        "legacy_processing": 1 if crash.is_deferred else 0,
        "throttle_rate": said.get("throttle_rate", 100),
        "type_tag": "bp",
    }
    sums = {name: digest(crash.dumps[name]).hexdigest() for name in crash.names}
    return {**ours, **crash.document, "dump_checksums": sums}


def _md5(data: Any) -> Any:
    return hashlib.md5(data, usedforsecurity=False)
