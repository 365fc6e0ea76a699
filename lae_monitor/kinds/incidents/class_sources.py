"""What incidents are classified with: the rules, and the files classify_*.py, as they are now. Here they are only text."""

import difflib
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from lae_monitor.config import Settings
from lae_monitor.core.limits import KiB
from lae_monitor.kinds.incidents.class_rules import RulesError

PRESETS: Final = ("tahoe",)
NONE: Final = "none"
MAX_FILE: Final = 256 * KiB  # bytes; the shipped rules take 4 KiB
MAX_FILES: Final = 100  # classifiers
LANGUAGE: Final = 1  # goes up when the same rules give other answers

_PLUGIN: Final = re.compile(r"classify_.*\.py", re.DOTALL)
_FOLDER: Final = Path(__file__).with_name("presets")


class Sources(NamedTuple):
    """`rules`: TOML, "" for none, from `source`; `classifiers`: names and contents of flogtool's files."""

    rules: str = ""
    source: str = NONE
    classifiers: tuple[tuple[str, str], ...] = ()

    @property
    def version(self) -> str:
        """A hash of what decides how incidents are classified."""
        digest = hashlib.sha256()
        for part in (str(LANGUAGE), self.rules, *(part for pair in self.classifiers for part in pair)):
            piece = part.encode("utf-8", "surrogatepass")
            digest.update(len(piece).to_bytes(8, "big") + piece)
        return digest.hexdigest()[:12]


class Places(NamedTuple):
    """Where they are: a preset's name, "none", or a path; and a folder, "" for none."""

    rules: str
    folder: str


def places_of(settings: Settings) -> Places:
    """Where the configuration says; relative paths are taken from the configuration's folder."""
    own = settings.gatherers["incidents"]
    base = settings.source.absolute().parent if settings.source is not None else Path()
    rules = own.rules if own.rules in {NONE, "", *PRESETS} else str(base / Path(own.rules).expanduser())
    return Places(rules, str(base / Path(own.classifiers).expanduser()) if own.classifiers else "")


def read_sources(places: Places) -> Sources:
    """What is there now.

    Raises:
        RulesError: something cannot be read.
    """
    problems: list[str] = []
    rules, classifiers = "", []
    try:
        if places.rules in PRESETS:
            rules = (_FOLDER / f"{places.rules}.toml").read_text("utf-8")
        elif places.rules not in {NONE, ""}:
            rules = _read(Path(places.rules))
    except RulesError as error:
        problems += error.problems
    try:
        classifiers = list(_classifiers(Path(places.folder))) if places.folder else []
    except RulesError as error:
        problems += error.problems
    if problems:
        raise RulesError(problems)
    return Sources(rules, places.rules, tuple(classifiers))


def _classifiers(folder: Path) -> Iterator[tuple[str, str]]:
    try:
        names = sorted(path.name for path in folder.iterdir() if _PLUGIN.fullmatch(path.name))
    except OSError as error:
        raise RulesError([f"{folder}: cannot be read: {error.strerror or error}"]) from error
    if len(names) > MAX_FILES:
        raise RulesError([f"{folder}: holds more than {MAX_FILES} files classify_*.py"])
    for name in names:
        yield name, _read(folder / name)


def _read(path: Path) -> str:
    """
    Raises:
        RulesError
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not make us wait for a writer
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise RulesError([f"{path}: is no plain file"])
            data = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        raise RulesError([f"{path}: there is no such file{_hint(path)}"]) from None
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        raise RulesError([f"{path}: cannot be read: {error}"]) from error
    if len(data) > MAX_FILE:
        raise RulesError([f"{path}: is larger than {MAX_FILE} bytes"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RulesError([f"{path}: line {line} is not UTF-8"]) from error


def _hint(path: Path) -> str:
    near = difflib.get_close_matches(path.name, (*PRESETS, NONE), n=1, cutoff=0.6)
    return f', and no preset of that name; did you mean "{near[0]}"?' if near else ""
