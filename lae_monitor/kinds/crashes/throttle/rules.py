"""Throttle rules: which reports are kept. TOML in, verdicts out. See docs/throttling.md."""

import logging
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from lae_monitor.core.refusals import shorten
from lae_monitor.core.time import Clock, wall_clock
from lae_monitor.kinds.crashes.program import Program, clean
from lae_monitor.kinds.crashes.throttle.facts import Facts, Lists, language
from lae_monitor.kinds.rule_files.conditions import Condition, Language, Version, version
from lae_monitor.kinds.rule_files.file import InForce, Presets
from lae_monitor.kinds.rule_files.patterns import TooSlow
from lae_monitor.kinds.rule_files.table import NUMBER, TEXT, TEXTS, TRUTH, RuleTables, Table

PRESETS: Final = Presets(Path(__file__).with_name("presets"), ("accept-all", "antenna", "socorro"))
NO_MATCH: Final = "NO_MATCH"  # the rule of a report that no rule applied to; Antenna's name
RESERVED: Final = frozenset({NO_MATCH, "FROM_CRASHID"})  # what stands in the place of a rule's name where none decided

REFUSAL: Final = "minimal_version_for_understanding_refusal"
RANDOM: Final = "random"
CRASH_ID: Final = "crash_id"


class Result(IntEnum):
    """What becomes of a report."""

    ACCEPT = 0  # kept
    DEFER = 1  # kept, and not for processing at once
    REJECT = 2  # dropped, and the client is told by which rule
    FAKEACCEPT = 3  # dropped, and the client is told a crash id: for those that would retry for ever
    CONTINUE = 4  # the rules that follow decide; never a verdict
    IGNORE = (
        5  # dropped, and the client is told that its program is not supported: what Socorro does without a percentage
    )


KEPT: Final = frozenset({Result.ACCEPT, Result.DEFER})

_LEGACY: Final = {
    Result.ACCEPT: 0, Result.DEFER: 1, Result.REJECT: 2, Result.FAKEACCEPT: 2, Result.IGNORE: 3,
}  # fmt: skip


class Verdict(NamedTuple):
    """What the rules decided. `rule`: which of them; `percent`: what it lets pass, if it let a sample pass, else None."""

    result: Result
    rule: str
    percent: float | None = None

    @property
    def legacy_processing(self) -> int:
        """What Socorro notes of it: 0 accept, 1 defer, 2 discard, 3 ignore."""
        return _LEGACY[self.result]


_RESULTS: Final = {result.name.lower(): result for result in Result}
_VERDICTS: Final = [name for name, result in _RESULTS.items() if result is not Result.CONTINUE]
_TOP: Final = ("products", "packages", REFUSAL, "never_discard", "rule")
_IMPLIED: Final = {"product": "unsupported_product", "package": "unsupported_packagename"}

_LOG: Final = logging.getLogger(__name__)

Chance = Callable[[], float]


class Sample(NamedTuple):
    """What a rule lets pass. `by`: `random`, `crash_id`, or the annotation whose value always falls on the same side."""

    percent: float
    then: Result
    otherwise: Result
    by: str

    def draw(self, rule: str, facts: Facts, random: Chance) -> Result:
        by = "" if self.by == CRASH_ID else self.by
        share = random() if self.by == RANDOM else facts.share(rule, by)
        return self.then if share * 100 < self.percent else self.otherwise


class Rule(NamedTuple):
    """A rule; where its condition holds, it gives its result, or draws."""

    name: str
    holds: Condition[Facts]
    outcome: Result | Sample


