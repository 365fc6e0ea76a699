"""Classification rules: what an incident is called. TOML in, categories out; without I/O. See docs/classification.md."""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, Self

from lae_monitor.config.rule_table import TEXT, Table
from lae_monitor.core.refusals import shorten
from lae_monitor.kinds.incidents.class_conditions import (
    EVENT_KEYS,
    INCIDENT_KEYS,
    Conditions,
    Facts,
    Incident,
    conditions,
)

UNKNOWN: Final = "unknown"  # flogtool's word for what nothing knew
CATEGORY: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)  # it becomes a file's name
MAX_RULES: Final = 1000
MAX_CATEGORIES: Final = 50  # of one rule, or of one answer of a classifier
MAX_NAME: Final = 100  # characters of a rule's name

_NAME: Final = re.compile("[A-Za-z0-9_-]+")
_KEYS: Final = ("name", "category", *EVENT_KEYS, *INCIDENT_KEYS, "event", "unless")


class RulesError(ValueError):
    """Rules that are wrong; `problems` has a sentence for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Rule(NamedTuple):
    """What holds of the trigger, what of any one event, and what must not hold of the trigger."""

    name: str
    categories: tuple[str, ...]
    trigger: Conditions
    event: Conditions
    unless: Conditions

    def knows(self, facts: Facts, incident: Incident) -> bool:
        """Whether all that is said of the trigger holds."""
        return self.trigger.hold(facts, incident) and not (self.unless and self.unless.hold(facts, incident))


class Rules:
    """A file of rules. `names` are in the file's order."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self.names = [rule.name for rule in self.rules]

    @classmethod
    def parse(cls, text: str, source: str, begin: Callable[[int], None] = lambda _number: None) -> Self:
        """The rules in `text`; `source` names it in sentences; `begin` is told the number of each before it is read.

        Raises:
            RulesError: with every mistake found.
        """
        problems: list[str] = []
        top = Table(_tree(text, source), source, problems)
        top.only(("rule",))
        tables = top.inners("rule")
        if len(tables) > MAX_RULES:
            top.problem("rule", f"has more than {MAX_RULES} rules")
        rules = []
        for number, table in enumerate(tables[:MAX_RULES]):
            begin(number)
            rules.append(_rule(table))
        names = [rule.name for rule in rules]
        for name in sorted({name for name in names if name and names.count(name) > 1}):
            top.problem("rule", f"there is more than one with the name {name}")
        if problems:
            raise RulesError(problems)
        return cls(rules)

    def apply(
        self,
        incident: Incident,
        trigger: dict[str, Any],
        events: Iterator[dict[str, Any]],
        begin: Callable[[int], None],
        skipped: Callable[[int], bool],
    ) -> Iterator[tuple[int, Rule]]:
        """The rules that know the incident, with their numbers.

        Args:
            events: all of them; taken only as far as a rule wants to know.
            begin: told the number of each rule before it is tried: whoever watches then knows who is slow.
            skipped: whether a rule is left out.
        """
        facts = Facts(trigger)
        waiting: list[tuple[int, Rule]] = []
        for number, rule in enumerate(self.rules):
            if skipped(number) or not rule.trigger.may_hold(facts, incident):
                continue
            begin(number)
            if rule.knows(facts, incident):
                if rule.event:
                    waiting.append((number, rule))
                else:
                    yield number, rule
        if waiting:
            yield from _in_events(incident, waiting, events, begin)


def _in_events(
    incident: Incident,
    waiting: list[tuple[int, Rule]],
    events: Iterator[dict[str, Any]],
    begin: Callable[[int], None],
) -> Iterator[tuple[int, Rule]]:
    for event in events:
        facts = Facts(event)
        for number, rule in list(waiting):
            if not rule.event.may_hold(facts, incident):
                continue
            begin(number)
            if rule.event.hold(facts, incident):
                waiting.remove((number, rule))
                yield number, rule
        if not waiting:
            return


def is_category(value: Any) -> bool:
    """Whether `value` may be the name of a category."""
    return isinstance(value, str) and CATEGORY.fullmatch(value) is not None


def _tree(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a ValueError and no TOMLDecodeError
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RulesError([f"{source}: not TOML: {reason}"]) from error


def _rule(table: Table) -> Rule:
    name = table.take("name", TEXT)
    if "name" not in table:
        table.problem("name", "has to be given")
    elif name is not None and (not _NAME.fullmatch(name) or len(name) > MAX_NAME):
        table.problem("name", f"is 1 to {MAX_NAME} letters, digits, _ and -; this is {shorten(name)}")
    elif name is not None:
        table = table.named(f"rule {name}")
    table.only(_KEYS)
    trigger = conditions(table, (*EVENT_KEYS, *INCIDENT_KEYS))
    event, unless = _inner(table, "event", EVENT_KEYS), _inner(table, "unless", (*EVENT_KEYS, *INCIDENT_KEYS))
    if not any(key in table for key in (*EVENT_KEYS, *INCIDENT_KEYS, "event")):
        table.problem("", f"says nothing of the incident; it wants one of {', '.join((*EVENT_KEYS, 'event'))}")
    return Rule(name or "", _categories(table), trigger, event, unless)


def _categories(table: Table) -> tuple[str, ...]:
    found = table.texts("category")
    if "category" not in table:
        table.problem("category", "has to be given")
    for category in found:
        if not is_category(category):
            table.problem(
                "category", f"{shorten(category)} is no name: a-z, 0-9, then . _ - too, 64 characters at most"
            )
    if len(found) > MAX_CATEGORIES:
        table.problem("category", f"has more than {MAX_CATEGORIES} of them")
    return tuple(found)


def _inner(table: Table, key: str, keys: tuple[str, ...]) -> Conditions:
    inner = table.inner(key)
    if inner is None:
        return Conditions()
    inner.only(keys)
    if not any(name in inner for name in keys):
        inner.problem("", f"says nothing; it wants one of {', '.join(keys)}")
    return conditions(inner, keys)
