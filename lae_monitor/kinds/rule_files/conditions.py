"""Conditions of rules: a table in, a function out. Nothing in a file of rules is ever run. See docs/throttling.md#rules."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from operator import ge, gt, le, lt
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from lae_monitor.core.limits import KiB
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import parse_duration
from lae_monitor.kinds.rule_files.patterns import Searches, compiled
from lae_monitor.kinds.rule_files.table import NUMBER, SCALAR, SCALARS, SOME_TEXTS, TEXT, TEXTS, Kind, Table

MAX_NESTED: Final = 10  # all, any and not within each other
MAX_JSON: Final = (
    512 * KiB
)  # characters of a value that is read as JSON; Firefox's TelemetryEnvironment has 10 to 40 KiB
MAX_VERSION: Final = 100  # characters; longer texts are no version
MAX_VERSION_PARTS: Final = 12  # between dots; real ones have up to 4
MISSING: Final = object()


class Subject(Protocol):
    """A report or an event, as conditions see it. Looking at it raises nothing, whatever was sent.

    Attributes:
        now: when it was received, in seconds.
        searches: how long it may still be searched.
    """

    now: float
    searches: Searches

    def has(self, key: str) -> bool:
        """Whether it has `key`, be it empty."""

    def values(self, key: str, path: tuple[str, ...] = ()) -> Sequence[str]:
        """The texts of `key`, or of what stands at `path` in its JSON; none when there is no such thing."""


F = TypeVar("F", bound=Subject)
Condition = Callable[[F], bool]
Test = Callable[[Sequence[str], Subject], bool]
Own = Callable[[Table, str], Condition[F] | None]


def plain(_key: str, value: Any) -> str:
    """A value of TOML as a client would send it."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