class Rules:
    """A rules file.

    A report that cannot be searched in time is never dropped: rules with patterns pass it by, and it is deferred.

    Attributes:
        names: of the rules, in the order in which they are tried.
        is_random: whether the same report may get another verdict the next time.
    """

    def __init__(
        self, rules: Iterable[Rule], understanding: Mapping[str, Version] | None, *, never_discard: bool
    ) -> None:
        self._rules = tuple(rules)
        self._understanding = understanding
        self._never_discard = never_discard
        self._slow: set[str] = set()  # rules that were logged for it
        self.names = [rule.name for rule in self._rules]
        self.is_random = any(isinstance(rule.outcome, Sample) and rule.outcome.by == RANDOM for rule in self._rules)

    @classmethod
    def parse(cls, text: str, source: str) -> Self:
        """The rules in `text`; `source` names it in sentences.

        Raises:
            RulesError: with every mistake found.
        """
        file = RuleTables(text, source, _TOP)
        top = file.top
        lists = Lists(frozenset(map(clean, top.take("products", TEXTS) or ())), _packages(top))
        if "rule" not in top:
            top.problem("", "holds no [[rule]], so every report would be rejected")
        words = language(lists)
        rules = [_rule(*file.named(table, "_", RESERVED), words) for table in file.rules]
        understanding, never_discard = _understanding(top), bool(top.take("never_discard", TRUTH))
        file.check()
        return cls([*_implied(file.rules, lists), *rules], understanding, never_discard=never_discard)

    def decide(
        self, annotations: Mapping[str, Any], *, program: Program, crash_id: str, now: float, random: Chance
    ) -> Verdict:
        """What becomes of a report; whatever it holds, nothing is raised.

        Args:
            annotations: as they came; values need not be text.
            program: which one the report is of.
            crash_id: given to it.
            now: when it was received, in seconds.
            random: gives numbers from 0 to below 1.
        """
        facts = Facts(annotations, program, crash_id, now)
        for rule in self._rules:
            try:
                if not rule.holds(facts):
                    continue
            except TooSlow as slow:
                self._log_slow(rule.name, slow)
                facts.is_unsure = True
                continue
            if isinstance(rule.outcome, Result):
                return self._verdict(rule.outcome, rule.name, None, facts)
            result = rule.outcome.draw(rule.name, facts, random)
            if result is not Result.CONTINUE:
                return self._verdict(result, rule.name, rule.outcome.percent, facts)
        return self._verdict(Result.REJECT, NO_MATCH, 0, facts)

    def _verdict(self, result: Result, rule: str, percent: float | None, facts: Facts) -> Verdict:
        if result is Result.REJECT and not self._may_be_refused(facts):
            result = Result.DEFER
        if facts.is_unsure and result not in KEPT:
            result = Result.DEFER
        return Verdict(result, rule, percent)

    def _log_slow(self, rule: str, slow: TooSlow) -> None:
        if rule not in self._slow:
            self._slow.add(rule)
            _LOG.error("throttle rules: rule %s: %s; write its pattern otherwise: reports are kept instead", rule, slow)

    def _may_be_refused(self, facts: Facts) -> bool:
        """Whether the client would understand a refusal, and is to hear one: Socorro's rule."""
        if self._never_discard or self._understanding is None:
            return not self._never_discard
        least = self._understanding.get(facts.text("ProductName") or "")
        found = version(facts.text("Version") or "")
        return least is not None and found is not None and found >= least


def _packages(top: Table) -> dict[str, frozenset[str]]:
    table = top.inner("packages")
    return {clean(product): frozenset(table.take(product, TEXTS) or ()) for product in table.names()} if table else {}


def _understanding(top: Table) -> dict[str, Version] | None:
    table = top.inner(REFUSAL)
    if table is None:
        return None
    found: dict[str, Version] = {}
    for product in table.names():
        text = table.take(product, TEXT)
        least = version(text) if text is not None else None
        if least is not None:
            found[clean(product)] = least
        elif text is not None:
            table.problem(product, "is no version")
    return found


def _rule(name: str, table: Table, words: Language[Facts]) -> Rule:
    table.only(("name", *words.keys, "result", "sample"))
    return Rule(name, words.condition(table), _outcome(table))


def _outcome(table: Table) -> Result | Sample:
    if ("result" in table) == ("sample" in table):
        table.problem("", "has either a result or a sample")
    if "result" in table:
        return _result(table, "result", _VERDICTS)
    sample = table.inner("sample")
    if sample is None:
        return Result.REJECT
    sample.only(("percent", "then", "else", "by"))
    percent = sample.take("percent", NUMBER)
    if "percent" not in sample or (percent is not None and not 0 <= percent <= 100):
        sample.problem("percent", "is a number from 0 to 100")
    then, otherwise = (_result(sample, key, [*_RESULTS]) for key in ("then", "else"))
    if then is otherwise is Result.CONTINUE:
        sample.problem("", "continues either way, and so does nothing")
    by = sample.take("by", TEXT)
    if by == "":
        sample.problem("by", "is random, crash_id, or the name of an annotation")
    return Sample(percent or 0, then, otherwise, by or RANDOM)


def _result(table: Table, key: str, known: list[str]) -> Result:
    text = table.take(key, TEXT)
    if text in known:
        return _RESULTS[text]
    if text is not None or key not in table:
        said = f"; this is {shorten(text)}" if text is not None else ""
        table.problem(key, f"is one of {', '.join(known)}{said}")
    return Result.REJECT


def _implied(tables: Iterable[Table], lists: Lists) -> Iterable[Rule]:
    """The rules about what is not supported, which come first where no rule says when they are tried."""
    said = {table.take("unlisted", TEXT) for table in tables}
    for what, name in _IMPLIED.items():
        if what not in said and (lists.products if what == "product" else lists.packages):
            yield Rule(name, language(lists).condition(Table({"unlisted": what}, "", [])), Result.REJECT)


RulesFile = InForce[str, Rules]


def rules_file(name_or_path: str, clock: Clock = wall_clock) -> RulesFile:
    """The rules of a running collector: a preset, or a file, which is read again when it changes.

    Raises:
        RulesError: there is no such file, or it is wrong.
    """

    def make(text: str) -> Rules:
        return Rules.parse(text, name_or_path)

    text = PRESETS.read(name_or_path)
    return InForce("throttle rules", lambda: PRESETS.read(name_or_path), make, (text, make(text)), clock)
