"""The throttle rules in force: a preset, or a file that is read anew when it changes.

A changed file that is wrong changes nothing: the rules that were good stay in force, and what is wrong is told once.
"""

import difflib
import logging
import os
import stat
from pathlib import Path
from typing import Final

from lae_monitor.core.limits import KiB
from lae_monitor.core.time import Clock, wall_clock
from lae_monitor.kinds.crashes.throttle_rules import Rules
from lae_monitor.kinds.crashes.throttle_verdict import NO_MATCH, Result, RulesError, Verdict

__all__ = ["MAX_FILE", "NO_MATCH", "PRESETS", "Result", "Rules", "RulesError", "RulesFile", "Verdict", "preset"]

PRESETS: Final = ("accept-all", "antenna", "socorro")
MAX_FILE: Final = 256 * KiB  # bytes; Antenna's rules take 4 KiB
LOOK_EVERY: Final = 1.0  # seconds between two looks at the file
SETTLED: Final = 2.0  # seconds after which a second change cannot leave the times of the first one behind

_FOLDER: Final = Path(__file__).with_name("presets")
_LOG: Final = logging.getLogger(__name__)


def preset(name: str) -> str:
    """The TOML of one of PRESETS."""
    return (_FOLDER / f"{name}.toml").read_text("utf-8")


class RulesFile:
    """The rules of a running collector.

    Args:
        name_or_path: one of PRESETS, or the path of a file.
        clock: now, in seconds.

    Attributes:
        problem: a sentence as long as the file is wrong, or gone, and older rules are in force; else "".

    Raises:
        RulesError: there is no such file, or it is wrong.
    """

    def __init__(self, name_or_path: str, clock: Clock = wall_clock) -> None:
        self.problem = ""
        self._clock = clock
        self._path = None if name_or_path in PRESETS else Path(name_or_path)
        self._seen: tuple[int, ...] | None = None
        self._looked = clock()
        self._text = preset(name_or_path) if self._path is None else self._read(self._path)
        self._rules = Rules.parse(self._text, name_or_path)

    def current(self) -> Rules:
        """The rules in force now."""
        if self._path is not None and abs(self._clock() - self._looked) >= LOOK_EVERY:
            self._looked = self._clock()
            self._look(self._path)
        return self._rules

    def _look(self, path: Path) -> None:
        try:
            if self._seen is not None and _signature(path.stat()) == self._seen:
                return
            text = self._read(path)
            if text == self._text and not self.problem:
                return
            rules = Rules.parse(text, str(path))
        except RulesError as error:
            self._keep("; ".join(error.problems))
        except OSError as error:
            self._seen = None
            self._keep(f"{path}: cannot be read: {error.strerror or error}")
        else:
            self._rules, self._text, self.problem = rules, text, ""
            _LOG.info("throttle rules: read anew from %s", path)

    def _keep(self, problem: str) -> None:
        if problem != self.problem:
            _LOG.error("throttle rules: %s; the rules read before stay in force", problem)
        self.problem = problem

    def _read(self, path: Path) -> str:
        """
        Raises:
            RulesError
        """
        self._seen = None
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not make us wait for a writer
            try:
                status = os.fstat(fd)
                if not stat.S_ISREG(status.st_mode):
                    raise RulesError([f"{path}: is no plain file"])
                data = _all_of(fd)
            finally:
                os.close(fd)
        except FileNotFoundError:
            raise RulesError([f"{path}: there is no such file{_hint(path)}"]) from None
        except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
            raise RulesError([f"{path}: cannot be read: {error}"]) from error
        settled = abs(self._clock() - max(status.st_mtime, status.st_ctime)) > SETTLED
        self._seen = _signature(status) if settled else None
        if len(data) > MAX_FILE:
            raise RulesError([f"{path}: is larger than {MAX_FILE} bytes, which no rules are"])
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise RulesError([f"{path}: line {line} is not UTF-8"]) from error


def _all_of(fd: int) -> bytes:
    """What a file holds, up to a byte more than it may."""
    data = b""
    while len(data) <= MAX_FILE and (piece := os.read(fd, MAX_FILE + 1 - len(data))):
        data += piece
    return data


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _hint(path: Path) -> str:
    near = difflib.get_close_matches(path.name, PRESETS, n=1, cutoff=0.6)
    return f', and no preset of that name; did you mean "{near[0]}"?' if near else f"; presets: {', '.join(PRESETS)}"
