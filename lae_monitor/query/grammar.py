"""What can be searched for. Pure: the terms, and what their names and values may be.

disk "connection refused" -needle      words and phrases, all of which have to be there, or (-) must not
disk OR (memory NOT swap)              either; parentheses; NOT is a minus; AND may stand where a space does
/refused|reset by [a-z]+/              a regular expression (RE2) within a line
text~"nection ref"                     these characters, also within words
kind:crash,incident host:ml*           a field; a comma means any of, * stands for anything outside quotes
level:error   level:>=warning          this level; this level or a worse one
product:Firefox                        an attribute by its name; attr.NAME: for one that is named like a field
since:2h until:2026-11-22              a duration back from now, a time, or a day (as `until`: to its end); times are UTC
since:today since:17:00                since this day began; since it was last 17:00

Kinds may add fields: Kind.search.

Letters are alike in both cases, except in names of hosts, clusters, groups, ids and attributes.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

from lae_monitor.core.kind import FIELDS, OF_JOURNAL, Kinds, SearchField
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import LEVELS
from lae_monitor.core.time import DAY, HOUR, MINUTE, parse_duration, parse_time

NO_KINDS: Final = Kinds()
_WAYS: Final = (
    ("disk full", "both words, as whole words; capitals do not matter"),
    ('"connection refused"', "these words in this order"),
    ("-word", "not with this; a minus, or NOT, goes before anything"),
    ("disk OR (memory NOT swap)", "one or the other; parentheses hold terms together"),
    ("tahoe*", "words that begin so"),
    ('text~"nection ref"', "these characters, also within words"),
    ("/refused|reset by [a-z]+/", "a regular expression (RE2) within a line"),
    ("kind:crash,incident", "one of these kinds: {kinds}"),
    ("host:ml* cluster:lae", "of these hosts; * stands for anything"),
    ("level:>=warning", "debug, info, warning, error, critical; this level or a worse one"),
    ("since:2h until:17:00", "durations, days (2026-11-22, today), times (17:00, 2026-11-22T09:44:34Z), all UTC"),
    ("product:Firefox", "an attribute with this value; attr.host: for one that is named like a field"),
    ("id: group: title:", "the other fields"),
)
TIMES: Final = frozenset({"since", "until"})
COMPARISONS: Final = (">=", "<=", ">", "<")  # longer ones first: that is how they are looked for
LEVEL_NAMES: Final = dict(zip(LEVELS, LEVELS, strict=True)) | {  # as people and other systems call them
    "trace": "debug", "notice": "info", "warn": "warning", "err": "error", "crit": "critical", "fatal": "critical",
    "alert": "critical", "emerg": "critical", "panic": "critical",
}  # fmt: skip

_DURATION: Final = re.compile(r"[0-9][0-9.]*\s*[a-z]")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CLOCK: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")
_DAYS_AGO: Final = {"today": 0, "yesterday": 1}


class BadQuery(Refused):
    """A search that could not be understood: `problem` at the characters `start` to `end` of it."""

    def __init__(self, problem: str, query: str, start: int, end: int) -> None:
        self.problem = problem
        self.start = start
        self.end = max(end, start)
        piece = query[self.start : self.end]
        where = f"character {start + 1}" + (f", {piece!a}" if piece else "")
        super().__init__("bad_query", f"at {where}: {problem}")


@dataclass(frozen=True, slots=True)
class Text:
    """What is looked for; `wild`: each * in it stands for anything."""

    text: str
    wild: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """Whole words, in this order and with what stands between them."""

    value: Text
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Substring:
    """These characters, wherever they stand."""

    text: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression (RE2) that some line of an event has."""

    text: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """A field (or, with `attribute`, an attribute) that has one of `values`; `comparison` is for levels only.

    `of`: the field is one of a kind's.
    """

    name: str
    values: tuple[Text, ...]
    comparison: str = ""
    attribute: bool = False
    negated: bool = False
    of: SearchField | None = None


@dataclass(frozen=True, slots=True)
class Either:
    """One of `queries` holds, or (negated) none does."""

    queries: tuple["Query", ...]
    negated: bool = False


Term = Words | Substring | Pattern | Filter | Either


@dataclass(frozen=True, slots=True)
class Query:
    """All of its terms have to hold."""

    terms: tuple[Term, ...] = ()

    @property
    def attributes(self) -> list[str]:
        """The names that were taken as attributes' names, for a hint when nothing was found."""
        names: list[str] = []
        for term in self.terms:
            if isinstance(term, Filter) and term.attribute:
                names.append(term.name)
            elif isinstance(term, Either):
                names += [name for query in term.queries for name in query.attributes]
        return names


