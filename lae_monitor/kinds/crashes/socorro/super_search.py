"""Socorro's SuperSearch over crashes, as much of it as programs usually ask for.

A field has one or several values: `product=Firefox`, in either letter case. An operator goes before the value, a `!` before
that negates: `=` is exactly, `~` contains, `^` begins with, `$` ends with; for dates `>`, `>=`, `<`, `<=`. Several values of
a field are alternatives; those of dates, and negated ones, all have to hold.
Source: Socorro's SuperSearch API; docs/web.md says what is left out.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import DAY, format_time, parse_time
from lae_monitor.kinds.crashes.read import RELEASE
from lae_monitor.query.planner import micros
from lae_monitor.store import Store
from lae_monitor.store.driver import Parameter

WITHIN: Final = 7 * DAY  # when no date is given, as Socorro has it
MAX_RESULTS: Final = 1_000
MAX_OFFSET: Final = 100_000
MAX_FACETS: Final = 10  # fields that are counted in one answer
MAX_FACET_SIZE: Final = 1_000
MAX_VALUES: Final = 100  # of all fields together
MAX_VALUE: Final = 500  # characters
RESULTS: Final = 100
FACET_SIZE: Final = 50


def _program(name: str, before: str) -> str:
    """The attribute `name`, which kinds.crashes.program read; `before`: in rows of readers that did not keep it."""
    return f"if(attrs['product'] != '', attrs['{name}'], {before})"


FIELDS: Final = {
    "uuid": "id",
    "product": _program("product", "splitByString(' | ', `group`)[1]"),  # a group begins with its product
    "version": RELEASE,
    "signature": "attrs['signature']",
    "host": "host",
    "cluster": "cluster",
    "platform": _program("platform", "splitByChar(' ', attrs['dump.os'])[1]"),
    "platform_version": "attrs['dump.os']",
    "cpu_arch": "attrs['dump.cpu']",
    "reason": "attrs['dump.reason']",
    "address": "attrs['dump.address']",
    "crashing_module": "attrs['dump.module']",
    "build_id": "attrs['BuildID']",
    "release_channel": _program("channel", "attrs['ReleaseChannel']"),
    "process_type": _program("process", "attrs['ProcessType']"),
    "moz_crash_reason": "attrs['MozCrashReason']",
    "minidump_sha256_hash": "attrs['upload_file_minidump.sha256']",
}
DATE: Final = "date"
_OPERATOR: Final = re.compile(r"(!?)(>=|<=|>|<|=|~|\^|\$|)")
_DATES: Final = {">": ">", ">=": ">=", "<": "<", "<=": "<="}
_TEXTS: Final = {
    "": "lowerUTF8({field}) = lowerUTF8({value})",
    "=": "{field} = {value}",
    "~": "positionCaseInsensitiveUTF8({field}, {value}) > 0",
    "^": "startsWith({field}, {value})",
    "$": "endsWith({field}, {value})",
}


class Found(msgspec.Struct, kw_only=True):
    """Socorro's answer: `total` crashes, of which `hits` are some; how often which value occurs among all, by `facets`."""

    hits: list[dict[str, str]]
    total: int
    facets: dict[str, list[dict[str, Any]]]
    errors: list[str] = []


class _Asked(NamedTuple):
    conditions: list[str]
    parameters: dict[str, Parameter]
    columns: list[str]
    facets: list[str]
    order: str
    limit: int
    offset: int
    facet_size: int


async def super_search(store: Store, items: Sequence[tuple[str, str]], now: float) -> Found:
    """
    Args:
        items: names and values of the query string, in their order.

    Raises:
        Refused: `bad_parameters`, `bad_time`.
        StoreError
    """
    asked = _asked(items, now)
    where = " AND ".join(asked.conditions)
    columns = ", ".join(f"{_column(name)} AS c{number}" for number, name in enumerate(asked.columns))
    rows = await store.query(
        f"SELECT {columns} FROM {{events}} WHERE {where} ORDER BY {asked.order} "
        "LIMIT {limit:UInt32} OFFSET {offset:UInt32}",
        {**asked.parameters, "limit": asked.limit, "offset": asked.offset},
    ) if asked.limit else []  # fmt: skip
    total = await store.query(f"SELECT count() AS total FROM {{events}} WHERE {where}", asked.parameters)
    facets = {
        name: await store.query(
            f"SELECT {_column(name)} AS term, count() AS count FROM {{events}} WHERE {where} AND term != '' "
            "GROUP BY term ORDER BY count DESC, term LIMIT {limit:UInt32}",
            {**asked.parameters, "limit": asked.facet_size},
        )
        for name in asked.facets
    }
    hits = [{name: row[f"c{number}"] for number, name in enumerate(asked.columns)} for row in rows]
    for hit in hits:
        if DATE in hit:
            hit[DATE] = format_time(int(hit[DATE]) / 1e6, digits=6)
    return Found(hits=hits, total=int(total[0]["total"]), facets=facets)


