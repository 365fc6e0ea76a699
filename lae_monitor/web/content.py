"""What each page says, as data: the page draws it, its .json twin hands it out."""

import math
from typing import Final, NamedTuple

import msgspec

from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import LEVELS
from lae_monitor.core.time import DAY, HOUR, MINUTE, format_duration, format_time
from lae_monitor.query.events import MAX_ROWS, EventRow, arrivals
from lae_monitor.query.grammar import Filter, Query, Text, is_time
from lae_monitor.query.hosts import Host, Load, Node, hosts, load, node
from lae_monitor.query.parser import parse
from lae_monitor.query.planner import plan
from lae_monitor.query.refused_reports import RefusedLately, refused
from lae_monitor.query.search import Answer, search
from lae_monitor.query.timeline import Activity, Gap, activity, gaps, page_of, timeline
from lae_monitor.web.answering import Asked, Site

ALARMS: Final = 20  # shown on top of the fleet page
PAGE: Final = 100  # events of a timeline
RESULTS: Final = 100  # of a search
LATE: Final = 60.0  # seconds that something may wait to be moved before the fleet page says so


class Span(NamedTuple):
    """How far an overview goes back: `columns` of `column` seconds, in pieces of `bucket` seconds.

    It ends at the next multiple of `edge`, so that columns begin at midnights, or at full hours.
    """

    columns: int
    column: float
    bucket: float
    edge: float


SPANS: Final = {
    "1d": Span(6, 4 * HOUR, 10 * MINUTE, 4 * HOUR),
    "7d": Span(7, DAY, HOUR, DAY),
    "30d": Span(6, 5 * DAY, 4 * HOUR, DAY),
    "1y": Span(12, 30 * DAY, 2 * DAY, DAY),
}
FLEET: Final = ("cluster", "refresh")
HOST: Final = ("q", "kind*", "level", "before", "limit", "routine", "span")


class Trouble(msgspec.Struct, kw_only=True):
    """Something of the monitor itself that does not work; `retry` is an id for `report retry`, if that may help."""

    title: str
    detail: str = ""
    retry: str = ""


class Fleet(msgspec.Struct, kw_only=True):
    """All hosts, what alarms there were within a day, what was refused, and what is wrong with the monitor."""

    fleet: str
    now: str
    hosts: list[Host]
    complete: bool
    alarms: list[EventRow]
    alarms_matched: int
    refused: list[RefusedLately]
    trouble: list[Trouble]


class HostPage(msgspec.Struct, kw_only=True):
    """One host: what it is, its overview, and a page of its timeline, with the filters that made it."""

    cluster: str
    host: str
    now: str
    summary: Host
    node: Node | None
    events: list[EventRow]
    older: str
    q: str
    kinds: list[str]
    level: str
    routine: bool
    span: str
    activity: Activity
    load: Load | None
    gaps: list[Gap]
    refused: list[RefusedLately]


async def fleet(site: Site, asked: Asked) -> Fleet:
    """
    Raises:
        StoreError
    """
    now = site.clock()
    found = await hosts(site.store, now, cluster=asked.name("cluster"))
    alarms = await search(site.store, "kind:alarm since:1d", ALARMS, now)
    return Fleet(
        fleet=site.fleet,
        now=format_time(now),
        hosts=found.hosts,
        complete=found.complete,
        alarms=alarms.rows,
        alarms_matched=alarms.matched,
        refused=await refused(site.store, now, cluster=asked.name("cluster")),
        trouble=_trouble(site),
    )


def _trouble(site: Site) -> list[Trouble]:
    status = site.status()
    found = [
        Trouble(title=f"Archive root {root['root']} is {root['health']}", detail=str(root.get("error", "")))
        for root in status.get("archive", [])
        if root["health"] != "ok"
    ]
    mover = status.get("mover", {})
    to_come = (
        f"{mover.get('rows', 0):,} rows were moved since the start; {mover.get('waiting', 0):,} files are still to come"
    )
    found += [Trouble(title=str(notice), detail=to_come) for notice in status.get("set_aside", [])]
    if mover.get("error"):
        found.append(Trouble(title="Nothing is moved into the store", detail=str(mover["error"])))
    elif mover.get("oldest_seconds", 0) > LATE:
        waiting = f"{to_come}, the oldest waits for {format_duration(mover['oldest_seconds'])}"
        found.append(Trouble(title="The store is behind the archive", detail=waiting))
    if why := status.get("retention", {}).get("stopped"):
        detail = f"{why}. See: lae-monitor archive retire --dry-run"
        found.append(Trouble(title="Retention stopped: nothing is removed", detail=detail))
    for item in status.get("quarantine", [])[:ALARMS]:
        where = f"{item['path']}, bytes {item['start']} to {item['end']}"
        found.append(Trouble(title=f"Not understood: {where}", detail=str(item["reason"]), retry=str(item["id"])))
    return found


