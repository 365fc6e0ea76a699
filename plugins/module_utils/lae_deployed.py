# MIT License; see LICENSE.
"""Configuration and units: each release has its own.

    /etc/lae-monitor, /etc/systemd/system    what is in force: where people look for it, and systemd before /opt is mounted
    ROOT/next                                the same files as the roles write them; beside what is in force
    ROOT/releases/NAME/kept                  those that release NAME last ran with

Files are copied, not linked: systemd does not find a linked unit when the disk of ROOT is mounted late, `systemctl disable`
removes the link, and the roles of earlier releases write to the same places.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

CONFIG = ("lae-monitor.toml", "throttle.toml", "incident-rules.toml", "conf.d/*.toml", "classifiers/classify_*.py")
UNITS = ("lae-monitor-*.service", "lae-monitor-*.socket")
FOLDERS = ("conf.d", "classifiers")  # of the configuration
MAIN = "config/lae-monitor.toml"
NEW = ".lae-new"  # ends the name of a file that is about to take another's place
SYSTEMD = Path("/run/systemd/system")
PATIENCE = 300  # seconds for systemctl: a service has 45 to stop and 120 to start


class File(NamedTuple):
    """What a file holds, its mode, owner and group."""

    data: bytes
    mode: int
    uid: int
    gid: int


Files = dict[str, File]  # by `config/NAME` or `units/NAME`


class Place:
    """One set of files: `config` and `units` are folders."""

    def __init__(self, config: Path, units: Path) -> None:
        self.folders = {"config": config, "units": units}

    @classmethod
    def below(cls, folder: Path) -> Place:
        return cls(folder / "config", folder / "units")

    def path(self, name: str) -> Path:
        room, _, rest = name.partition("/")
        return self.folders[room] / rest

    def read(self) -> Files:
        found = {}
        for room, patterns in (("config", CONFIG), ("units", UNITS)):
            folder = self.folders[room]
            for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
                if path.is_file():
                    status = path.stat()
                    name = f"{room}/{path.relative_to(folder)}"
                    found[name] = File(path.read_bytes(), status.st_mode & 0o7777, status.st_uid, status.st_gid)
        return found

    def replace(self, wanted: Files, begin: Callable[[], object] = lambda: None, touched: Collection[str] = ()) -> None:
        """Makes the set `wanted`. Whatever can go wrong for want of space goes wrong before the first file is replaced.

        Args:
            wanted: all files of the set.
            begin: called when everything is written, before the first file takes its name.
            touched: files that get a new time, though they hold what they held.
        """
        there = self.read()
        for folder in (self.folders["config"] / "conf.d", self.folders["units"]):
            folder.mkdir(parents=True, exist_ok=True)
        writing = [name for name, file in wanted.items() if there.get(name) != file or name in touched]
        try:
            for name in writing:
                write(self._new(name), wanted[name])
            begin()
            for name in writing:
                self._new(name).replace(self.path(name))
        finally:
            for name in writing:
                self._new(name).unlink(missing_ok=True)
        for name in there.keys() - wanted.keys():
            self.path(name).unlink()
        with suppress(OSError):  # not empty, or not there
            (self.folders["config"] / "classifiers").rmdir()
        for folder in (*self.folders.values(), *(self.folders["config"] / name for name in FOLDERS)):
            if folder.is_dir():
                sync_folder(folder)

    def _new(self, name: str) -> Path:
        path = self.path(name)
        return path.with_name(f".{path.name}{NEW}")


class Deployed:
    """What is in force on this host, and the copies of it below `root`."""

    def __init__(self, root: Path, config: Path, units: Path) -> None:
        self.live = Place(config, units)
        self.next = Place.below(root / "next")
        self._root = root
        self.unfinished = root / ".switching"

    def kept(self, name: str) -> Place:
        """What release `name` last ran with."""
        return Place.below(self._root / "releases" / name / "kept")

    def stage(self) -> None:
        """`next` is what is in force, for the roles to change."""
        self.next.replace(self.live.read())

    def keep(self, name: str) -> None:
        """What is in force is kept with release `name`, unless it is what an interrupted switch left."""
        if not self.unfinished.exists():
            self.kept(name).replace(self.live.read())

    def differs(self, wanted: Files) -> bool:
        return self.unfinished.exists() or self.live.read() != wanted

    def put(self, wanted: Files, switch: Callable[[], object], *, switches: bool, forward: bool) -> None:
        """Puts `wanted` in force, and switches the release.

        Args:
            wanted: configuration and units.
            switch: makes the release current.
            switches: whether it was not.
            forward: the release comes first, else last: a newer one understands an older configuration, and not the other
                way round, should we be interrupted.
        """
        before, units = self.live.read(), Units(wanted)

        def begin() -> None:
            sync_file(self.unfinished)
            gone = sorted(file_name(name) for name in before.keys() - wanted.keys() if name.startswith("units/"))
            if gone:
                systemctl("disable", "--now", *gone)
            for socket in units.sockets:  # service and socket at once, or the socket starts the service
                if before.get(f"units/{socket}", wanted[f"units/{socket}"]) != wanted[f"units/{socket}"]:
                    systemctl("stop", service_of(socket), socket)
            if forward:
                switch()

        concerned = units.concerned(before, switches=switches)
        self.live.replace(wanted, begin, touched=[f"units/{name}" for name in concerned])
        switch()
        systemctl("daemon-reload")
        new = [name for name in units.all if f"units/{name}" not in before]
        if new and before:  # at the first installation the roles do it, one after the other
            systemctl("enable", *new)
        self.unfinished.unlink()


class Units:
    """The units among `files`."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.all = sorted(file_name(name) for name in files if name.startswith("units/"))
        self.services = [name for name in self.all if name.endswith(".service")]
        self.sockets = [name for name in self.all if name.endswith(".socket")]

    @property
    def parts(self) -> list[str]:
        """What `check` calls them: `serve`, and each kind that is gathered."""
        found = []
        for name in self.services:
            text = self._files[f"units/{name}"].data.decode(errors="replace")
            part = re.search(r"^ExecStart=\S+ --config \S+ (?:gather )?(\w+)$", text, re.MULTILINE)
            found += [part[1]] if part else []
        return found

    def concerned(self, before: Files, *, switches: bool) -> list[str]:
        """The services for which something changed: the release, their unit, or their part of the configuration."""
        own = [f"config/conf.d/50-{part_of(name)}.toml" for name in self.services]
        changed = {name for name in before.keys() | self._files.keys() if before.get(name) != self._files.get(name)}
        shared = {name for name in changed if name.startswith("config/conf.d/") and name not in own}
        return [
            name
            for name, part in zip(self.services, own, strict=True)
            if switches or shared or changed & {part, f"units/{name}"}
        ]

    def restart(self) -> None:
        """All of them, and their sockets, whatever state they are in. Those that do not start are told by `states`."""
        systemctl("reset-failed", *self.all)
        closed = [name for name in self.sockets if shown(name, "ActiveState") != "active"]
        if closed:  # a socket does not start while its service runs
            systemctl("stop", *map(service_of, closed))
        if self.sockets:
            systemctl("start", *self.sockets)
        if self.services:
            systemctl("restart", *self.services)

    def states(self) -> list[str]:
        """A sentence for each, such as `lae-monitor-serve.service failed (exit code 78)`."""
        return [f"{name} {state(name)}" for name in self.services]

    def outdated(self, live: Place) -> list[str]:
        """Services that were started before their unit was written: they run with something else than it says."""
        return [name for name in self.services if 0 < started(name) < live.path(f"units/{name}").stat().st_mtime]


