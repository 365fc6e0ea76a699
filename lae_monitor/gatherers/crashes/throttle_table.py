"""A table of a rules file as it is read: what is wrong with it becomes sentences that name file, rule and key."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from lae_monitor.config.keys import shown
from lae_monitor.config.values import what_it_is

TEXT: Final = "text"
NUMBER: Final = "a number"
SCALAR: Final = "text, a number, true or false"
TRUTH: Final = "true or false"
TEXTS: Final = "a list of texts"
SCALARS: Final = "a list of texts or numbers"
TABLE: Final = "a table"
TABLES: Final = "a list of tables"


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float)  # a bool is an int


def _all(is_one: Callable[[Any], bool], value: Any) -> bool:
    return isinstance(value, list) and all(map(is_one, value))


_KINDS: Final[dict[str, Callable[[Any], bool]]] = {
    TEXT: lambda value: isinstance(value, str),
    NUMBER: lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    SCALAR: _is_scalar,
    TRUTH: lambda value: isinstance(value, bool),
    TEXTS: lambda value: _all(lambda one: isinstance(one, str), value),
    SCALARS: lambda value: _all(_is_scalar, value),
    TABLE: lambda value: isinstance(value, dict),
    TABLES: lambda value: _all(lambda one: isinstance(one, dict), value),
}


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

    def take(self, key: str, *kinds: str) -> Any:
        """The value of `key`, if it is there and of one of the kinds; else None."""
        if key not in self._values:
            return None
        value = self._values[key]
        if any(_KINDS[kind](value) for kind in kinds):
            return value
        self.problem(key, f"wants {' or '.join(kinds)}; this is {what_it_is(value)}")
        return None

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

    def only(self, known: Iterable[str]) -> None:
        """Complains of every key that is not known."""
        names = list(known)
        for key in self._values:
            if key not in names:
                near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
                self.problem(key, f'unknown key, did you mean "{near[0]}"?' if near else _known(names))

    def names(self) -> list[str]:
        return list(self._values)

    def _of(self, values: Mapping[str, Any], key: str) -> "Table":
        return Table(values, f"{self._place}: {shown(key)}", self._problems)


def _known(names: list[str]) -> str:
    return f"unknown key; known: {', '.join(sorted(names))}"
