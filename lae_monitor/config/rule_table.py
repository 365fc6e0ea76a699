"""A table of a rules file as it is read: what is wrong with it becomes sentences that name file, rule and key."""

import difflib
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

from lae_monitor.config.keys import shown
from lae_monitor.config.values import what_it_is


class Kind(NamedTuple):
    """What a value may be, in words, and whether one is that."""

    words: str
    fits: Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float)  # a bool is an int


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _all(is_one: Callable[[Any], bool], value: Any) -> bool:
    return isinstance(value, list) and all(map(is_one, value))


TEXT: Final = Kind("text", _is_text)
NUMBER: Final = Kind("a number", _is_number)
WHOLE_NUMBER: Final = Kind("a whole number", lambda value: _is_number(value) and isinstance(value, int))
SCALAR: Final = Kind("text, a number, true or false", _is_scalar)
TRUTH: Final = Kind("true or false", lambda value: isinstance(value, bool))
TEXTS: Final = Kind("a list of texts", lambda value: _all(_is_text, value))
SOME_TEXTS: Final = Kind("a list of texts", lambda value: value != [] and _all(_is_text, value))
SCALARS: Final = Kind("a list of texts or numbers", lambda value: _all(_is_scalar, value))
TABLE: Final = Kind("a table", _is_table)
TABLES: Final = Kind("a list of tables", lambda value: _all(_is_table, value))


class Table:
    """One table.

    Args:
        values: as TOML has them.
        place: file and rule, for sentences.
        problems: where the sentences go.
    """

    def __init__(self, values: Mapping[str, Any], place: str, problems: list[str]) -> None:
        self._values = values
        self._place = place
        self._problems = problems

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def problem(self, key: str, text: str) -> None:
        place = f"{self._place}: {shown(key)}" if key else self._place
        self._problems.append(f"{place}: {text}")

    def take(self, key: str, *kinds: Kind) -> Any:
        """The value of `key`, if it is there and of one of the kinds; else None."""
        if key not in self._values:
            return None
        value = self._values[key]
        if any(kind.fits(value) for kind in kinds):
            return value
        this = "an empty list" if value == [] else what_it_is(value)
        self.problem(key, f"wants {' or '.join(kind.words for kind in kinds)}; this is {this}")
        return None

    def texts(self, key: str) -> list[str]:
        """The texts of `key`, where one may stand alone; none when there are none."""
        value = self.take(key, TEXT, SOME_TEXTS)
        return [value] if isinstance(value, str) else list(value or ())

    def inner(self, key: str) -> "Table | None":
        """The table that is the value of `key`."""
        value = self.take(key, TABLE)
        return None if value is None else self._of(value, key)

    def inners(self, key: str) -> "list[Table]":
        """The tables that are the value of `key`."""
        value = self.take(key, TABLES)
        if value == []:
            self.problem(key, "is an empty list")
        return [self._of(one, f"{key}[{number}]") for number, one in enumerate(value or [], 1)]

    def named(self, name: str) -> "Table":
        """The same table, at a place that says more to people."""
        return Table(self._values, f"{self._place.rpartition(': ')[0]}: {name}", self._problems)

    def only(self, known: Collection[str]) -> None:
        """Complains of every key that is not known."""
        for key in self._values:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                hint = f', did you mean "{near[0]}"?' if near else f"; known: {', '.join(sorted(known))}"
                self.problem(key, f"unknown key{hint}")

    def names(self) -> list[str]:
        return list(self._values)

    def _of(self, values: Mapping[str, Any], key: str) -> "Table":
        return Table(values, f"{self._place}: {shown(key)}", self._problems)
