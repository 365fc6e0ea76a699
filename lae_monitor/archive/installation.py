"""A path is not a disk. Each archive root, the state folder and the store hold a file `.lae-monitor`: whose they are.

A root without that file, or with the file of another installation, is refused: its disk is not mounted, or another one is.
Nothing is written there, and nothing read.

A root gets its file
- at the first start of a new installation, made if it is missing;
- at the first start after a release that knew no such files, if it holds a file that the mover's ledger knows; or if earlier
  processes had it open, it never took anything, and another root is known to be ours (a fallback that was never needed);
- at that start, when the ledger is damaged or knows no file, if it holds one of OURS, and, if it is damaged, a file: an
  empty folder may be a disk that is not mounted;
- by `lae-monitor archive adopt ROOT`, at any time.
An empty state over a root that has the file (the archive was restored, the state lost) becomes that installation.

Its limit: at the very first start, and where an earlier release left no `mover.db`, a disk that is not mounted looks like an
empty folder. Units wait for their mounts.
"""

import os
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import msgspec

from lae_monitor.archive.files import Failed
from lae_monitor.archive.folders import TEMPORARY
from lae_monitor.archive.identity import (
    FILE,
    TITLES,
    Identity,
    NotOurs,
    Part,
    Place,
    Standing,
    look,
    look_if_there,
    replace,
)
from lae_monitor.archive.outside import Differs, Outside
from lae_monitor.archive.small_files import locked
from lae_monitor.config import Settings

LOCK: Final = "identity.lock"  # in the state folder; held while its file changes
LEDGER: Final = "mover.db"  # in the state folder of any release: the table `files` names each file that was moved
OURS: Final = (TEMPORARY, "journal")  # what processes of any release leave in a root, whatever they gather
MAX_LOOKED_UP: Final = 10_000  # files of a root that are looked up in the ledger before it counts as unknown