class Language(NamedTuple, Generic[F]):
    """What a kind adds.

    Attributes:
        own: keys of conditions with a meaning of their own; those that search come last.
        form: brings a value that an operator wrote into the form that values of a `key` have.
    """

    own: Mapping[str, Own[F]]
    form: Callable[[str, Any], str] = plain

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys of a condition."""
        return (*self.own, "key", "json", *TESTS, "present", "absent", "all", "any", *NOT)

    def condition(self, table: Table, depth: int = 0) -> Condition[F]:
        """Holds when all that `table` says holds; a table that says nothing always does, but is wrong within another."""
        parts = [*_of_presence(table), *self._of_own(table), *self._of_value(table), *self._combined(table, depth)]
        if depth:
            table.only(self.keys)
            if not parts:
                table.problem(
                    "", f"says nothing; it wants one of {', '.join((*self.own, 'key', 'all', 'any', NOT[0]))}"
                )
        return _all(parts)

    def inner(self, table: Table, key: str) -> Condition[F] | None:
        """The condition in the table that is the value of `key`, if there is one."""
        inner = table.inner(key)
        return None if inner is None else self.condition(inner, 1)

    def _of_own(self, table: Table) -> Iterator[Condition[F]]:
        for key, make in self.own.items():
            if key in table and (made := make(table, key)) is not None:
                yield made

    def _of_value(self, table: Table) -> Iterator[Condition[F]]:
        key = table.take("key", TEXT)
        path = _path(table)
        tests = list(self._tests(table, key or ""))
        if key is None or key == "*":
            for name in (name for name in (*TESTS, "json") if name in table):
                table.problem(name, f'is about one value: key = "its name"{", and not *" if key else ""}')
        elif tests:
            yield _all([_on(key, path, test) for test in tests])
        elif path:
            yield lambda subject: bool(subject.values(key, path))
        else:
            yield lambda subject: subject.has(key)

    def _tests(self, table: Table, key: str) -> Iterator[Test]:
        for name, (kinds, make) in TESTS.items():
            value = table.take(name, *kinds)
            if value is None:
                continue
            if name in WHOLE:
                value = [self.form(key, one) for one in (value if isinstance(value, list) else [value])]
            try:
                yield make(value)
            except ValueError as error:
                table.problem(name, str(error))

    def _combined(self, table: Table, depth: int) -> Iterator[Condition[F]]:
        if depth >= MAX_NESTED:
            for name in (name for name in ("all", "any", *NOT) if name in table):
                table.problem(name, f"is nested deeper than {MAX_NESTED} levels")
            return
        every = [self.condition(inner, depth + 1) for inner in table.inners("all")]
        some = [self.condition(inner, depth + 1) for inner in table.inners("any")]
        none = [self.condition(inner, depth + 1) for name in NOT if (inner := table.inner(name)) is not None]
        if every:
            yield lambda subject: all(holds(subject) for holds in every)
        if some:
            yield lambda subject: any(holds(subject) for holds in some)
        if none:
            yield lambda subject: not any(holds(subject) for holds in none)


def short_for(test: str) -> Own[Any]:
    """A key of a kind that is short for `key = KEY, TEST = ...`, with one text or several."""

    def make(table: Table, key: str) -> Condition[Any] | None:
        if not (values := table.texts(key)):
            return None
        try:
            holds: Test = TESTS[test][1](values)
        except ValueError as error:
            table.problem(key, str(error))
            return None
        return lambda subject: holds(subject.values(key), subject)

    return make


def _all(parts: Sequence[Condition[F]]) -> Condition[F]:
    if len(parts) == 1:
        return parts[0]

    def every(subject: F) -> bool:  # a loop takes half the time of all()
        for part in parts:  # noqa: SIM110
            if not part(subject):
                return False
        return True

    return every


def _on(key: str, path: tuple[str, ...], test: Test) -> Condition[Subject]:
    return lambda subject: bool(found := subject.values(key, path)) and test(found, subject)


def _path(table: Table) -> tuple[str, ...]:
    given = table.take("json", TEXT, TEXTS)
    path = tuple(given.split(".") if isinstance(given, str) else given or ())
    if "json" in table and given is not None and not all(path or [""]):
        table.problem("json", 'is a path such as "system.os.name", or the list of its steps')
    return path


def _of_presence(table: Table) -> Iterator[Condition[Subject]]:
    present, absent = table.take("present", TEXTS), table.take("absent", TEXTS)
    if present is not None:
        yield lambda subject: all(map(subject.has, present))
    if absent is not None:
        yield lambda subject: not any(map(subject.has, absent))


# ---- tests of values: one of those that a key has passes -----------------------------------------------------------


def _one_of(values: list[str]) -> Test:
    wanted = frozenset(values)
    return lambda found, _subject: not wanted.isdisjoint(found)


def _none_of(values: list[str]) -> Test:
    unwanted = frozenset(values)
    return lambda found, _subject: unwanted.isdisjoint(found)


def _starts_with(given: str | list[str]) -> Test:
    beginnings = (given,) if isinstance(given, str) else tuple(given)
    return lambda found, _subject: any(value.startswith(beginnings) for value in found)


def _like(given: str | list[str]) -> Test:
    globs = [given] if isinstance(given, str) else given
    return lambda found, _subject: any(fnmatchcase(value, glob) for value in found for glob in globs)


def _matches(given: str | list[str]) -> Test:
    patterns = [compiled(text) for text in ([given] if isinstance(given, str) else given)]
    return lambda found, subject: any(subject.searches.find(pattern, text) for pattern in patterns for text in found)


def _compared(compare: Callable[[Any, Any], bool], read: Callable[[str], Any], what: str) -> Callable[[Any], Test]:
    """Makes tests that compare what `read` finds in a value; a value in which it finds nothing passes none."""

    def make(limit: Any) -> Test:
        wanted = read(plain("", limit))
        if wanted is None:
            raise ValueError(f"is no {what}")
        return lambda values, _subject: any(
            (found := read(value)) is not None and compare(found, wanted) for value in values
        )

    return make


def _build_older_than(text: str) -> Test:
    try:
        seconds = parse_duration(text)
    except Refused:
        raise ValueError('is no duration such as "730d"') from None
    return lambda found, subject: any((day := built(one)) is not None and day < subject.now - seconds for one in found)


def _build_before(text: str) -> Test:
    day = built(f"{text}000000") if len(text) == 8 else None
    if day is None:
        raise ValueError("is no day of the form YYYYMMDD")
    return lambda found, _subject: any((its := built(one)) is not None and its < day for one in found)


# ---- values --------------------------------------------------------------------------------------------------------

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?")
_BUILD: Final = re.compile(r"20[0-9]{12}")
_PART: Final = re.compile(r"([0-9]{1,18})(?:([^0-9]+)([0-9]{0,18})(.*))?", re.DOTALL)
_PLAIN: Final = (0, True, "", 0, "")  # the part 0, and any part that is not there

Version = tuple[tuple[int, bool, str, int, str], ...]


def number(text: str) -> float | None:
    """The number that `text` is, in decimal digits."""
    return float(text) if _NUMBER.fullmatch(text) else None


def built(text: str) -> float | None:
    """When the day began, UTC, on which a build with the id `text` was made: 20, then 12 digits, YYYYMMDDhhmmss."""
    if not _BUILD.fullmatch(text):
        return None
    try:
        return datetime.strptime(text[:8], "%Y%m%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def version(text: str) -> Version | None:
    """What versions are compared by; None when `text` is no version.

    The order is Mozilla's: parts are numbers, missing ones are 0, and a part with letters comes before the one without,
    so 60.0a1 < 60.0b2 < 60 = 60.0 < 60.0.1. The `esr` at an end, and what follows a `+`, do not count.
    """
    text = text.strip().partition("+")[0].removesuffix("esr")
    pieces = text.split(".")
    if len(text) > MAX_VERSION or len(pieces) > MAX_VERSION_PARTS:
        return None
    parts = []
    for piece in pieces:
        found = _PART.fullmatch(piece)
        if found is None:
            return None
        letters, following, rest = found[2] or "", int(found[3] or 0), found[4] or ""
        parts.append((int(found[1]), not letters, letters, following, rest))
    return (*parts, *[_PLAIN] * (MAX_VERSION_PARTS - len(parts)))


def from_json(value: Any) -> Any:
    """What a text says as JSON, MISSING when it says nothing; other values as they are."""
    if not isinstance(value, str):
        return value
    if len(value) > MAX_JSON:
        return MISSING
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return MISSING


def at_path(value: Any, path: tuple[str, ...]) -> Any:
    """What stands at `path` in objects and lists, or MISSING."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step, MISSING)
        elif isinstance(value, list) and re.fullmatch("[0-9]{1,6}", step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return MISSING
    return MISSING if value is None else value


TESTS: Final[dict[str, tuple[tuple[Kind, ...], Callable[[Any], Test]]]] = {
    "equals": ((SCALAR,), _one_of),
    "in": ((SCALARS,), _one_of),
    "not_in": ((SCALARS,), _none_of),
    "starts_with": ((TEXT, TEXTS), _starts_with),
    "like": ((TEXT, SOME_TEXTS), _like),
    "less_than": ((NUMBER,), _compared(lt, number, "number of decimal digits")),
    "at_most": ((NUMBER,), _compared(le, number, "number of decimal digits")),
    "at_least": ((NUMBER,), _compared(ge, number, "number of decimal digits")),
    "more_than": ((NUMBER,), _compared(gt, number, "number of decimal digits")),
    "version_less_than": ((TEXT,), _compared(lt, version, "version")),
    "version_at_most": ((TEXT,), _compared(le, version, "version")),
    "version_at_least": ((TEXT,), _compared(ge, version, "version")),
    "version_more_than": ((TEXT,), _compared(gt, version, "version")),
    "build_older_than": ((TEXT,), _build_older_than),
    "build_before": ((TEXT,), _build_before),
    "matches": ((TEXT, SOME_TEXTS), _matches),
}
WHOLE: Final = frozenset({"equals", "in", "not_in"})  # tests whose values are whole ones, as a list
NOT: Final = ("not", "unless")  # `unless`: the name of older classification rules
