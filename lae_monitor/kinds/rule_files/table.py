"""The tables of a file of rules: each mistake becomes a sentence with file, rule and key."""

import difflib
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

from lae_monitor.config.keys import shown
from lae_monitor.config.values import what_it_is
from lae_monitor.core.refusals import shorten

MAX_RULES: Final = 1000  # each report or incident passes all of them; Antenna has 16
MAX_NAME: Final = 100  # characters of a rule's name


class RulesError(ValueError):
    """Rules are wrong; `problems` are sentences, one for each mistake, that name file, rule and key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


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


class RuleTables:
    """The tables of a file of rules.

    Args:
        text: TOML.
        source: names the file in sentences.
        keys: of the file, `rule` among them.

    Raises:
        RulesError: it is not TOML.
    """

    def __init__(self, text: str, source: str, keys: Collection[str] = ("rule",)) -> None:
        self._problems: list[str] = []
        self._names: list[str] = []
        self.top = Table(_tree(text, source), source, self._problems)
        self.top.only(keys)
        self.rules = self.top.inners("rule")
        if len(self.rules) > MAX_RULES:
            self.top.problem("rule", f"has more than {MAX_RULES} rules")
            del self.rules[MAX_RULES:]

    def named(self, rule: Table, characters: str, reserved: Collection[str] = ()) -> tuple[str, Table]:
        """The rule's name ("" if it is wrong), and its table at a place that says it.

        Args:
            characters: which may stand in it beside letters and digits.
            reserved: names that no rule may have.
        """
        name = rule.take("name", TEXT)
        if "name" not in rule:
            rule.problem("name", "has to be given")
        elif name in reserved:
            rule.problem("name", f"{name} is what stands in the place of a rule's name where none decided")
        elif name is not None and not re.fullmatch(f"[A-Za-z0-9{characters}]{{1,{MAX_NAME}}}", name):
            words = (
                " and ".join(("digits", *characters)) if len(characters) < 2 else f"digits, {' and '.join(characters)}"
            )
            rule.problem("name", f"is 1 to {MAX_NAME} letters, {words}; this is {shorten(name)}")
        elif name is not None:
            rule = rule.named(f"rule {name}")
        self._names.append(name or "")
        return name or "", rule

    def check(self) -> None:
        """
        Raises:
            RulesError: with every mistake.
        """
        for name in sorted({name for name in self._names if name and self._names.count(name) > 1}):
            self.top.problem("rule", f"there is more than one with the name {shorten(name)}")
        if self._problems:
            raise RulesError(self._problems)


def _tree(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a ValueError and no TOMLDecodeError
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RulesError([f"{source}: not TOML: {reason}"]) from error
