"""Query -> a condition in SQL. What the user typed reaches the engine as parameters only, never as SQL.

Words are found by the text index on `words` (lower case, split at everything that is no ASCII letter or digit and no
character beyond ASCII): their tokens by the index, and what stands between the tokens by a pattern on what is left.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from lae_monitor.core.kind import SearchField
from lae_monitor.query import patterns
from lae_monitor.query.grammar import (
    Either,
    Filter,
    Pattern,
    Query,
    Substring,
    Term,
    Text,
    Words,
    is_time,
    levels_of,
    moment,
)
from lae_monitor.store.driver import Parameter

LATEST: Final = 4_102_444_800.0  # 2100-01-01, in seconds: the store's last time
_TOKEN: Final = re.compile(r"[A-Za-z0-9\u0080-\U0010ffff]+")
_EDGE: Final = r"[^a-z0-9\x{80}-\x{10FFFF}]"  # RE2: what no token contains, in lower-case text
_ANYTHING: Final = r"[^\s]*"  # what * stands for in words; no letters, because patterns are lowered with the text
_COLUMNS: Final = {"kind": "kind", "cluster": "cluster", "host": "host", "group": "`group`", "id": "id"}


@dataclass(frozen=True, slots=True)
class Plan:
    """A condition on events, apart from its times: they hold from `since` (included) to `until` (not), in seconds.

    `indexed`: it costs little however many events there are; otherwise each of them has to be looked at. `places`: those of
    the conditions that say of which hosts the events are.
    """

    conditions: tuple[str, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    since: float = 0.0
    until: float = LATEST
    indexed: bool = True
    places: tuple[str, ...] = ()

    def where(self, since: float, until: float) -> tuple[str, dict[str, Parameter]]:
        """The whole condition within `since` to `until`, and its parameters."""
        conditions = list(self.conditions)
        parameters = dict(self.parameters)
        for name, sign, bound, default in (("since", ">=", since, 0.0), ("until", "<", until, LATEST)):
            if bound != default:
                conditions.append(f"time {sign} {_time(name)}")
                parameters[name] = micros(bound)
        return " AND ".join(conditions) or "true", parameters

    def narrowed(self, column: str, value: str) -> "Plan":
        """The same plan, where `column` (a name of ours) is `value` as well."""
        name = f"only_{column}"
        condition = f"`{column}` = {{{name}:String}}"
        return replace(
            self,
            conditions=(condition, *self.conditions),
            places=(condition, *self.places),
            parameters={**self.parameters, name: value},
        )

    def at(self, cluster: str, host: str) -> "Plan":
        """The same plan, of that cluster and that host; "" for any."""
        found = self
        for column, value in (("cluster", cluster), ("host", host)):
            if value:
                found = found.narrowed(column, value)
        return found


def micros(seconds: float) -> int:
    """Microseconds since the epoch, within what the store can hold."""
    return int(min(max(seconds, 0.0), LATEST) * 1e6)


def _time(name: str) -> str:
    return f"fromUnixTimestamp64Micro({{{name}:Int64}}, 'UTC')"


def plan(query: Query, now: float) -> Plan:
    """
    Raises:
        Refused: `bad_time`, `bad_duration` for times that the parser did not see.
    """
    planner = _Planner(now)
    conditions: list[str] = []
    places: list[str] = []
    since, until = 0.0, LATEST
    for term in query.terms:
        if not isinstance(term, Filter) or not is_time(term) or term.negated:
            condition = planner.condition(term)
            (places if _is_place(term) else conditions).append(condition)
        elif term.name == "since":
            since = max(since, moment(term.values[0].text, now))
        else:
            until = min(until, moment(term.values[0].text, now, closing=True))
    return Plan((*places, *conditions), planner.parameters, since, max(until, 0.0), planner.indexed, tuple(places))


def _is_place(term: Term) -> bool:
    return isinstance(term, Filter) and term.name in {"cluster", "host"} and not term.attribute and not term.negated


class _Planner:
    """Collects the parameters while it writes conditions."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.parameters: dict[str, Parameter] = {}
        self.indexed = True

    def _parameter(self, value: Parameter, kind: str = "String") -> str:
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"{{{name}:{kind}}}"

    def condition(self, term: Term) -> str:
        if isinstance(term, Words):
            condition = self._words(term.value)
        elif isinstance(term, Substring):
            condition = " AND ".join(self._literal(term.text))
        elif isinstance(term, Pattern):
            found = [one for text in patterns.literals(term.text) for one in self._literal(text)]
            # Within a line, as grep does; the engine's dot would match its end too.
            condition = " AND ".join([*found, f"match(words, {self._parameter(f'(?im-s)(?:{term.text})')})"])
            self.indexed = False
        elif isinstance(term, Either):
            condition = " OR ".join(" AND ".join(self.condition(one) for one in query.terms) for query in term.queries)
        elif term.attribute:
            condition = self._any(term, lambda value: self._attribute(term.name, value))
        elif term.of is not None:
            condition = self._of_kind(term.of, term.values)
        elif term.name == "title":
            condition = self._any(term, self._title)
        elif term.name == "level":
            levels = [level for value in term.values for level in levels_of(term.comparison, value.text)]
            condition = f"level IN {self._parameter(levels, 'Array(String)')}"
        elif term.name in {"since", "until"}:
            condition = self._moment(term)
        else:
            condition = self._column(_COLUMNS[term.name], term.values)
        return f"NOT ({condition})" if term.negated else f"({condition})"

    def _any(self, term: Filter, condition: Callable[[Text], str]) -> str:
        return " OR ".join(f"({condition(value)})" for value in term.values)

    def _words(self, value: Text) -> str:
        tokens, pattern = whole_tokens(value), word_pattern(value)
        conditions = []
        if tokens:
            conditions.append(f"hasAllTokens(words, lowerUTF8({self._parameter(' '.join(tokens))}))")
        if pattern:
            conditions.append(f"match(words, lowerUTF8({self._parameter(pattern)}))")
            self.indexed = False
        return " AND ".join(conditions)

    def _literal(self, text: str) -> list[str]:
        """Conditions of events that contain `text`: by its tokens that are whole for certain, and by itself.

        Not by LIKE: the engine looks through all words of the index then, of all times.
        """
        self.indexed = False
        tokens = [found[0] for found in _TOKEN.finditer(text) if found.start() > 0 and found.end() < len(text)]
        conditions = [f"hasAllTokens(words, lowerUTF8({self._parameter(' '.join(tokens))}))"] if tokens else []
        return [*conditions, f"position(words, lowerUTF8({self._parameter(text)})) > 0"]

    def _title(self, value: Text) -> str:
        self.indexed = False
        tokens = whole_tokens(value)
        found = f"match(lowerUTF8(title), lowerUTF8({self._parameter(word_pattern(value, always=True))}))"
        return f"hasAllTokens(words, lowerUTF8({self._parameter(' '.join(tokens))})) AND {found}" if tokens else found

    def _attribute(self, name: str, value: Text) -> str:
        self.indexed = False
        attribute = f"attrs[{self._parameter(name)}]"
        if value.wild:
            return f"{attribute} ILIKE {self._parameter(like_pattern(value))}"
        text = self._parameter(value.text)
        same = f"lowerUTF8({attribute}) = lowerUTF8({text})"
        return f"hasAllTokens(words, lowerUTF8({text})) AND {same}" if _TOKEN.search(value.text) else same

    def _column(self, column: str, values: tuple[Text, ...]) -> str:
        exact = [value.text for value in values if not value.wild]
        conditions = [f"{column} IN {self._parameter(exact, 'Array(String)')}"] if exact else []
        conditions += [f"{column} LIKE {self._parameter(like_pattern(value))}" for value in values if value.wild]
        return " OR ".join(conditions)

    def _of_kind(self, field: SearchField, values: tuple[Text, ...]) -> str:
        exact = [value.text for value in values if not value.wild]
        found = [f"hasAny({field.column}, {self._parameter(exact, 'Array(String)')})"] if exact else []
        found += [
            f"arrayExists(one -> one LIKE {self._parameter(like_pattern(value))}, {field.column})"
            for value in values
            if value.wild
        ]
        return f"key IN (SELECT key FROM {{lae}}.{field.table} FINAL WHERE {' OR '.join(found)})"

    def _moment(self, term: Filter) -> str:
        closing = term.name == "until"
        at = self._parameter(micros(moment(term.values[0].text, self.now, closing=closing)), "Int64")
        return f"time {'<' if closing else '>='} fromUnixTimestamp64Micro({at}, 'UTC')"


def whole_tokens(value: Text) -> list[str]:
    """The tokens that an event with `value` in it has for certain: not those that a * may go on with."""
    tokens = []
    for found in _TOKEN.finditer(value.text):
        beside = value.text[max(found.start() - 1, 0) : found.start()] + value.text[found.end() : found.end() + 1]
        if not (value.wild and "*" in beside):
            tokens.append(found[0])
    return tokens


def word_pattern(value: Text, *, always: bool = False) -> str:
    """The regular expression (RE2, lower case) that `value` as whole words is; empty where its tokens say it all."""
    text = value.text
    if _TOKEN.fullmatch(text) and not always:
        return ""
    pieces = text.split("*") if value.wild else [text]
    pattern = _ANYTHING.join(re.escape(piece) for piece in pieces)
    before = f"(?:^|{_EDGE})" if _TOKEN.match(text[:1]) else ""
    after = f"(?:$|{_EDGE})" if _TOKEN.match(text[-1:]) else ""
    return f"{before}{pattern}{after}"


def like_pattern(value: Text) -> str:
    """`value` for LIKE: its own % and _ mean themselves, its * is anything."""
    escaped = re.sub(r"([\\%_])", r"\\\1", value.text)
    return escaped.replace("*", "%") if value.wild else escaped
