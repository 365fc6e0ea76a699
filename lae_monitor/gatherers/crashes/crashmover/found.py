"""Finds the crashes in the trees of older systems: Antenna's, and the Socorro collector's in both styles. Blocking.

Names come from file systems that others wrote to: each is checked before it becomes part of a path, and no link is followed.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lae_monitor.core.names import CrashId
from lae_monitor.core.refusals import Refused, shorten
from lae_monitor.gatherers.crashes.crashmover.crash import DUMP_NAME
from lae_monitor.gatherers.crashes.crashmover.layouts import MINIDUMP
from lae_monitor.gatherers.crashes.crashmover.old import Broken, Old, read_plain, reading
from lae_monitor.gatherers.crashes.crashmover.packed import tar_files, tarred

ID: Final = 36  # characters of a crash id
JSON: Final = ".json"
DUMP: Final = ".dump"
LAYOUTS: Final = ("antenna", "socorro", "tar")
_DAY: Final = re.compile(r"[0-9]{8}|[0-9]{2}", re.ASCII)  # Socorro's temporary storage has days of the month

Finds = Iterator[Old | Broken]


def find(path: Path, layout: str) -> Finds:
    """The crashes below `path`: the root that holds the days, one day, or a tar file (or a folder of them).

    Args:
        layout: one of LAYOUTS, or `auto`.

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
    days = [path] if _kind(path) else [day for day in _folders(path) if _DAY.fullmatch(day.name)]
    chosen = [(day, kind) for day in days for kind in _kind(day) if layout in {"auto", kind}]
    if chosen:
        return (crash for day, kind in chosen for crash in (_antenna(day) if kind == "antenna" else _socorro(day)))
    files = tar_files(path) if layout == "auto" else []
    if files:
        return (crash for file in files for crash in tarred(file))
    what = "crashes of Antenna or Socorro, nor a tar file" if layout == "auto" else f"tree of {layout}"
    raise FileNotFoundError(f"{path}: there is no {what} in it")


def _kind(day: Path) -> list[str]:
    kinds = []
    if (day / "raw_crash").is_dir() or (day / "dump_names").is_dir():
        kinds.append("antenna")
    if (day / "name").is_dir() or (day / "date").is_dir():
        kinds.append("socorro")
    return kinds


def _folders(path: Path) -> list[Path]:
    with os.scandir(path) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))


# ---- Antenna -------------------------------------------------------------------------------------------------------


def _antenna(day: Path) -> Finds:
    raws, names = day / "raw_crash", day / "dump_names"
    known = {*_names_in(raws)}
    for name in sorted({*known, *_names_in(names)}):
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


def _names_in(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except FileNotFoundError:
        return []


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
    links = _links(day / "date")
    found: set[str] = set()
    for folder, _, files in os.walk(day / "name"):
        here = Path(folder)
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
    for text in sorted(links.keys() - found):
        yield Broken(str(links[text][0]), "this link leads to no crash")


def _links(dates: Path) -> dict[str, list[Path]]:
    """What is new according to the tree by date: the links of each crash, in slots and in slots of web heads."""
    found: dict[str, list[Path]] = {}
    for folder, folders, files in os.walk(dates):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink() and id_of(name) is not None:
                found.setdefault(name, []).append(path)
    return found


def _old(day: Path, folder: Path, crash_id: CrashId, names: list[str], links: list[Path]) -> Old:
    dumps = {}
    for name in names:
        middle = name[ID:].removesuffix(DUMP)
        if name.endswith(DUMP) and (not middle or DUMP_NAME.fullmatch(middle[1:])):
            dumps[middle[1:] or MINIDUMP] = folder / name
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
