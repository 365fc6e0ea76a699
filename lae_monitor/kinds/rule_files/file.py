"""Files of rules: presets that ship with us, files of operators, and the rules in force while a file changes.

If a changed file is wrong or unreadable, the previous rules stay in force; the problem is logged once.
"""

import difflib
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar

from lae_monitor.core.limits import KiB
from lae_monitor.core.time import Clock, wall_clock
from lae_monitor.kinds.rule_files.table import RulesError

MAX_FILE: Final = 256 * KiB  # bytes; Antenna's rules take 4 KiB
LOOK_EVERY: Final = 1.0  # seconds between two looks at a file

_LOG: Final = logging.getLogger(__name__)

S = TypeVar("S")
T = TypeVar("T")


class Presets(NamedTuple):
    """Rules that ship with a kind: files NAME.toml of a folder."""

    folder: Path
    names: tuple[str, ...]

    def path(self, name: str, base: Path | None) -> str:
        """`name` as it is if it is a preset's, else the path of a file, see from_config()."""
        return name if name in self.names else from_config(name, base)

    def read(self, name_or_path: str) -> str:
        """The text of a preset, or of a file.

        Raises:
            RulesError
        """
        if name_or_path in self.names:
            return (self.folder / f"{name_or_path}.toml").read_text("utf-8")
        return read_text(Path(name_or_path), self.names)


def from_config(path: str, base: Path | None) -> str:
    """A path of the configuration, which is taken from the folder of `base`, its file."""
    return str((base.absolute().parent if base is not None else Path()) / Path(path).expanduser())


class InForce(Generic[S, T]):
    """What files say, as far as it was right.

    Args:
        what: names them in the log.
        read: the content of the files; raises RulesError.
        make: what is in force when the files have this content; raises RulesError.
        first: a content that was read before, and what was made of it.

    Attributes:
        value: in force now.
        problems: sentences as long as the files are wrong or unreadable.
    """

    def __init__(
        self,
        what: str,
        read: Callable[[], S],
        make: Callable[[S], T],
        first: tuple[S | None, T],
        clock: Clock = wall_clock,
    ) -> None:
        self._what = what
        self._read = read
        self._make = make
        self._clock = clock
        self._looked = float("-inf") if first[0] is None else clock()
        self._tried, self.value = first
        self._wrong: list[str] = []  # with what was tried
        self.problems: list[str] = []

    def current(self) -> T:
        """What is in force; looks at the files once a second at most."""
        now = self._clock()
        if abs(now - self._looked) >= LOOK_EVERY:
            self._looked = now
            self._look()
        return self.value

    def _look(self) -> None:
        try:
            content = self._read()
            if content != self._tried:
                self._tried = content
                self._take(content)
            problems = self._wrong
        except RulesError as error:
            problems = error.problems
        if problems != self.problems:
            kept = "the rules read before stay in force" if self.value is not None else "none are in force until then"
            for problem in problems:
                _LOG.error("%s: %s; %s", self._what, problem, kept)
        self.problems = problems

    def _take(self, content: S) -> None:
        try:
            self.value, self._wrong = self._make(content), []
        except RulesError as error:
            self._wrong = error.problems
        else:
            _LOG.info("%s were read again", self._what)


def read_text(path: Path, presets: tuple[str, ...] = ()) -> str:
    """The text of a file; `presets`: names that may have been meant instead.

    Raises:
        RulesError: it cannot be read, or is no text of at most MAX_FILE bytes.
    """
    try:
        # A pipe must not make us wait for a writer.
        with open(path, "rb", opener=_without_waiting) as file:
            is_plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read(MAX_FILE + 1) if is_plain else b""
    except FileNotFoundError:
        raise RulesError([f"{path}: there is no such file{_hint(path, presets)}"]) from None
    except OSError as error:
        raise RulesError([f"{path}: cannot be read: {error.strerror or error}"]) from error
    except ValueError as error:  # a NUL in the path
        raise RulesError([f"{path}: cannot be read: {error}"]) from error
    if not is_plain:
        raise RulesError([f"{path}: is no plain file"])
    if len(data) > MAX_FILE:
        raise RulesError([f"{path}: is larger than {MAX_FILE} bytes"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RulesError([f"{path}: line {line} is not UTF-8"]) from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _hint(path: Path, presets: tuple[str, ...]) -> str:
    if near := difflib.get_close_matches(path.name, presets, n=1, cutoff=0.6):
        return f', and no preset of that name; did you mean "{near[0]}"?'
    return f"; presets: {', '.join(presets)}" if presets else ""
