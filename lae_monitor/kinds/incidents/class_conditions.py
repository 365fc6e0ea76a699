"""The conditions of classification rules: each is about one event, or about the incident that it belongs to.

Text that nodes sent is looked at as people see it: rendered, without secrets, of limited length. A regular expression may
take for ever nevertheless; therefore all of this runs in a child process that can be killed.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Final, NamedTuple

from lae_monitor.config.rule_table import TEXT, WHOLE_NUMBER, Table
from lae_monitor.core.refusals import shorten
from lae_monitor.kinds.incidents.render import MAX_MESSAGE, message, plain_text

MAX_PATTERN: Final = 2_000  # characters of a regular expression
MAX_FAILURE: Final = 32 * 1024  # characters of a failure in which its types are looked for
LEVELS: Final = {
    "NOISY": 10, "OPERATIONAL": 20, "UNUSUAL": 23, "INFREQUENT": 25, "CURIOUS": 28, "WEIRD": 30, "SCARY": 35, "BAD": 40,
}  # fmt: skip
EVENT_KEYS: Final = ("umid", "level", "facility", "message", "failure")
INCIDENT_KEYS: Final = ("host", "cluster", "version")

_CLASS: Final = re.compile(r"<(?:class|type) '([\w.]{1,200})'>")
_NAME: Final = re.compile(r"(?<![\w.])[A-Za-z_][\w.]{0,200}(?:Error|Exception)(?!\w)")


class Incident(NamedTuple):
    """An incident as a whole. `versions`: such as `foolscap/24.9.0`."""

    cluster: str
    host: str
    versions: tuple[str, ...]


class Facts:
    """What conditions ask about one event; each is found out once."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        self.event = event

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Its text, and the format that it was made with."""
        template = self.event.get("format")
        shown = message(self.event)
        return (shown, template[:MAX_MESSAGE]) if isinstance(template, str) and template != shown else (shown,)

    @cached_property
    def failures(self) -> tuple[str, ...]:
        """The types of exceptions that its failure names, with and without their modules."""
        failure = self.event.get("failure") or ""
        if isinstance(failure, dict):
            parts = [failure.get(key) for key in ("str", "repr", "traceback")]
            failure = "\n".join(part for part in parts if isinstance(part, str))
        text = plain_text(failure)[:MAX_FAILURE]
        found = {*_CLASS.findall(text), *_NAME.findall(text)}
        return (*found, *(name.rpartition(".")[2] for name in found))


Condition = Callable[[Facts, Incident], bool]


class Conditions(NamedTuple):
    """All of `quick` have to hold, and then one of `patterns`, which are regular expressions."""

    quick: tuple[Condition, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = ()

    def hold(self, facts: Facts, incident: Incident) -> bool:
        return self.may_hold(facts, incident) and (
            not self.patterns or any(pattern.search(text) for pattern in self.patterns for text in facts.texts)
        )

    def may_hold(self, facts: Facts, incident: Incident) -> bool:
        return all(condition(facts, incident) for condition in self.quick)

    def __bool__(self) -> bool:
        return bool(self.quick or self.patterns)


def conditions(table: Table, keys: Iterable[str]) -> Conditions:
    """Those of `keys` that `table` has; what is wrong with them is told to the table."""
    quick: list[Condition] = []
    patterns: list[re.Pattern[str]] = []
    for key in keys:
        if key not in table:
            continue
        if key == "level":
            quick += _level(table)
        elif key == "message":
            patterns += _patterns(table)
        elif values := table.texts(key):
            quick.append(_MAKERS[key](values))
    return Conditions(tuple(quick), tuple(patterns))


def _level(table: Table) -> Iterable[Condition]:
    value = table.take("level", WHOLE_NUMBER, TEXT)
    if isinstance(value, str) and value not in LEVELS:
        table.problem("level", f"is a number, or one of {', '.join(LEVELS)}; this is {shorten(value)}")
    elif value is not None:
        least = LEVELS[value] if isinstance(value, str) else value
        yield lambda facts, _incident: _number(facts.event.get("level")) >= least


def _number(level: Any) -> float:
    is_one = isinstance(level, int | float) and not isinstance(level, bool)
    return level if is_one else LEVELS["OPERATIONAL"]


def _patterns(table: Table) -> Iterable[re.Pattern[str]]:
    for text in table.texts("message"):
        if len(text) > MAX_PATTERN:
            table.problem("message", f"is longer than {MAX_PATTERN} characters")
            continue
        try:
            yield re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            table.problem("message", f"is no regular expression: {error}: {shorten(text)}")


def _umid(values: list[str]) -> Condition:
    wanted = frozenset(values)
    return lambda facts, _incident: isinstance(umid := facts.event.get("umid"), str) and umid in wanted


def _facility(values: list[str]) -> Condition:
    return lambda facts, _incident: _like(facts.event.get("facility"), values)


def _failure(values: list[str]) -> Condition:
    return lambda facts, _incident: any(_like(name, values) for name in facts.failures)


def _version(values: list[str]) -> Condition:
    return lambda _facts, incident: any(_like(version, values) for version in incident.versions)


def _host(values: list[str]) -> Condition:
    return lambda _facts, incident: _like(incident.host, values)


def _cluster(values: list[str]) -> Condition:
    return lambda _facts, incident: _like(incident.cluster, values)


def _like(text: Any, globs: list[str]) -> bool:
    return isinstance(text, str) and any(fnmatchcase(text, glob) for glob in globs)


_MAKERS: Final[dict[str, Callable[[list[str]], Condition]]] = {
    "umid": _umid,
    "facility": _facility,
    "failure": _failure,
    "version": _version,
    "host": _host,
    "cluster": _cluster,
}
