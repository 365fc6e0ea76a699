"""Incidents in the store: the newest with their categories, counts of each category, the same trigger on other hosts.

The gatherer classifies, and writes categories to the journal; see docs/classification.md. Counts are made when they are
asked for, with the categories that hold then: after a change of rules, those of the past change, too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from lae_monitor.core.names import row_key
from lae_monitor.core.time import DAY, format_time
from lae_monitor.query.decisions import group_id
from lae_monitor.query.events import EventRow, select
from lae_monitor.query.planner import LATEST, Plan, micros
from lae_monitor.query.timeline import page_of
from lae_monitor.store import Store
from lae_monitor.store.driver import Parameter

KIND: Final = "incident"
WITHIN: Final = 90 * DAY  # looked at, unless something else is asked for
MAX_SUMMARY: Final = 2_000  # characters of an incident's text in a list: its trigger, and what came before
MAX_ELSEWHERE: Final = 10  # hosts with the same trigger that are named

_UNCLASSIFIED: Final = "key NOT IN (SELECT key FROM {lae}.categories FINAL)"
_COUNT: Final = "SELECT count() AS incidents FROM {events} WHERE CONDITION"
_ELSEWHERE: Final = """
SELECT cluster, host, count() AS incidents, max(toUnixTimestamp64Micro(time)) AS last, argMax(id, (time, key)) AS newest
FROM {events} WHERE kind = 'incident' AND `group` = {group:String} AND CONDITION
GROUP BY cluster, host ORDER BY last DESC, cluster, host LIMIT {limit:UInt32}
"""


# ---- categories ------------------------------------------------------------------------------------------------------


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
FROM (SELECT cluster, host, id, key, time FROM {{events}} WHERE kind = 'incident' AND CONDITION) AS incident
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
    """The categories of one incident, since when, and by which rules."""

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
    """The categories of some events, by their keys: `Found.key`, 32 hexadecimal digits. What is not classified is not in it.

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
    """The categories of the incident `name` of a host; None when it is not classified yet.

    Raises:
        StoreError
    """
    key = row_key("incident", cluster, host, name).hex()
    return (await categories_of(store, [key])).get(key)


def _spread(counted: tuple[list[int], list[int]]) -> list[int]:
    found = dict(zip(*counted, strict=True))
    return [found.get(number, 0) for number in range(DAYS)]


# ---- incidents --------------------------------------------------------------------------------------------------------


class Incident(msgspec.Struct, kw_only=True):
    """One incident. `categories` is empty, and so is `classified`, until it is classified; `text` is shortened."""

    id: str
    cluster: str
    host: str
    time: str
    received: str | None
    level: str
    title: str
    text: str
    categories: list[str]
    classified: str
    group: str
    group_id: str
    umid: str
    facility: str


class Incidents(msgspec.Struct, kw_only=True):
    """`matched`: how many there are since `since`, of which `incidents` are a page, the newest first.

    `older`: the cursor of the page after it; `categories`: how many there are of each, whatever category was asked for.
    """

    matched: int
    since: str
    incidents: list[Incident]
    older: str
    categories: list[Counted]


class Elsewhere(msgspec.Struct, kw_only=True):
    """The same trigger on one host: how often, and the newest one."""

    cluster: str
    host: str
    incidents: int
    last: str
    id: str


class About(msgspec.Struct, kw_only=True):
    """What an incident's page says beside the report: what it was found to be, and where else the same happened."""

    answer: Answer | None
    elsewhere: list[Elsewhere]
    hosts: int
    incidents: int


def only_incidents(planned: Plan, now: float, *, unclassified: bool = False) -> Plan:
    """`planned`, for incidents alone; from WITHIN on, if it does not say since when."""
    conditions = ("kind = 'incident'", *planned.conditions, *((_UNCLASSIFIED,) if unclassified else ()))
    return replace(planned, conditions=conditions, since=planned.since or now - WITHIN)


async def incidents(
    store: Store, planned: Plan, of_any_category: Plan, *, before: str, limit: int, now: float
) -> Incidents:
    """A page of the incidents that `planned` describes.

    Args:
        planned, of_any_category: as only_incidents() makes them; the second counts categories.

    Raises:
        Refused: `bad_parameters` for a cursor that is none.
        StoreError
    """
    page = await page_of(store, planned, before=before, limit=limit)
    where, parameters = planned.where(planned.since, planned.until)
    counted = await store.query(_COUNT.replace("CONDITION", where), parameters)
    where, parameters = of_any_category.where(of_any_category.since, of_any_category.until)
    return Incidents(
        matched=counted[0]["incidents"],
        since=format_time(planned.since),
        incidents=await _with_categories(store, page.events),
        older=page.older,
        categories=await count_categories(store, where, parameters, now),
    )


async def latest(store: Store, planned: Plan, limit: int) -> list[Incident]:
    """The incidents of `planned` that were received last, the last one first.

    Raises:
        StoreError
    """
    where, parameters = planned.where(planned.since, planned.until)
    found = await select(store, where, parameters, limit, order="received DESC, key DESC")
    return await _with_categories(store, [hit.row for hit in found])


async def about(store: Store, event: EventRow, now: float) -> About:
    """
    Raises:
        StoreError
    """
    key = key_of(event.cluster, event.host, event.id)
    answer = (await categories_of(store, [key])).get(key)
    if not event.group:
        return About(answer=answer, elsewhere=[], hosts=0, incidents=0)
    where, parameters = Plan().where(now - WITHIN, LATEST)
    sql = _ELSEWHERE.replace("CONDITION", where)
    rows = await store.query(sql, {**parameters, "group": event.group, "limit": 100_000})
    others = [row for row in rows if (row["cluster"], row["host"]) != (event.cluster, event.host)]
    return About(
        answer=answer,
        elsewhere=[_elsewhere(row) for row in others[:MAX_ELSEWHERE]],
        hosts=len(others),
        incidents=sum(row["incidents"] for row in rows),
    )


def key_of(cluster: str, host: str, name: str) -> str:
    """The key of an incident's event, by which it is the same one: 32 hexadecimal digits."""
    return row_key(KIND, cluster, host, name).hex()


def _elsewhere(row: dict[str, Any]) -> Elsewhere:
    return Elsewhere(
        cluster=row["cluster"],
        host=row["host"],
        incidents=row["incidents"],
        last=format_time(row["last"] / 1e6),
        id=row["newest"],
    )


async def _with_categories(store: Store, rows: list[EventRow]) -> list[Incident]:
    answers = await categories_of(store, [key_of(row.cluster, row.host, row.id) for row in rows])
    return [_incident(row, answers.get(key_of(row.cluster, row.host, row.id))) for row in rows]


def _incident(row: EventRow, answer: Answer | None) -> Incident:
    return Incident(
        id=row.id,
        cluster=row.cluster,
        host=row.host,
        time=row.time,
        received=row.received,
        level=row.level,
        title=row.title,
        text=row.text[:MAX_SUMMARY],
        categories=answer.categories if answer else [],
        classified=answer.time if answer else "",
        group=row.group,
        group_id=group_id(row.kind, row.group) if row.group else "",
        umid=row.attrs.get("umid", ""),
        facility=row.attrs.get("facility", ""),
    )