def file_name(name: str) -> str:
    return name.rpartition("/")[2]


def part_of(unit: str) -> str:
    return unit.removeprefix("lae-monitor-").rpartition(".")[0]


def service_of(socket: str) -> str:
    return f"{socket.rpartition('.')[0]}.service"


# ---- systemd -------------------------------------------------------------------------------------------------------


def systemctl(*words: str) -> str:
    """What it printed. Its exit code says less than the state of each unit, which is asked for where it counts."""
    if not SYSTEMD.is_dir():
        return ""
    done = subprocess.run(
        ["systemctl", "--no-pager", *words],
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    return done.stdout.strip()


def shown(unit: str, name: str, *options: str) -> str:
    return systemctl("show", "--value", *options, "-p", name, unit)


def state(unit: str) -> str:
    active = shown(unit, "ActiveState")
    if active in {"active", "inactive", ""}:
        return active or "unknown"
    code = shown(unit, "ExecMainStatus")
    return (
        f"{active} (exit code {code})" if shown(unit, "ExecMainCode") == "1" else f"{active} ({shown(unit, 'Result')})"
    )


def started(service: str) -> float:
    """Seconds since 1970, 0 for one that never was."""
    text = shown(service, "ExecMainStartTimestamp", "--timestamp=us+utc")
    try:
        return datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S.%f UTC").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


# ---- files ---------------------------------------------------------------------------------------------------------


def write(path: Path, file: File) -> None:
    """Durably; the folder is synced by the caller."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as opened:
        if os.geteuid() == 0:
            os.fchown(opened.fileno(), file.uid, file.gid)
        os.fchmod(opened.fileno(), file.mode)
        opened.write(file.data)
        opened.flush()
        os.fsync(opened.fileno())


def sync_file(path: Path) -> None:
    """Makes the empty file `path`, durably."""
    path.touch()
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def discard(path: Path) -> None:
    """Whatever is there, a link without what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