class Installation:
    """The folders of one installation, as one process sees them. All calls block: make them in threads.

    Args:
        state: the state folder.
        roots: the archive roots, in order of preference.
    """

    def __init__(self, state: Path, roots: Sequence[str | Path]) -> None:
        self.state = state.absolute()
        self.roots = [Path(root).absolute() for root in roots]
        self._own: Identity | None = None  # once it is known: that a folder of ours goes does not make us another one
        self._places: dict[Path, Place] = {}  # of the roots that are ours

    def known(self) -> Identity | None:
        """What the state folder says; None before the first start of a release that knows such files.

        Raises:
            Failed: the file cannot be read, or belongs to another part.
        """
        try:
            _, own = look(self.state)
        except FileNotFoundError:
            return None
        except (NotOurs, OSError) as error:
            raise Failed(str(error)) from error
        if own is not None and own.part != "state":
            raise Failed(
                f"{self.state} is {TITLES[own.part]}, not the state folder: mount the right disk, or correct state.path"
            )
        return own

    @staticmethod
    def look(root: str | Path) -> Identity | None:
        """What the file of `root` says; None without one, or without the folder.

        Raises:
            NotOurs, OSError
        """
        return look_if_there(Path(root).absolute())[1]

    def begin(self, found: Mapping[str, Identity | None]) -> Identity:
        """Settles which installation this is. However many processes start at once, one of them decides.

        Args:
            found: what `look()` said of the roots that answered.

        Raises:
            Failed, OSError: the state folder does not allow it.
        """
        Outside(0o077).make_folder(self.state)
        with locked(self.state, LOCK):
            own = self.known()
            if own is None:
                own = self._begun({Path(root).absolute(): said for root, said in found.items()})
                replace(self.state, own)
            return own

    def _ours(self, found: Mapping[str, Identity | None]) -> Identity:
        if self._own is None:
            self._own = self.known() or self.begin(found)
        return self._own

    def _begun(self, found: Mapping[Path, Identity | None]) -> Identity:
        with closing(_Ledger(self.state / LEDGER)) as ledger:
            taken = next(
                (
                    identity.installation
                    for root in self.roots
                    if (identity := found.get(root)) is not None and identity.part == "archive"
                    if ledger.is_empty or ledger.knows_some_of(root)
                ),
                "",
            )
            nameless = [root for root in self.roots if found.get(root) is None]
            used = {root for root in nameless if root in found and next(_files(root), "")}
            standing: dict[str, Standing] = {}
            if not ledger.is_empty:
                standing = {str(root): "older" for root in nameless}
            elif not taken and self._has_run():
                proven = used if ledger.is_damaged else set(nameless)
                standing = {
                    str(root): "new" if root in proven and any(_is_there(root / name) for name in OURS) else "older"
                    for root in nameless
                }
            elif not taken:
                # A release without a ledger may have filled one of them (a host with gatherers, and without `serve`).
                standing = {str(root): "new" if root in used or not used else "older" for root in nameless}
        return Identity(taken or uuid.uuid4().hex, "state", standing)

    def _has_run(self) -> bool:
        """Whether an earlier release left the mover's ledger here: this one makes none before `begin`."""
        return any(path.is_file() for path in self.state.glob(f"{LEDGER}*"))

    def check_root(self, root: str | Path) -> Place:
        """Which folder `root` leads to. Gives it its file first, if it may have it.

        Raises:
            NotOurs
            Failed, OSError: whose it is cannot be told now.
        """
        root = Path(root).absolute()
        self._places.pop(root, None)
        place = self._checked_root(root)
        twin = next((other for other, at in self._places.items() if at == place), None)
        if twin is not None:
            raise NotOurs(f"{root} is the same folder as {twin}: name it once in archive.roots")
        self._places[root] = place
        return place

    def _checked_root(self, root: Path) -> Place:
        place, identity = look_if_there(root)
        own = self._ours({str(root): identity})
        if identity is None:
            own = self._own = self.known() or own
            # Once more: another process may have given it its file, and noted that, since we looked.
            place, identity = look_if_there(root)
        if identity is None:
            self._may_have_file(root, own, exists=place is not None)
            self._give(root, "archive", own)
            place, identity = look(root)
        if place is None or identity is None:
            raise NotOurs(f"{root}: its {FILE} went while it was looked at")
        self._compare(root, "archive", identity, own)
        self._note_known(root, own)
        return place

    def refusal(self, root: str | Path) -> str:
        """Why `root` will be refused, or "" if it will not; changes nothing.

        Raises:
            Failed, OSError: whose it is cannot be told now.
        """
        root = Path(root).absolute()
        try:
            place, identity = look_if_there(root)
            own = self.known() or self._begun(self._look_at_all())
            if identity is None:
                self._may_have_file(root, own, exists=place is not None)
            else:
                self._compare(root, "archive", identity, own)
        except NotOurs as error:
            return str(error)
        return ""

    def _may_have_file(self, root: Path, own: Identity, *, exists: bool) -> None:
        """
        Raises:
            NotOurs
        """
        standing = own.folders.get(str(root))
        if standing == "new" or (standing == "older" and exists and self._is_of_older_release(root, own)):
            return
        what = f"has no {FILE}" if exists else "does not exist"
        if not exists:
            why = "its disk is not mounted, or it is new"
        elif standing == "known":
            why = "it had one, so its disk is not mounted, or was replaced"
        else:
            why = "its disk is not mounted, or it is new, or not ours"
        raise NotOurs(
            f"{root} {what}: {why}. Mount its disk; if it is meant to be empty or new: lae-monitor archive adopt {root}"
        )

    def _is_of_older_release(self, root: Path, own: Identity) -> bool:
        with closing(_Ledger(self.state / LEDGER)) as ledger:
            if ledger.knows_some_of(root):
                return True
        has_others = any(own.folders.get(str(other)) == "known" for other in self.roots)
        return has_others and _is_there(root / TEMPORARY) and not next(_files(root), "")

    def check_store(self, store: Path) -> None:
        """Returns when `store` is the store's folder; makes it, and gives it its file, if it may have it.

        A store is made anew from the archive. So a new path may always have its file, and so may a folder inside the state
        folder, which is no disk of its own: somebody deleted the store, or an earlier release made this one.

        Raises:
            NotOurs
            Failed, OSError: whose it is cannot be told now.
        """
        own = self.known()
        if own is None:  # nothing has been started yet, and a command that only looks decides nothing
            return
        store = store.absolute()
        if self._may_be_store(store, own):
            self._give(store, "store", own)
        self._note_known(store, own)

    def store_refusal(self, store: Path) -> str:
        """Why `store` will be refused, or "" if it will not; changes nothing.

        Raises:
            Failed, OSError: whose it is cannot be told now.
        """
        own = self.known()
        try:
            if own is not None:
                self._may_be_store(store.absolute(), own)
        except NotOurs as error:
            return str(error)
        return ""

    def _may_be_store(self, store: Path, own: Identity) -> bool:
        """Whether it still needs its file.

        Raises:
            NotOurs
        """
        _, identity = look_if_there(store)
        if identity is not None:
            self._compare(store, "store", identity, own)
        elif own.folders.get(str(store)) == "known" and not store.is_relative_to(self.state):
            raise NotOurs(
                f"{store} is not the store that was there: its {FILE} is missing. Mount its disk; if the store was "
                "deleted, make it anew: lae-monitor store rebuild"
            )
        return identity is None

    def adopt(self, folder: Path, part: Part = "archive") -> str:
        """Makes `folder` ours, whatever it was; returns the installation that it belonged to, "" for none.

        Raises:
            NotOurs: it is another part of an installation.
            Failed, OSError: it could not be done.
        """
        folder = folder.absolute()
        identity: Identity | None = None
        with suppress(NotOurs):  # a file that nobody understands
            _, identity = look_if_there(folder)
        if identity is not None and identity.part != part:
            raise NotOurs(f"{folder} is {TITLES[identity.part]}, not {TITLES[part]}")
        own = self.known() or self.begin({str(root): said for root, said in self._look_at_all().items()})
        Outside(0o077).make_folder(folder)
        with locked(self.state, LOCK):
            replace(folder, Identity(own.installation, part))
        self._note_known(folder, own)
        return identity.installation if identity is not None else ""

    @staticmethod
    def is_empty(root: Path) -> bool:
        """Whether no file is below `root`, besides those whose names begin with a dot."""
        return not next(_files(root.absolute()), "")

    def _look_at_all(self) -> dict[Path, Identity | None]:
        found = {}
        for root in self.roots:
            with suppress(OSError, NotOurs):
                found[root] = self.look(root)
        return found

    # ---- files -----------------------------------------------------------------------------------------------------

    def _compare(self, folder: Path, part: Part, found: Identity, own: Identity) -> None:
        """
        Raises:
            NotOurs
        """
        if found.part != part:
            raise NotOurs(
                f"{folder} is {TITLES[found.part]}, not {TITLES[part]}: mount the right disk, or correct the path"
            )
        if found.installation != own.installation:
            what = "lae-monitor archive adopt" if part == "archive" else "lae-monitor store rebuild"
            raise NotOurs(
                f"{folder} belongs to installation {found.installation[:8]}, this one is {own.installation[:8]}: mount the "
                f"right disk; if it is meant to be ours: {what}{f' {folder}' if part == 'archive' else ''}"
            )

    def _give(self, folder: Path, part: Part, own: Identity) -> None:
        data = msgspec.json.encode(Identity(own.installation, part))
        with suppress(Differs):  # another process was first; what it wrote is looked at
            Outside(0o077).store(folder / FILE, [data])

    def _note_known(self, folder: Path, own: Identity) -> None:
        if own.folders.get(str(folder)) == "known":
            return
        with locked(self.state, LOCK):
            newest = self.known()
            if newest is None:
                return
            if newest.folders.get(str(folder)) != "known":
                folders: dict[str, Standing] = {**newest.folders, str(folder): "known"}
                newest = msgspec.structs.replace(newest, folders=folders)
                replace(self.state, newest)
            self._own = newest