def _column(name: str) -> str:
    return "toString(toUnixTimestamp64Micro(received))" if name == DATE else FIELDS[name]


def _asked(items: Iterable[tuple[str, str]], now: float) -> _Asked:
    given: dict[str, list[str]] = {}
    for number, (name, value) in enumerate(items):
        if number >= MAX_VALUES or len(value) > MAX_VALUE:
            raise Refused(
                "bad_parameters", f"more than {MAX_VALUES} values, or one of more than {MAX_VALUE} characters"
            )
        given.setdefault(name, []).append(value)
    known = {*FIELDS, DATE, "_columns", "_facets", "_sort", "_results_number", "_results_offset", "_facets_size"}
    if unknown := given.keys() - known:
        raise Refused("bad_parameters", "this address does not take", raw=min(unknown))
    conditions, parameters = ["kind = 'crash'"], dict[str, Parameter]()
    conditions += _dates(given.get(DATE, []), parameters, now)
    for name in FIELDS:
        conditions += _field(name, given.get(name, []), parameters)
    return _Asked(
        conditions=conditions,
        parameters=parameters,
        columns=_names(given.get("_columns", ["uuid", DATE, "signature", "product", "version"]), "_columns"),
        facets=_names(given.get("_facets", ["signature"]), "_facets", of_dates=False)[:MAX_FACETS],
        order=_order(given.get("_sort", ["-date"])),
        limit=_number(given, "_results_number", RESULTS, MAX_RESULTS),
        offset=_number(given, "_results_offset", 0, MAX_OFFSET),
        facet_size=_number(given, "_facets_size", FACET_SIZE, MAX_FACET_SIZE),
    )


def _split(value: str) -> tuple[bool, str, str]:
    """Whether `value` is negated, its operator, and what is left."""
    found = _OPERATOR.match(value)
    assert found is not None  # the pattern matches nothing, too
    return bool(found[1]), found[2], value[found.end() :]


def _dates(values: Iterable[str], parameters: dict[str, Parameter], now: float) -> list[str]:
    conditions = []
    for number, value in enumerate(values):
        negated, operator, text = _split(value)
        if negated or operator not in _DATES:
            raise Refused("bad_parameters", f"{DATE}: one of > >= < <= and a time, not", raw=value)
        parameters[f"date{number}"] = micros(parse_time(text))
        conditions.append(f"received {_DATES[operator]} fromUnixTimestamp64Micro({{date{number}:Int64}}, 'UTC')")
    if not any(" >" in condition for condition in conditions):
        parameters["since"] = micros(now - WITHIN)
        conditions.append("received >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')")
    return conditions


def _field(name: str, values: Iterable[str], parameters: dict[str, Parameter]) -> list[str]:
    wanted: list[str] = []
    unwanted: list[str] = []
    for value in values:
        negated, operator, text = _split(value)
        if operator not in _TEXTS:
            raise Refused("bad_parameters", f"{name}: one of = ~ ^ $ and a text, not", raw=value)
        parameter = f"v{len(parameters)}"
        parameters[parameter] = text.removeprefix("bp-") if name == "uuid" else text
        condition = _TEXTS[operator].format(field=FIELDS[name], value=f"{{{parameter}:String}}")
        (unwanted if negated else wanted).append(f"({condition})")
    conditions = [f"NOT {condition}" for condition in unwanted]
    return [*conditions, f"({' OR '.join(wanted)})"] if wanted else conditions


def _names(values: Iterable[str], argument: str, *, of_dates: bool = True) -> list[str]:
    names = list(dict.fromkeys(value for value in values if value))
    for name in names:
        if name not in FIELDS and not (of_dates and name == DATE):
            raise Refused("bad_parameters", f"{argument}: no such field:", raw=name)
    return names


def _order(values: Iterable[str]) -> str:
    found = []
    for value in values:
        (name,) = _names([value.removeprefix("-")], "_sort") or [DATE]
        column = "received" if name == DATE else FIELDS[name]
        found.append(f"{column} DESC" if value.startswith("-") else column)
    return ", ".join([*found, "key"])


def _number(given: dict[str, list[str]], name: str, default: int, most: int) -> int:
    value = given.get(name, [str(default)])[-1]
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise Refused("bad_parameters", f"{name}: a whole number, not", raw=value)
    return min(int(value), most)
