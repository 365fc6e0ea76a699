"""What incidents are classified with: the rules, and the files classify_*.py, as they are now. Here they are only text."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from lae_monitor.config import Settings
from lae_monitor.kinds.incidents.classify.rules import Rules
from lae_monitor.kinds.rule_files.file import Presets, from_config, read_text
from lae_monitor.kinds.rule_files.table import RulesError

PRESETS: Final = Presets(Path(__file__).with_name("presets"), ("tahoe", "none"))
MAX_FILES: Final = 100  # classifiers
LANGUAGE: Final = 1  # goes up when the same rules give other answers

_PLUGIN: Final = re.compile(r"classify_.*\.py", re.DOTALL)


class Sources(NamedTuple):
    """`rules`: TOML, "" for none, from `source`; `classifiers`: names and contents of flogtool's files."""

    rules: str = ""
    source: str = "none"
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
    folder = from_config(own.classifiers, settings.source) if own.classifiers else ""
    return Places(PRESETS.path(own.rules or "none", settings.source), folder)


def read_sources(places: Places) -> Sources:
    """What is there now.

    Raises:
        RulesError: something cannot be read.
    """
    problems: list[str] = []
    rules, classifiers = "", []
    try:
        rules = PRESETS.read(places.rules or "none")
    except RulesError as error:
        problems += error.problems
    try:
        classifiers = list(_classifiers(Path(places.folder))) if places.folder else []
    except RulesError as error:
        problems += error.problems
    if problems:
        raise RulesError(problems)
    return Sources(rules, places.rules, tuple(classifiers))


def checked(sources: Sources) -> Sources:
    """The same.

    Raises:
        RulesError: with what is wrong with the rules. Classifiers are looked at in the process that runs them.
    """
    Rules.parse(sources.rules, sources.source)
    return sources


def _classifiers(folder: Path) -> Iterator[tuple[str, str]]:
    try:
        names = sorted(path.name for path in folder.iterdir() if _PLUGIN.fullmatch(path.name))
    except OSError as error:
        raise RulesError([f"{folder}: cannot be read: {error.strerror or error}"]) from error
    if len(names) > MAX_FILES:
        raise RulesError([f"{folder}: holds more than {MAX_FILES} files classify_*.py"])
    for name in names:
        yield name, read_text(folder / name)
