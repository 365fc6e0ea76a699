"""Conditions of throttle rules: data in, a function out. Nothing in a rules file is ever run. See docs/throttling.md."""

import re
from collections.abc import Callable, Iterator, Mapping
from operator import ge, gt, le, lt
from typing import Any, Final, NamedTuple

from lae_monitor.config.rule_table import NUMBER, SCALAR, SCALARS, TEXT, TEXTS, Kind, Table
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import parse_duration
from lae_monitor.kinds.crashes.program import clean
from lae_monitor.kinds.crashes.throttle_facts import ONE_VALUE, Facts, built, number, version

MAX_NESTED: Final = 10  # all, any and not within each other
MAX_SEARCHED: Final = 256  # characters of a value that a pattern sees: the cost of a search grows with a power of it
MAX_REPEATS: Final = 3  # repeats without limit in a pattern: that power
FEW: Final = 10  # a repeat of up to this many times is one with a limit

PRODUCT: Final = "ProductName"
PACKAGE: Final = "Android_PackageName"

Condition = Callable[[Facts], bool]
Test = Callable[[str, Facts], bool]


class Lists(NamedTuple):
    """What is supported: products, and packages of those products that have some. Empty: everything."""

    products: frozenset[str]
    packages: Mapping[str, frozenset[str]]


def condition(table: Table, lists: Lists, depth: int = 0) -> Condition:
    """What `table` asks of a report: everything that it says has to hold; what says nothing always holds."""
    parts = [*_of_value(table), *_of_presence(table), *_of_lists(table, lists), *_combined(table, lists, depth)]
    if depth:
        table.only(KEYS)
        if not parts:
            table.problem("", "a condition that says nothing")
    return parts[0] if len(parts) == 1 else lambda facts: all(part(facts) for part in parts)


# ---- the value of an annotation ------------------------------------------------------------------------------------


def _of_value(table: Table) -> Iterator[Condition]:
    key = table.take("key", TEXT)
    path = _path(table)
    tests = list(_tests(table, clean if key in ONE_VALUE else _plain))
    if key is None or key == "*":
        for name in (name for name in (*TESTS, "json") if name in table):
            table.problem(name, f'is about one annotation: key = "its name"{", and not *" if key else ""}')
        return
    if tests:
        yield lambda facts: (value := facts.text(key, path)) is not None and all(test(value, facts) for test in tests)
    elif path:
        yield lambda facts: facts.text(key, path) is not None
    else:
        yield lambda facts: facts.has(key)


def _path(table: Table) -> tuple[str, ...]:
    given = table.take("json", TEXT, TEXTS)
    path = tuple(given.split(".") if isinstance(given, str) else given or ())
    if "json" in table and given is not None and not all(path or [""]):
        table.problem("json", 'is a path such as "system.os.name", or the list of its steps')
    return path


def _tests(table: Table, form: Callable[[Any], str]) -> Iterator[Test]:
    """`form` gives whole values the form of the annotation that they are compared with."""
    for name, (kinds, make) in TESTS.items():
        value = table.take(name, *kinds)
        if value is None:
            continue
        if name in WHOLE:
            value = [form(one) for one in (value if isinstance(value, list) else [value])]
        try:
            yield make(value)
        except ValueError as error:
            table.problem(name, str(error))


