"""Searches all events of all hosts, newest first. What a search could not look at in time, its answer says.

Rows are looked for from the newest back, in pieces of time that grow until there are enough: the newest hundred cost the
same however many there are. They are counted beside that: all where an index does it, else as far back as costs little.
"""

import asyncio
import time
from dataclasses import replace
from typing import Final, NamedTuple

import msgspec

from lae_monitor.core.time import format_time
from lae_monitor.query.events import MAX_ROWS, EventRow, Found, count, select
from lae_monitor.query.grammar import BadQuery
from lae_monitor.query.parser import parse
from lae_monitor.query.planner import Plan, plan
from lae_monitor.store import Store, StoreError
from lae_monitor.store.driver import BAD_PATTERN, MEMORY_LIMIT, TIMEOUT

TIME_LIMIT: Final = 10.0  # seconds for one search
FIRST: Final = 50_000  # events in the newest piece of time, where no index says how many of them match
COUNTED: Final = 300_000  # events that are looked at to count, where no index counts
_ENOUGH: Final = 3  # the newest piece of time should have so many times the rows that are wanted
_GROWTH: Final = 6  # each piece of time has so many times the events of the one after it
_LEAST: Final = (
    0.001  # of an event in a piece of time, on average; what even that is too long for is not a matter of time
)
_SHORTEST: Final = 0.05  # seconds; with less left there is no use in asking
_MONTHS: Final = """
SELECT toYYYYMM(time) AS month, count() AS events, toUnixTimestamp64Micro(min(time)) AS first,
  toUnixTimestamp64Micro(max(time)) AS last
FROM {{lae}}.events WHERE {where} GROUP BY month ORDER BY month DESC
"""


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What was found.

    `matched`: how many events there are, of which `rows` are the newest; `scanned`: how many events of the hosts in question
    lie in the time that was searched; `seconds`: how long it took. Unless `complete`, `reason` says what was not searched or
    not counted, and there are at least `matched`.
    """

    matched: int
    scanned: int
    seconds: float
    complete: bool
    rows: list[EventRow]
    reason: str = ""


class _Month(NamedTuple):
    events: int
    first: float  # seconds since the epoch
    last: float


class _Reach(NamedTuple):
    """The events that lie in a time: by months, the newest first, so that a few with a wrong clock distort nothing."""

    since: float
    months: list[_Month]

    @property
    def events(self) -> int:
        return sum(month.events for month in self.months)

    def back(self, events: float) -> float:
        """The time since when there are about so many of them."""
        for month in self.months:
            if events < month.events:
                return max(month.last - (month.last - month.first) * events / month.events, self.since)
            events -= month.events
        return self.since


class _Rows(NamedTuple):
    """The newest events, of those since `since`; `error` says why not all were looked at."""

    rows: list[Found]
    since: float
    error: StoreError | None


async def search(store: Store, text: str, limit: int, now: float, *, seconds: float = TIME_LIMIT) -> Answer:
    """The newest `limit` events that `text` (see query.grammar) describes.

    Raises:
        Refused: `bad_query`.
        StoreError: for anything but a lack of time or memory, which makes the answer incomplete instead.
    """
    started = time.perf_counter()
    planned = plan(parse(text, store.kinds), now)
    limit = min(max(limit, 1), MAX_ROWS)
    reach = await _reach(store, planned, planned.since)
    counted_from = planned.since if planned.indexed else reach.back(COUNTED)
    counting = asyncio.create_task(_count(store, planned, counted_from, seconds / 2)) if reach.events > FIRST else None
    matched: int | None
    try:
        first: float = FIRST
        if counting and planned.indexed and (matched := await counting) is not None:
            first = _ENOUGH * limit * reach.events / max(matched, 1)
        found = await _newest(store, planned, reach, first, limit, seconds - (time.perf_counter() - started))
        matched = len(found.rows)
        if found.error is not None or matched == limit:
            matched = await (counting or _count(store, planned, counted_from, seconds / 2))
    except StoreError as error:
        if error.code == BAD_PATTERN:
            raise BadQuery("the engine (RE2) has no such regular expression", text, 0, len(text)) from None
        raise
    finally:
        if counting:
            counting.cancel()
    rows = len(found.rows)
    if found.error is not None:
        reason = _not_searched(found.since, planned, found.error)
    else:
        reason = _not_counted(counted_from, planned, matched) if rows == limit else ""
    scanned = reach.events
    if found.error is not None:
        scanned = (await _reach(store, planned, found.since)).events
    return Answer(
        matched=max(matched or 0, rows),
        scanned=scanned,
        seconds=round(time.perf_counter() - started, 4),
        complete=not reason,
        rows=[hit.row for hit in found.rows],
        reason=reason,
    )


def _not_searched(since: float, planned: Plan, why: StoreError) -> str:
    """What was not searched, and what helps."""
    limit = "the memory that the store may use" if why.code == MEMORY_LIMIT else "the time that a search may take"
    if since >= planned.until:
        return f"{limit} was not enough to find anything; narrow the search with since:, host: or whole words"
    return f"{limit} was enough back to {format_time(since, digits=0)}; narrow the search with since: or host:"


def _not_counted(since: float, planned: Plan, matched: int | None) -> str:
    """What was not counted, and what helps; "" where all was."""
    if matched is None:
        return "to count them takes longer than a search may; narrow it with since: or host:"
    if since <= planned.since:
        return ""
    return (
        f"only those since {format_time(since, digits=0)} were counted, for no index does it; "
        "to count all, narrow the search with since: or host:"
    )


async def _newest(store: Store, planned: Plan, reach: _Reach, first: float, limit: int, seconds: float) -> _Rows:
    """The newest events of `planned`; `first`: how many events of any sort to look at before going further back."""
    started = time.perf_counter()
    rows: list[Found] = []
    until, events = planned.until, first
    while until > reach.since or until == planned.until:
        since = reach.back(events) if events < reach.events else reach.since
        left = seconds - (time.perf_counter() - started)
        if left < _SHORTEST:
            return _Rows(rows, until, StoreError("the time is over", TIMEOUT))
        try:
            where, parameters = planned.where(since, until)
            rows += await select(store, where, parameters, limit - len(rows), seconds=left / 2)
        except StoreError as error:
            if not error.transient:
                raise
            events = min(events, reach.events) / _GROWTH**2
            if until < planned.until or events < _LEAST:
                return _Rows(rows, until, error)
            continue
        until, events = since, events * _GROWTH
        if len(rows) == limit or since <= reach.since:
            break
    return _Rows(rows, until, None)


async def _count(store: Store, planned: Plan, since: float, seconds: float) -> int | None:
    """How many events of `planned` there are since `since`; None when counting them takes too long."""
    try:
        return await count(store, *planned.where(since, planned.until), seconds)
    except StoreError as error:
        if not error.transient:
            raise
        return None


async def _reach(store: Store, planned: Plan, since: float) -> _Reach:
    if since >= planned.until:
        return _Reach(since, [])
    where, parameters = replace(planned, conditions=planned.places).where(since, planned.until)
    rows = await store.query(_MONTHS.format(where=where), parameters)
    return _Reach(since, [_Month(int(row["events"]), row["first"] / 1e6, row["last"] / 1e6) for row in rows])
