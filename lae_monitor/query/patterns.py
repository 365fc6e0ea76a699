"""Regular expressions of searches: whether the engine (RE2) can run one, and what a text that matches has for certain."""

import re
import warnings
from typing import Final

MAX_PATTERN: Final = 500  # characters; longer ones are programs

_PIECE: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[^:)]*[:)]|\(|\{[0-9]*,?[0-9]*\}|.", re.DOTALL)
_FOREIGN: Final = re.compile(r"\\[1-9]|\(\?(?:<?[=!]|>|\(|P=)|[*+?}]\+")


class NoPattern(ValueError):
    """Not a regular expression that the engine can run: `at` is the place, in characters from its start."""

    def __init__(self, problem: str, at: int = 0) -> None:
        super().__init__(problem)
        self.at = at


def check(pattern: str) -> None:
    """
    Raises:
        NoPattern
    """
    if len(pattern) > MAX_PATTERN:
        raise NoPattern(f"a regular expression is not longer than {MAX_PATTERN} characters", MAX_PATTERN)
    at = 0
    for piece in _PIECE.findall(pattern):
        if piece[0] in "\\(" and _FOREIGN.match(piece):
            raise NoPattern("what looks back or ahead is not known here, only what RE2 knows", at)
        at += len(piece)
    try:
        with warnings.catch_warnings(action="ignore"):
            re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise NoPattern(f"this is no regular expression: {error}", getattr(error, "pos", None) or 0) from None


def literals(pattern: str) -> list[str]:
    """Texts that each match of `pattern` contains; none where that is not plain."""
    runs, depth = [""], 0
    for piece in _PIECE.findall(pattern):
        if piece.startswith("(?") and piece != "(?:":
            return []
        if piece == "|" and not depth:
            return []
        if piece[0] == "(":
            depth += 1
        elif piece == ")":
            depth -= 1
        elif depth:
            continue
        elif piece in {"*", "?"} or re.fullmatch(r"\{0?(,[0-9]*)?\}", piece):
            runs[-1] = runs[-1][:-1]  # what stands before may be absent
        elif len(piece) == 1 and piece not in "+.^$":
            runs[-1] += piece
            continue
        elif piece[0] == "\\" and not piece[1].isalnum():
            runs[-1] += piece[1]
            continue
        runs.append("")
    return [run for run in runs if run]
