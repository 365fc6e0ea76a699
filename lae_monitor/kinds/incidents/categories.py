"""What incidents were found to be: the categories of some, and how many there are of each, over time.

The gatherer classifies, and says in the journal what it found; see docs/classification.md. Counts are made when they are
asked for, of the answers that hold then: after rules have changed, those of the past change, too.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from lae_monitor.core.names import row_key
from lae_monitor.core.time import DAY, format_time
from lae_monitor.query.planner import micros
from lae_monitor.store import Store
from lae_monitor.store.driver import Parameter

DAYS: Final = 30
MAX_CATEGORIES: Final = 500  # of one answer
MAX_HOSTS: Final = 8  # that a row names
UNCLASSIFIED: Final = ""  # in place of a category: not classified yet

_HOSTS: Final = "sumMap(map(host, toUInt64(1)))"
_MOST: Final = (
    f"arraySlice(arrayMap(pair -> pair.1, arraySort(pair -> (-toInt64(pair.2), pair.1), "
    f"arrayZip(mapKeys({_HOSTS}), mapValues({_HOSTS})))), 1, {MAX_HOSTS})"
)
_AT: Final = "toUnixTimestamp64Micro(time)"
_COUNTED: Final = f"""
SELECT arrayJoin(if(empty(found.categories), [''], found.categories)) AS category, count() AS incidents,
  uniqExact(cluster, host) AS places, {_MOST} AS hosts, min({_AT}) AS first, max({_AT}) AS last,
  argMax((id, cluster, host), (time, key)) AS newest,
  sumMapIf([toUInt16(intDiv(greatest({_AT} - {{month:Int64}}, 0), 86400000000))], [toUInt64(1)],
    {_AT} >= {{month:Int64}} AND {_AT} < {{now:Int64}}) AS days
FROM (SELECT cluster, host, id, key, time FROM {{lae}}.events FINAL WHERE kind = 'incident' AND CONDITION) AS incident
LEFT JOIN (SELECT key, categories FROM {{lae}}.categories FINAL) AS found ON incident.key = found.key
GROUP BY category ORDER BY incidents DESC, category LIMIT {{limit:UInt32}}
"""
_OF: Final = """
SELECT lower(hex(key)) AS row, categories, toUnixTimestamp64Micro(time) AS at, rules FROM {lae}.categories FINAL
WHERE lower(hex(key)) IN {keys:Array(String)} AND key IN (SELECT unhex(arrayJoin({keys:Array(String)})))
"""


class Counted(msgspec.Struct, kw_only=True):
    """One category: how many incidents are of it, an incident of two categories in both.

    `category` is "" for those that are not classified yet; `places`: hosts, of which `hosts` names those with the most;
    `days`: how many on each of the last 30 days, oldest first; `id`, `cluster`, `host`: the newest one.
    """

    category: str
    incidents: int
    places: int
    hosts: list[str]
    first: str
    last: str
    id: str
    cluster: str
    host: str
    days: list[int]


class Answer(msgspec.Struct, kw_only=True):
    """What one incident was found to be, when, and by which rules."""

    categories: list[str]
    time: str
    rules: str


async def count_categories(store: Store, where: str, parameters: Mapping[str, Parameter], now: float) -> list[Counted]:
    """How many incidents there are of each category, the most frequent first.

    Args:
        where, parameters: which events, as `Plan.where` gives them; those that are no incidents do not count.

    Raises:
        StoreError
    """
    sql = _COUNTED.replace("CONDITION", f"({where})")
    times = {"now": micros(now), "month": micros(now - DAYS * DAY)}
    rows = await store.query(sql, {**parameters, **times, "limit": MAX_CATEGORIES})
    return [
        Counted(
            category=row["category"],
            incidents=row["incidents"],
            places=row["places"],
            hosts=row["hosts"],
            first=format_time(row["first"] / 1e6),
            last=format_time(row["last"] / 1e6),
            id=row["newest"][0],
            cluster=row["newest"][1],
            host=row["newest"][2],
            days=_spread(row["days"]),
        )
        for row in rows
    ]


async def categories_of(store: Store, keys: Iterable[str]) -> dict[str, Answer]:
    """What is known of some events, by their keys: `Found.key`, 32 hexadecimal digits. What is not classified is not in it.

    Raises:
        StoreError
    """
    wanted = sorted({key.lower() for key in keys})
    if not wanted:
        return {}
    rows = await store.query(_OF, {"keys": wanted})
    return {
        row["row"]: Answer(categories=row["categories"], time=format_time(row["at"] / 1e6), rules=row["rules"])
        for row in rows
    }


async def categories_of_incident(store: Store, cluster: str, host: str, name: str) -> Answer | None:
    """What the incident `name` of a host was found to be; None when it is not classified yet.

    Raises:
        StoreError
    """
    key = row_key("incident", cluster, host, name).hex()
    return (await categories_of(store, [key])).get(key)


def _spread(counted: tuple[list[int], list[int]]) -> list[int]:
    found = dict(zip(*counted, strict=True))
    return [found.get(number, 0) for number in range(DAYS)]
