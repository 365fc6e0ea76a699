"""One host's timeline: its events newest first and page by page, and the times at which it was not heard."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import msgspec

from lae_monitor.core.kind import Kinds
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import LEVELS
from lae_monitor.core.time import format_time
from lae_monitor.query.events import MAX_ROWS, RANK, EventRow, select
from lae_monitor.query.grammar import Query
from lae_monitor.query.hosts import SILENT_AFTER
from lae_monitor.query.planner import LATEST, Plan, micros, plan
from lae_monitor.store import Store
from lae_monitor.store.driver import Parameter

MAX_GAPS: Final = 100
MAX_BUCKETS: Final = 400  # of an overview; more are narrower than a pixel
MAX_SPANS: Final = MAX_BUCKETS * 12  # kinds times buckets

_CURSOR: Final = re.compile(r"([0-9]{1,16})-([0-9a-f]{32})")
_GAPS: Final = """
SELECT previous, at FROM (
  SELECT at, lagInFrame(at, 1, {since:Int64}) OVER (ORDER BY at) AS previous FROM (
    SELECT DISTINCT toUnixTimestamp64Micro(time) AS at FROM {lae}.events
    WHERE cluster = {cluster:String} AND host = {host:String} AND kind IN {kinds:Array(String)}
      AND time >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
    UNION ALL SELECT {until:Int64} AS at
  )
) WHERE at - previous > {gap:Int64} ORDER BY at DESC LIMIT {limit:UInt32}
"""
_FIRST: Final = """
SELECT count() AS events, toUnixTimestamp64Micro(min(time)) AS first FROM {lae}.events
WHERE cluster = {cluster:String} AND host = {host:String} AND kind IN {kinds:Array(String)}
  AND time < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
"""
_ACTIVITY: Final = f"""
SELECT kind, intDiv(toUnixTimestamp64Micro(time) - {{since:Int64}}, {{bucket:Int64}}) AS bucket, count() AS events,
  max({RANK}) AS worst
FROM {{events}}
WHERE cluster = {{cluster:String}} AND host = {{host:String}}
  AND time >= fromUnixTimestamp64Micro({{since:Int64}}, 'UTC') AND time < fromUnixTimestamp64Micro({{until:Int64}}, 'UTC')
GROUP BY kind, bucket ORDER BY kind, bucket LIMIT {{limit:UInt32}}
"""


class Page(msgspec.Struct, kw_only=True):
    """Events, newest first; `older` is the cursor of the page after, "" on the last."""

    events: list[EventRow]
    older: str = ""


class Gap(msgspec.Struct, kw_only=True):
    """No sample came from `start` to `end`, for `seconds`; `open` while it lasts."""

    start: str
    end: str
    seconds: float
    open: bool = False


class Bucket(msgspec.Struct, kw_only=True):
    """What happened of one kind in one piece of time: `at` counts pieces from the start of the overview."""

    kind: str
    at: int
    events: int
    worst: str


class Activity(msgspec.Struct, kw_only=True):
    """An overview from `since` to `until` (seconds since the epoch) in pieces of `bucket` seconds, without empty ones."""

    since: float
    until: float
    bucket: float
    buckets: list[Bucket]


async def timeline(
    store: Store,
    cluster: str,
    host: str,
    query: Query,
    now: float,
    *,
    before: str = "",
    limit: int = 100,
    routine: bool = True,
) -> Page:
    """A page of the events of one host that `query` describes, those before the cursor `before`.

    Args:
        routine: with what kinds call routine, such as runs of Sonar in which nothing was wrong: one every few minutes.

    Raises:
        Refused: `bad_parameters` for a cursor that is none.
        StoreError
    """
    planned = plan(query, now).narrowed("cluster", cluster).narrowed("host", host)
    if not routine:
        planned = replace(planned, conditions=(*planned.conditions, *_not_routine(store.kinds)))
    return await page_of(store, planned, before=before, limit=limit)


def _not_routine(kinds: Kinds) -> Iterator[str]:
    """Conditions that leave out what the kinds call routine; their names and levels are ours."""
    for kind in kinds:
        for level in kind.routine:
            yield f"NOT (kind = '{kind.event}' AND level = '{level}')"


async def page_of(store: Store, planned: Plan, *, before: str, limit: int) -> Page:
    """A page of `planned`, of any host.

    Raises:
        Refused: `bad_parameters` for a cursor that is none.
        StoreError
    """
    where, parameters = planned.where(planned.since, planned.until)
    if before:
        condition, cursor = _before(before)
        where, parameters = f"{where} AND {condition}", {**parameters, **cursor}
    limit = min(max(limit, 1), MAX_ROWS - 1)
    found = await select(store, where, parameters, limit + 1)
    older = found[limit - 1].cursor if len(found) > limit else ""
    return Page(events=[hit.row for hit in found[:limit]], older=older)


def _before(cursor: str) -> tuple[str, dict[str, Parameter]]:
    parsed = _CURSOR.fullmatch(cursor)
    if parsed is None or int(parsed[1]) > micros(LATEST):
        raise Refused("bad_parameters", "before: not a cursor of ours", raw=cursor)
    condition = (
        "(time, key) < (fromUnixTimestamp64Micro({before:Int64}, 'UTC'), toFixedString(unhex({before_key:String}), 16))"
    )
    return condition, {"before": int(parsed[1]), "before_key": parsed[2]}


async def gaps(store: Store, cluster: str, host: str, since: float, until: float) -> list[Gap]:
    """When a host that sends something regular sent none for longer than SILENT_AFTER, newest first; none for other hosts.

    Raises:
        StoreError
    """
    place: dict[str, Parameter] = {"cluster": cluster, "host": host, "until": micros(until)}
    place["kinds"] = [kind.event for kind in store.kinds.regular]
    first = (await store.query(_FIRST, place))[0]
    if not first["events"]:
        return []
    start = max(micros(since), first["first"])
    rows = await store.query(_GAPS, {**place, "since": start, "gap": micros(SILENT_AFTER), "limit": MAX_GAPS})
    return [
        Gap(
            start=format_time(row["previous"] / 1e6),
            end=format_time(row["at"] / 1e6),
            seconds=(row["at"] - row["previous"]) / 1e6,
            open=row["at"] == micros(until),
        )
        for row in rows
    ]


async def activity(store: Store, cluster: str, host: str, since: float, until: float, bucket: float) -> Activity:
    """How much happened when, by kind.

    Raises:
        StoreError
    """
    bucket = max(bucket, (until - since) / MAX_BUCKETS)
    parameters: dict[str, Parameter] = {
        "cluster": cluster,
        "host": host,
        "since": micros(since),
        "until": micros(until),
        "bucket": int(bucket * 1e6),
        "limit": MAX_SPANS,
    }
    rows = await store.query(_ACTIVITY, parameters)
    return Activity(since=since, until=until, bucket=bucket, buckets=[_bucket(row) for row in rows])


def _bucket(row: dict[str, Any]) -> Bucket:
    worst = LEVELS[row["worst"] - 1] if row["worst"] else ""
    return Bucket(kind=row["kind"], at=row["bucket"], events=row["events"], worst=worst)