def _plain(value: Any) -> str:
    """A value of TOML as a client would send it."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _one_of(values: list[str]) -> Test:
    wanted = frozenset(values)
    return lambda value, _facts: value in wanted


def _none_of(values: list[str]) -> Test:
    unwanted = frozenset(values)
    return lambda value, _facts: value not in unwanted


def _starts_with(given: str | list[str]) -> Test:
    beginnings = (given,) if isinstance(given, str) else tuple(given)
    return lambda value, _facts: value.startswith(beginnings)


def _matches(text: str) -> Test:
    _check_cost(text)
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return lambda value, _facts: pattern.search(value[:MAX_SEARCHED]) is not None


def _compared(compare: Callable[[Any, Any], bool], read: Callable[[str], Any], what: str) -> Callable[[Any], Test]:
    """Makes tests that compare what `read` finds in a value; a value in which it finds nothing passes none."""

    def make(limit: Any) -> Test:
        wanted = read(_plain(limit))
        if wanted is None:
            raise ValueError(f"is no {what}")
        return lambda value, _facts: (found := read(value)) is not None and compare(found, wanted)

    return make


def _build_older_than(text: str) -> Test:
    try:
        seconds = parse_duration(text)
    except Refused:
        raise ValueError('is no duration such as "730d"') from None
    return lambda value, facts: (day := built(value)) is not None and day < facts.now - seconds


def _build_before(text: str) -> Test:
    day = built(f"{text}000000") if len(text) == 8 else None
    if day is None:
        raise ValueError("is no day of the form YYYYMMDD")
    return lambda value, _facts: (found := built(value)) is not None and found < day


TESTS: Final[dict[str, tuple[tuple[Kind, ...], Callable[[Any], Test]]]] = {
    "equals": ((SCALAR,), _one_of),
    "in": ((SCALARS,), _one_of),
    "not_in": ((SCALARS,), _none_of),
    "matches": ((TEXT,), _matches),
    "starts_with": ((TEXT, TEXTS), _starts_with),
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
}
WHOLE: Final = frozenset({"equals", "in", "not_in"})  # tests whose values are whole ones, as a list
KEYS: Final = ("key", "json", *TESTS, "present", "absent", "unlisted", "all", "any", "not")


# ---- patterns that take too long -----------------------------------------------------------------------------------

_PIECE: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{[0-9]*,?[0-9]*\}|\(\?|.", re.DOTALL)


def _check_cost(pattern: str) -> None:
    """Refuses patterns that hostile values could make run for ever.

    Raises:
        ValueError
    """
    groups, closed, repeats, before = [False], False, 0, ""  # of each open group: whether it can match in several ways
    for piece in (found[0] for found in _PIECE.finditer(pattern)):
        is_repeat = _has_no_limit(piece)
        if piece.startswith("(") and len(piece) <= 2:
            groups.append(False)
        elif is_repeat and closed:
            raise ValueError("repeats what itself repeats or has a choice, which can take for ever: write it otherwise")
        elif is_repeat or piece == "|" or (piece == "?" and not before.startswith("(")):
            groups[-1] = True
        closed = piece == ")" and groups[-1]
        if piece == ")" and len(groups) > 1:
            inside = groups.pop()
            groups[-1] = groups[-1] or inside
        repeats += is_repeat and not piece[1:-1].isdecimal()
        before = piece
    if repeats > MAX_REPEATS:
        raise ValueError(
            f"has more than {MAX_REPEATS} repeats without a limit, which can take long: write it otherwise"
        )


def _has_no_limit(piece: str) -> bool:
    if piece in {"*", "+"}:
        return True
    if not piece.startswith("{") or len(piece) < 3:
        return False
    most = piece[1:-1].rpartition(",")[2]
    return not most or int(most) > FEW


# ---- the rest ------------------------------------------------------------------------------------------------------


def _of_presence(table: Table) -> Iterator[Condition]:
    present, absent = table.take("present", TEXTS), table.take("absent", TEXTS)
    if present is not None:
        yield lambda facts: all(map(facts.has, present))
    if absent is not None:
        yield lambda facts: not any(map(facts.has, absent))


def _of_lists(table: Table, lists: Lists) -> Iterator[Condition]:
    what = table.take("unlisted", TEXT)
    if what == "product":
        yield lambda facts: bool(lists.products) and facts.text(PRODUCT) not in lists.products
    elif what == "package":
        yield lambda facts: _has_other_package(facts, lists)
    elif what is not None:
        table.problem("unlisted", 'is "product" or "package"')


def _has_other_package(facts: Facts, lists: Lists) -> bool:
    packages = lists.packages.get(facts.text(PRODUCT) or "")
    return bool(packages) and facts.text(PACKAGE) not in (packages or ())


def _combined(table: Table, lists: Lists, depth: int) -> Iterator[Condition]:
    if depth >= MAX_NESTED:
        for name in (name for name in ("all", "any", "not") if name in table):
            table.problem(name, f"is nested deeper than {MAX_NESTED} levels")
        return
    every = [condition(inner, lists, depth + 1) for inner in table.inners("all")]
    some = [condition(inner, lists, depth + 1) for inner in table.inners("any")]
    if every:
        yield lambda facts: all(holds(facts) for holds in every)
    if some:
        yield lambda facts: any(holds(facts) for holds in some)
    negated = table.inner("not")
    if negated is not None:
        holds = condition(negated, lists, depth + 1)
        yield lambda facts: not holds(facts)
