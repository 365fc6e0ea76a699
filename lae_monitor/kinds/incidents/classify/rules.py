"""Classification rules: what an incident is called. TOML in, categories out; without I/O. See docs/classification.md."""

import re
from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple, Self

from lae_monitor.core.refusals import shorten
from lae_monitor.kinds.incidents.classify.facts import EVENT, TRIGGER, Facts, Incident
from lae_monitor.kinds.incidents.wire.render import MAX_MESSAGE
from lae_monitor.kinds.rule_files.conditions import NOT, Condition
from lae_monitor.kinds.rule_files.patterns import Searches, TooSlow
from lae_monitor.kinds.rule_files.table import RuleTables, Table

UNKNOWN: Final = "unknown"  # flogtool's word for what nothing knew
CATEGORY: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)  # it becomes a file's name
MAX_CATEGORIES: Final = 50  # of one rule, or of one answer of a classifier


class Rule(NamedTuple):
    """What holds of the trigger, and, if it is given, of any one event."""

    name: str
    categories: tuple[str, ...]
    trigger: Condition[Facts]
    event: Condition[Facts] | None


class Rules:
    """A file of rules. `names` are in the file's order."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self.names = [rule.name for rule in self.rules]

    @classmethod
    def parse(cls, text: str, source: str) -> Self:
        """The rules in `text`; `source` names it in sentences.

        Raises:
            RulesError: with every mistake found.
        """
        file = RuleTables(text, source)
        rules = [_rule(*file.named(table, "_-")) for table in file.rules]
        file.check()
        return cls(rules)

    def apply(
        self,
        incident: Incident,
        trigger: dict[str, Any],
        events: Iterator[dict[str, Any]],
        *,
        seconds: float,
        begin: Callable[[int], None] = lambda _number: None,
        skipped: Container[int] = (),
    ) -> Iterator[tuple[int, Rule | TooSlow]]:
        """The numbers of the rules that know the incident, with the rule, or with why it has no opinion.

        Args:
            events: all of them; taken only as far as a rule wants to know.
            seconds: that each rule may search.
            begin: called with the number of a rule before it searches: if it hangs, the one that watches knows which it is.
            skipped: rules that are left out.
        """
        searches = [Searches(seconds, MAX_MESSAGE, partial(begin, number)) for number in range(len(self.rules))]

        def try_on(facts: Facts, number: int, condition: Condition[Facts]) -> bool | TooSlow:
            facts.searches = searches[number]
            try:
                return condition(facts)
            except TooSlow as slow:
                return slow

        facts = Facts(trigger, incident)
        waiting: dict[int, tuple[Rule, Condition[Facts]]] = {}
        for number, rule in enumerate(self.rules):
            known = number not in skipped and try_on(facts, number, rule.trigger)
            if isinstance(known, TooSlow) or (known and rule.event is None):
                yield number, rule if known is True else known
            elif known and rule.event is not None:
                waiting[number] = rule, rule.event
        while waiting and (event := next(events, None)) is not None:
            facts = Facts(event, incident)
            for number, (rule, condition) in list(waiting.items()):
                if known := try_on(facts, number, condition):
                    del waiting[number]
                    yield number, rule if known is True else known


def is_category(value: Any) -> bool:
    """Whether `value` may be the name of a category."""
    return isinstance(value, str) and CATEGORY.fullmatch(value) is not None


def _rule(name: str, table: Table) -> Rule:
    table.only(("name", "category", "event", *TRIGGER.keys))
    trigger = TRIGGER.condition(table)
    event = EVENT.inner(table, "event")
    if not any(key in table for key in (*TRIGGER.keys, "event") if key not in NOT):
        table.problem("", f"says nothing of the incident; it wants one of {', '.join((*EVENT.own, 'event'))}")
    return Rule(name, _categories(table), trigger, event)


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