def installation(settings: Settings) -> Installation:
    """The one whose folders these settings name."""
    return Installation(settings.state.path, settings.archive_roots)


class _Ledger:
    """Which files the mover knows; none, if its file is missing or damaged."""

    def __init__(self, path: Path) -> None:
        self._db: sqlite3.Connection | None = None
        self.is_empty, self.is_damaged = True, path.exists()
        if self.is_damaged:
            with suppress(sqlite3.Error):
                self._db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10.0)
                self.is_empty = self._db.execute("SELECT 1 FROM files LIMIT 1").fetchone() is None
                self.is_damaged = False

    def knows_some_of(self, root: Path) -> bool:
        """Whether one of the files below `root` was moved."""
        if self._db is None or self.is_empty:
            return False
        for number, path in enumerate(_files(root)):
            if number == MAX_LOOKED_UP:
                break
            if self._db.execute("SELECT 1 FROM files WHERE path = ?", (path,)).fetchone() is not None:
                return True
        return False

    def close(self) -> None:
        if self._db is not None:
            self._db.close()


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


def _files(root: Path) -> Iterator[str]:
    """The paths of the files below `root`, relative to it; not those whose name, or folder's name, begins with a dot."""
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if name[0] != "." and name != "lost+found"]
        for name in names:
            if name[0] != ".":
                yield os.path.relpath(os.path.join(folder, name), root)  # noqa: PTH118 - many files