async def host_page(site: Site, cluster: str, host: str, asked: Asked) -> HostPage:
    """
    Raises:
        Refused: `no_such_host`, `bad_query`, `bad_parameters`.
        StoreError
    """
    now, store = site.clock(), site.store
    query, kinds, level = parse(asked.text("q"), site.store.kinds), asked.several("kind"), asked.text("level")
    narrowed = Query((*query.terms, *_filters(kinds, level)))
    span = _span(asked)
    since, until = _window(SPANS[span], now)
    known = (await hosts(store, now, cluster=cluster, host=host)).hosts
    if not known:
        raise Refused("no_such_host", f"{host} of {cluster}"[:200])
    asks_for_runs = any(kind.routine for kind in store.kinds if kind.event in kinds)
    routine = asked.flag("routine") or asks_for_runs or any(not is_time(term) for term in query.terms)
    before, limit = asked.text("before"), asked.number("limit", PAGE)
    page = await timeline(store, cluster, host, narrowed, now, before=before, limit=limit, routine=routine)
    return HostPage(
        cluster=cluster,
        host=host,
        now=format_time(now),
        summary=known[0],
        node=await node(store, cluster, host),
        events=page.events,
        older=page.older,
        q=asked.text("q"),
        kinds=kinds,
        level=level,
        routine=routine,
        span=span,
        activity=await activity(store, cluster, host, since, until, SPANS[span].bucket),
        load=await load(store, cluster, host, since, until, SPANS[span].bucket),
        gaps=await gaps(store, cluster, host, since, now),
        refused=await refused(store, now, cluster=cluster, host=host),
    )


def _span(asked: Asked) -> str:
    span = asked.text("span") or "7d"
    if span not in SPANS:
        raise Refused("bad_parameters", f"span: one of {', '.join(SPANS)}, not", raw=span)
    return span


def _window(span: Span, now: float) -> tuple[float, float]:
    until = math.ceil(now / span.edge) * span.edge
    return until - span.columns * span.column, until


def _filters(kinds: list[str], level: str) -> list[Filter]:
    """The filters of the page's own buttons, as terms of a search: any of these kinds, this level or a worse one."""
    if level and level not in LEVELS:
        raise Refused("bad_parameters", f"level: one of {', '.join(LEVELS)}, not", raw=level)
    found = [Filter("kind", tuple(map(Text, kinds)))] if kinds else []
    return [*found, Filter("level", (Text(level),), ">=")] if level else found


async def results(site: Site, asked: Asked) -> Answer:
    """
    Raises:
        Refused: `bad_query`, `bad_parameters`.
        StoreError
    """
    return await search(site.store, asked.text("q"), asked.number("limit", RESULTS), site.clock())


def attributes(site: Site, text: str) -> list[str]:
    """The names in a search that were taken for attributes, as a hint for one that found nothing."""
    return parse(text, site.store.kinds).attributes


class Events(msgspec.Struct, kw_only=True):
    """A page of events. `older`: the cursor for those before; `next`: the time to ask for what comes `after`."""

    rows: list[EventRow]
    complete: bool
    older: str
    next: str


async def events(site: Site, asked: Asked) -> Events:
    """The newest events that `q` describes, or those that came after `after`, in the order they came.

    Raises:
        Refused: `bad_query`, `bad_time`, `bad_parameters`.
        StoreError
    """
    now = site.clock()
    planned = plan(parse(asked.text("q"), site.store.kinds), now).at(asked.name("cluster"), asked.name("host"))
    limit = asked.number("limit", PAGE, most=MAX_ROWS - 1)
    after = asked.time("after")
    if after is None:
        page = await page_of(site.store, planned, before=asked.text("before"), limit=limit)
        return Events(rows=page.events, complete=not page.older, older=page.older, next=format_time(now, digits=6))
    came = await arrivals(site.store, planned, after, limit)
    last = came.rows[-1].received if came.rows else None
    return Events(rows=came.rows, complete=came.complete, older="", next=last or format_time(after, digits=6))
