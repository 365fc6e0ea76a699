"""A table of classification rules as it is read: what is wrong with it becomes sentences that name file, rule and key."""

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

from lae_monitor.config.keys import shown
from lae_monitor.config.values import what_it_is

TEXT: Final = "text"
NUMBER: Final = "a whole number"
TEXTS: Final = "a list of texts"
TABLE: Final = "a table"
TABLES: Final = "a list of tables"

_KINDS: Final[dict[str, Callable[[Any], bool]]] = {
    TEXT: lambda value: isinstance(value, str),
    NUMBER: lambda value: isinstance(value, int) and not isinstance(value, bool),
    TEXTS: lambda value: isinstance(value, list) and value != [] and all(isinstance(one, str) for one in value),
    TABLE: lambda value: isinstance(value, dict),
    TABLES: lambda value: isinstance(value, list) and all(isinstance(one, dict) for one in value),
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
        this = "an empty list" if value == [] else what_it_is(value)
        self.problem(key, f"wants {' or '.join(kinds)}; this is {this}")
        return None

    def texts(self, key: str) -> list[str]:
        """The texts of `key`, where one may stand alone; none when there are none."""
        value = self.take(key, TEXT, TEXTS)
        return [value] if isinstance(value, str) else list(value or ())

    def inner(self, key: str) -> "Table | None":
        """The table that is the value of `key`."""
        value = self.take(key, TABLE)
        return None if value is None else Table(value, f"{self._place}: {shown(key)}", self._problems)

    def inners(self, key: str) -> Iterator["Table"]:
        """The tables that are the value of `key`."""
        for number, value in enumerate(self.take(key, TABLES) or (), 1):
            yield Table(value, f"{self._place}: {shown(key)}[{number}]", self._problems)

    def named(self, name: str) -> "Table":
        """The same table, at a place that says more to people."""
        return Table(self._values, f"{self._place.rpartition(': ')[0]}: {name}", self._problems)

    def only(self, known: Collection[str]) -> None:
        """Complains of every key that is not known."""
        for key in self._values:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(sorted(known))}"
                self.problem(key, f"unknown key{', ' if near else '; '}{hint}")
