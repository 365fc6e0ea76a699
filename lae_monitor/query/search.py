"""Searches all events of all hosts, newest first. What a search could not look at in time, its answer says."""

import time
from typing import Final

import msgspec

from lae_monitor.core.time import DAY, HOUR, format_time
from lae_monitor.query.events import MAX_ROWS, EventRow, Found, select
from lae_monitor.query.parser import parse
from lae_monitor.query.planner import LATEST, Plan, plan
from lae_monitor.store import Store, StoreError
from lae_monitor.store.driver import MEMORY_LIMIT, Parameter

TIME_LIMIT: Final = 10.0  # seconds for one search; half of it for all at once, the rest for slices of time
_SLICES: Final = (HOUR, DAY, 7 * DAY, 31 * DAY, LATEST)  # how far back each goes, when all at once took too long
_SHORTEST: Final = 0.05  # seconds; with less left there is no use in asking


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What was found.

    `matched`: how many events there are, of which `rows` are the newest; `scanned`: how many events lie in the time that was
    searched; `seconds`: how long it took. Unless `complete`, `reason` says what was not searched.
    """

    matched: int
    scanned: int
    seconds: float
    complete: bool
    rows: list[EventRow]
    reason: str = ""


class _Found(msgspec.Struct):
    rows: list[Found]
    matched: int = 0


async def search(store: Store, text: str, limit: int, now: float, *, seconds: float = TIME_LIMIT) -> Answer:
    """The newest `limit` events that `text` (see query.grammar) describes.

    Raises:
        Refused: `bad_query`.
        StoreError: for anything but a lack of time or memory, which makes the answer incomplete instead.
    """
    started = time.perf_counter()
    planned = plan(parse(text, store.kinds.events), now)
    limit = min(max(limit, 1), MAX_ROWS)
    found = _Found([])
    searched_from, reason = planned.since, ""
    if planned.since < planned.until:
        try:
            await _add(store, planned, planned.since, planned.until, limit, found, seconds / 2)
        except StoreError as error:
            if not error.transient:
                raise
            found = _Found([])
            searched_from = await _by_slices(store, planned, limit, now, found, seconds / 2)
            reason = _reason(searched_from, planned, error)
    return Answer(
        matched=found.matched,
        scanned=await _events_between(store, searched_from, planned.until),
        seconds=round(time.perf_counter() - started, 4),
        complete=not reason,
        rows=[hit.row for hit in found.rows],
        reason=reason,
    )


def _reason(searched_from: float, planned: Plan, why: StoreError) -> str:
    """What was not searched, and what helps; "" for nothing."""
    if searched_from <= planned.since:
        return ""
    limit = "the memory that the store may use" if why.code == MEMORY_LIMIT else "the time that a search may take"
    if searched_from >= planned.until:
        return f"{limit} was not enough to find anything; narrow the search with since:, host: or whole words"
    return f"{limit} was enough back to {format_time(searched_from, digits=0)}; narrow the search with since: or host:"


async def _add(
    store: Store, planned: Plan, since: float, until: float, limit: int, found: _Found, seconds: float
) -> None:
    """Adds the events between `since` and `until`, which are older than those already found."""
    started = time.perf_counter()
    where, parameters = planned.where(since, until)
    room = limit - len(found.rows)
    rows = await select(store, where, parameters, room, seconds=seconds) if room else []
    matched = len(rows)
    if matched == room:  # there may be more than there is room for
        left = max(seconds - (time.perf_counter() - started), _SHORTEST)
        matched = await _count(store, where, parameters, left)
    found.rows += rows
    found.matched += matched


async def _by_slices(store: Store, planned: Plan, limit: int, now: float, found: _Found, seconds: float) -> float:
    """Searches back from now, in growing slices, until the time is up; returns from when on everything was searched."""
    started = time.perf_counter()
    until = planned.until
    newest = min(planned.until, now)
    for back in _SLICES:
        since = max(planned.since, newest - back)
        left = seconds - (time.perf_counter() - started)
        if since >= until:
            continue
        if left < _SHORTEST:
            break
        try:
            await _add(store, planned, since, until, limit, found, left)
        except StoreError as error:
            if not error.transient:
                raise
            break
        until = since
    return until


async def _count(store: Store, where: str, parameters: dict[str, Parameter], seconds: float) -> int:
    sql = f"SELECT count() AS events FROM {{lae}}.events FINAL WHERE {where}"
    return int((await store.query(sql, parameters, seconds=seconds))[0]["events"])


async def _events_between(store: Store, since: float, until: float) -> int:
    if since >= until:
        return 0
    where, parameters = Plan().where(since, until)
    rows = await store.query(f"SELECT count() AS events FROM {{lae}}.events WHERE {where}", parameters)
    return int(rows[0]["events"])