def fields(kinds: Kinds) -> tuple[str, ...]:
    return (*FIELDS, *kinds.search)


def ways(kinds: Kinds) -> list[tuple[str, str]]:
    """Of writing a search, and what each finds, for people; one that ends with a colon is no search by itself."""
    events = ", ".join((*kinds.events, *OF_JOURNAL))
    found = [(way, about.format(kinds=events)) for way, about in _WAYS]
    return [*found, *((field.example, field.about) for field in kinds.search.values())]


def completions(begun: str, kinds: Kinds) -> list[str]:
    """Terms that go on as `begun`: names of fields, and values where they are few."""
    values = {"kind": (*kinds.events, *OF_JOURNAL), "level": LEVELS, "since": ("1h", "today"), "until": ("today",)}
    name, colon, _ = begun.partition(":")
    terms = [f"{name}:{value}" for value in values.get(name, ())] if colon else [f"{field}:" for field in fields(kinds)]
    return [term for term in terms if term.startswith(begun)]


def is_time(term: Term) -> bool:
    """Whether `term` is a bound of time, `since:` or `until:`."""
    return isinstance(term, Filter) and term.name in TIMES and not term.attribute


def moment(text: str, now: float, *, closing: bool = False) -> float:
    """The time that `since:` or `until:` names, in seconds since the epoch.

    Args:
        text: `2h` (back from `now`), an RFC 3339 time, a day, `today`, `yesterday`, or `17:00`: the last one before `now`.
        closing: for `until:`, so that a day is meant with all its hours.

    Raises:
        Refused: `bad_time` or `bad_duration`.
    """
    text = text.strip()
    midnight = now - now % DAY
    if (ago := _DAYS_AGO.get(text.lower())) is not None:
        return midnight - (ago - closing) * DAY
    if clock := _CLOCK.fullmatch(text):
        at = midnight + int(clock[1]) * HOUR + int(clock[2]) * MINUTE + int(clock[3] or 0)
        return at if at <= now else at - DAY
    if _DURATION.match(text) and not _DAY.match(text):
        return now - parse_duration(text)
    if closing and _DAY.fullmatch(text):
        try:
            return parse_time(datetime.combine(date.fromisoformat(text) + timedelta(days=1), time()).isoformat())
        except (ValueError, OverflowError):
            raise Refused("bad_time", raw=text) from None
    return parse_time(text)


def nearest_field(name: str, kinds: Kinds) -> str | None:
    """The field that `name` is, or is a slip of; None when it is neither.

    Attributes have any name, so only what can hardly be meant as one counts: other capitals, a plural, one letter missing,
    doubled or too many, two letters exchanged; for longer fields one wrong letter too.
    """
    low = name.lower()
    return next((field for field in fields(kinds) if low == field or (len(field) > 3 and _is_slip(low, field))), None)


def nearest_kind(name: str, kinds: Kinds) -> str | None:
    """The kind of events that `name` is a slip or the plural of; None for what may be a kind of its own."""
    return next(
        (kind for kind in (*kinds.events, *OF_JOURNAL) if name in {kind + "s", kind + "es"} or _is_slip(name, kind)),
        None,
    )


def _is_slip(word: str, known: str) -> bool:
    if word == known:
        return False
    short, long = sorted((word, known), key=len)
    if len(short) == len(long):
        wrong = [at for at, (one, other) in enumerate(zip(word, known, strict=True)) if one != other]
        if len(wrong) == 1:
            return len(known) > 4
        return (
            len(wrong) == 2
            and wrong[1] == wrong[0] + 1
            and word[wrong[0]] == known[wrong[1]]
            and (word[wrong[1]] == known[wrong[0]])
        )
    return len(long) == len(short) + 1 and any(long[:at] + long[at + 1 :] == short for at in range(len(long)))


def levels_of(comparison: str, level: str) -> tuple[str, ...]:
    """The levels that `comparison level` admits: `>=`, `warning` -> warning, error, critical."""
    rank = LEVELS.index(LEVEL_NAMES[level])
    return {
        "": LEVELS[rank : rank + 1],
        ">=": LEVELS[rank:],
        ">": LEVELS[rank + 1 :],
        "<=": LEVELS[: rank + 1],
        "<": LEVELS[:rank],
    }[comparison]
