"""Incidents: the newest with what they were found to be, how many there are of each category, the same one elsewhere."""

from dataclasses import replace
from typing import Any, Final

import msgspec

from lae_monitor.core.names import row_key
from lae_monitor.core.time import DAY, format_time
from lae_monitor.kinds.incidents.categories import Answer, Counted, categories_of, count_categories
from lae_monitor.query.decisions import group_id
from lae_monitor.query.events import EventRow, select
from lae_monitor.query.planner import LATEST, Plan
from lae_monitor.query.timeline import page_of
from lae_monitor.store import Store

KIND: Final = "incident"
WITHIN: Final = 90 * DAY  # looked at, unless something else is asked for
MAX_SUMMARY: Final = 2_000  # characters of an incident's text in a list: its trigger, and what came before
MAX_ELSEWHERE: Final = 10  # hosts with the same trigger that are named

_UNCLASSIFIED: Final = "key NOT IN (SELECT key FROM {lae}.categories FINAL)"
_COUNT: Final = "SELECT count() AS incidents FROM {lae}.events FINAL WHERE CONDITION"
_ELSEWHERE: Final = """
SELECT cluster, host, count() AS incidents, max(toUnixTimestamp64Micro(time)) AS last, argMax(id, (time, key)) AS newest
FROM {lae}.events FINAL WHERE kind = 'incident' AND `group` = {group:String} AND CONDITION
GROUP BY cluster, host ORDER BY last DESC, cluster, host LIMIT {limit:UInt32}
"""


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
