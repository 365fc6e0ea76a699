"""Finds the crashes in the trees of older systems: Antenna's, and the Socorro collector's in both styles. Blocking.

Names come from file systems that others wrote to: each is checked before it becomes part of a path, and no link is followed.
Whatever may hold crashes and is not looked into is named.
"""

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lae_monitor.core.names import CrashId
from lae_monitor.core.refusals import Refused, shorten
from lae_monitor.kinds.crashes.crashmover.crash import DUMP_NAME
from lae_monitor.kinds.crashes.takeover.old import (
    DUMP,
    ID,
    JSON,
    Broken,
    Old,
    dump_of,
    read_plain,
    reading,
    tar_files,
    tarred,
)

_DAY: Final = re.compile(r"[0-9]{8}|[0-9]{2}", re.ASCII)  # Socorro's temporary storage has days of the month
_LINK: Final = "is a link; import what it leads to by itself"

Finds = Iterator[Old | Broken]


def find(path: Path, layout: str) -> Finds:
    """The crashes below `path`: the root that holds the days, one day, or a tar file (or a folder of them).

    Args:
        layout: `antenna`, `socorro`, `tar`, or `auto`.

    Raises:
        FileNotFoundError: nothing there looks like that layout.
        OSError
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such folder or file")
    if layout == "tar" or (layout == "auto" and not path.is_dir()):
        files = tar_files(path)
        if not files:
            raise FileNotFoundError(f"{path}: there is no tar file")
        return (crash for file in files for crash in tarred(file))
    trouble: list[Broken] = []
    chosen = _days(path, layout, trouble)
    if chosen or trouble:
        return _of_days(chosen, trouble)
    files = tar_files(path) if layout == "auto" else []
    if files:
        return (crash for file in files for crash in tarred(file))
    what = "Antenna or Socorro crashes and no tar file" if layout == "auto" else f"tree of {layout}"
    raise FileNotFoundError(f"{path}: no {what} found there")


def _of_days(days: list[tuple[Path, str]], trouble: list[Broken]) -> Finds:
    yield from trouble
    for day, kind in days:
        yield from _antenna(day) if kind == "antenna" else _socorro(day)


def _days(path: Path, layout: str, trouble: list[Broken]) -> list[tuple[Path, str]]:
    """The days, and whose they are: `path` itself, or those in it. What cannot be looked into is added to `trouble`.

    Raises:
        OSError
    """
    if kinds := _kind(path):
        return [(path, kind) for kind in kinds if layout in {"auto", kind}]
    chosen: list[tuple[Path, str]] = []
    with os.scandir(path) as entries:
        days = sorted((entry for entry in entries if _DAY.fullmatch(entry.name)), key=lambda entry: entry.name)
    for day in days:
        if day.is_dir(follow_symlinks=False):
            try:
                chosen += [(Path(day.path), kind) for kind in _kind(Path(day.path)) if layout in {"auto", kind}]
            except OSError as error:
                trouble.append(_broken(error, day.path))
        elif day.is_symlink() and day.is_dir():
            trouble.append(Broken(day.path, _LINK))
    return chosen


def _kind(day: Path) -> list[str]:
    """
    Raises:
        OSError: it cannot be looked into.
    """
    with os.scandir(
        day
    ):  # what is in it may be looked at, also when it may not be listed; then not all of it was found
        pass
    kinds = []
    if _is_folder(day / "raw_crash") or _is_folder(day / "dump_names"):
        kinds.append("antenna")
    if _is_folder(day / "name") or _is_folder(day / "date"):
        kinds.append("socorro")
    return kinds


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _broken(error: OSError, path: str) -> Broken:
    return Broken(str(error.filename or path), error.strerror or str(error))


# ---- Antenna -------------------------------------------------------------------------------------------------------


def _antenna(day: Path) -> Finds:
    raws, names = day / "raw_crash", day / "dump_names"
    trouble: list[Broken] = []
    known, listed = _names_in(raws, trouble), _names_in(names, trouble)
    yield from trouble
    if trouble:
        return
    for name in sorted(known | listed):
        crash_id = id_of(name.removesuffix(JSON))
        where = str(raws / name)
        if crash_id is None or not name.endswith(JSON):
            yield Broken(where, f"{shorten(name)} is not the name of a crash")
        elif name not in known:
            yield Broken(str(names / name), "there is no raw crash: it was never stored whole")
        else:
            missing: list[str] = []
            try:
                dumps = _listed(names / name)
            except FileNotFoundError:  # unless we had begun to remove it, nobody knows which they were
                dumps, missing = [], ["dump_names"]
            except (OSError, Refused, ValueError, RecursionError) as error:
                yield Broken(where, f"the names of its dumps: {error}")
                continue
            paths = {dump: day / dump / crash_id for dump in dumps}
            yield Old(
                crash_id,
                where,
                reading(raws / name),
                {dump: reading(path) for dump, path in paths.items()},
                [*paths.values(), names / name, raws / name],
                day.parent,
                missing,
            )


def _names_in(folder: Path, trouble: list[Broken]) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except FileNotFoundError:
        pass
    except OSError as error:
        trouble.append(_broken(error, str(folder)))
    return set()


def _listed(path: Path) -> list[str]:
    """The names of a crash's dumps.

    Raises:
        OSError, Refused, ValueError, RecursionError
    """
    found = json.loads(read_plain(path))
    if not isinstance(found, list) or not all(isinstance(name, str) and DUMP_NAME.fullmatch(name) for name in found):
        raise ValueError(f"{path} is no list of names")
    return found


# ---- Socorro -------------------------------------------------------------------------------------------------------


def _socorro(day: Path) -> Finds:
    errors: list[OSError] = []
    links = _links(day / "date", errors)
    found: set[str] = set()
    for folder, folders, files in os.walk(day / "name", onerror=errors.append):
        here = Path(folder)
        yield from _links_elsewhere(here, folders)
        of_crash: dict[str, list[str]] = {}
        for name in sorted(files):
            if id_of(name[:ID]) is not None:
                of_crash.setdefault(name[:ID], []).append(name)
            elif name != "date_root":
                yield Broken(str(here / name), "is not the name of a crash")
        for text, names in of_crash.items():
            if f"{text}{JSON}" in names:
                found.add(text)
                yield _old(day, here, CrashId(text), names, links.get(text, []))
            elif any(name.endswith(DUMP) for name in names):
                found.add(text)
                yield Broken(str(here / text), "there is no raw crash: it was never stored whole")
    yield from (_broken(error, str(day)) for error in errors if not isinstance(error, FileNotFoundError))
    for text in sorted(links.keys() - found):
        yield Broken(str(links[text][0]), "this link leads to no crash")


def _links_elsewhere(here: Path, folders: list[str]) -> Iterator[Broken]:
    for name in sorted(folders):
        if (here / name).is_symlink() and not _leads_back(here / name):
            yield Broken(str(here / name), _LINK)


def _leads_back(link: Path) -> bool:
    """Whether it is the link of a crash to its slot in the tree by date."""
    return (link.name == "date_root" or id_of(link.name) is not None) and "date" in link.readlink().parts


def _links(dates: Path, errors: list[OSError]) -> dict[str, list[Path]]:
    """What is new according to the tree by date: the links of each crash, in slots and in slots of web heads."""
    found: dict[str, list[Path]] = {}
    for folder, folders, files in os.walk(dates, onerror=errors.append):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink() and id_of(name) is not None:
                found.setdefault(name, []).append(path)
    return found


def _old(day: Path, folder: Path, crash_id: CrashId, names: list[str], links: list[Path]) -> Old | Broken:
    dumps: dict[str, Path] = {}
    for name in names:
        if name.endswith(DUMP):
            dump = dump_of(name[ID:])
            if not dump or dump in dumps:  # to take the others would be to lose this one
                return Broken(str(folder / crash_id), f"name of a dump: {name}")
            dumps[dump] = folder / name
    back = [path for path in (folder / crash_id, folder / "date_root") if path.is_symlink()]
    raw = folder / f"{crash_id}{JSON}"
    return Old(
        crash_id,
        str(raw),
        reading(raw),
        {name: reading(path) for name, path in dumps.items()},
        [*links, *back, *dumps.values(), raw],
        day.parent,
    )


def id_of(text: str) -> CrashId | None:
    try:
        return CrashId(text)
    except Refused:
        return None
