"""One event of an incident as classification rules see it, and the keys of their conditions.

Text that nodes sent is looked at as people see it: rendered, without secrets, of limited length.
"""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final, NamedTuple

from lae_monitor.core.refusals import shorten
from lae_monitor.kinds.incidents.wire.render import MAX_MESSAGE, message, plain_text
from lae_monitor.kinds.rule_files.conditions import MISSING, Condition, Language, at_path, from_json, short_for
from lae_monitor.kinds.rule_files.patterns import Searches
from lae_monitor.kinds.rule_files.table import TEXT, WHOLE_NUMBER, Table

MAX_FAILURE: Final = 32 * 1024  # characters of a failure in which its types are looked for
LEVELS: Final = {
    "NOISY": 10, "OPERATIONAL": 20, "UNUSUAL": 23, "INFREQUENT": 25, "CURIOUS": 28, "WEIRD": 30, "SCARY": 35, "BAD": 40,
}  # fmt: skip

_CLASS: Final = re.compile(r"<(?:class|type) '([\w.]{1,200})'>")
_NAME: Final = re.compile(r"(?<![\w.])[A-Za-z_][\w.]{0,200}(?:Error|Exception)(?!\w)")


class Incident(NamedTuple):
    """An incident as a whole. `versions`: such as `foolscap/24.9.0`."""

    cluster: str
    host: str
    versions: tuple[str, ...]


class Facts:
    """What conditions ask about one event of an incident; each is found out once.

    Attributes:
        searches: of the rule that asks now.
    """

    searches: Searches

    def __init__(self, event: Mapping[str, Any], incident: Incident) -> None:
        self.event = event
        self.incident = incident
        self.now = _number(event.get("time"), 0)

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

    @property
    def level(self) -> float:
        return _number(self.event.get("level"), LEVELS["OPERATIONAL"])

    def has(self, key: str) -> bool:
        return key in self.event or (key in _OF_INCIDENT and bool(self.values(key)))

    def values(self, key: str, path: tuple[str, ...] = ()) -> tuple[str, ...]:
        if path:
            value = at_path(from_json(self.event.get(key)), path)
            return () if value is MISSING else (plain_text(value),)
        if key == "message":
            return self.texts
        if key == "failure":
            return self.failures
        if key in _OF_INCIDENT:
            return self.incident.versions if key == "version" else (str(getattr(self.incident, key)),)
        value = self.level if key == "level" else self.event.get(key, MISSING)
        if value is MISSING or (key in _TEXTS and not isinstance(value, str)):
            return ()
        return (plain_text(value),)


def _number(value: Any, otherwise: float) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _level(table: Table, key: str) -> Condition[Facts] | None:
    value = table.take(key, WHOLE_NUMBER, TEXT)
    if isinstance(value, str) and value not in LEVELS:
        table.problem(key, f"is a number, or one of {', '.join(LEVELS)}; this is {shorten(value)}")
    elif value is not None:
        least = LEVELS[value] if isinstance(value, str) else value
        return lambda facts: facts.level >= least
    return None


_TEXTS: Final = frozenset({"umid", "facility"})  # are texts, or nothing
_OF_INCIDENT: Final = ("host", "cluster", "version")
_OF_EVENT: Final = {
    "umid": short_for("in"),
    "level": _level,
    "facility": short_for("like"),
    "failure": short_for("like"),
}
_MESSAGE: Final = {"message": short_for("matches")}  # last: it searches

EVENT: Final = Language[Facts]({**_OF_EVENT, **_MESSAGE})
TRIGGER: Final = Language[Facts]({**_OF_EVENT, **dict.fromkeys(_OF_INCIDENT, short_for("like")), **_MESSAGE})
