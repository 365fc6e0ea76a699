"""The incidents: the newest ones, and how many there are of each category; as a page, as JSON, and as an Atom feed."""

from dataclasses import replace
from functools import partial
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lae_monitor.core.kind import Kinds
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import LEVELS
from lae_monitor.kinds.incidents.feed import ENTRIES, MEDIA_TYPE, Feed
from lae_monitor.kinds.incidents.questions import Incidents, incidents, latest, only_incidents
from lae_monitor.query.events import MAX_ROWS
from lae_monitor.query.grammar import Filter, Query, Text, moment
from lae_monitor.query.parser import parse
from lae_monitor.query.planner import Plan, plan
from lae_monitor.web.answering import Site, as_json, page, route
from lae_monitor.web.asked import Asked
from lae_monitor.web.drawing import bars

FILTERS: Final = ("q", "cluster", "host", "category", "level", "since")
LIST: Final = (*FILTERS, "before", "limit")
PAGE: Final = 100  # incidents of a list
UNCLASSIFIED: Final = "-"  # as a category: those that are not classified yet
SHOWN_CATEGORIES: Final = 40  # on the page; the API has them all
TIMES: Final = ("1d", "7d", "30d", "90d")


def routes(site: Site) -> list[Route]:
    """The addresses of incidents."""
    at = partial(route, site)
    return [
        at("/incidents", _page),
        at("/incidents.json", as_json(_list)),
        at("/api/incidents", as_json(_list)),
        at("/incidents.atom", _feed),
    ]


async def listed(site: Site, asked: Asked) -> Incidents:
    """
    Raises:
        Refused: `bad_query`, `bad_parameters`, `bad_time`, `bad_duration`.
        StoreError
    """
    now = site.clock()
    return await incidents(
        site.store,
        _planned(asked, now, asked.text("category"), site.store.kinds),
        _planned(asked, now, "", site.store.kinds),
        before=asked.text("before"),
        limit=asked.number("limit", PAGE, most=MAX_ROWS - 1),
        now=now,
    )


def _planned(asked: Asked, now: float, category: str, kinds: Kinds) -> Plan:
    """The incidents that are asked for, of `category` ("" for any)."""
    terms = list(parse(asked.text("q"), kinds.events).terms)
    if level := asked.text("level"):
        if level not in LEVELS:
            raise Refused("bad_parameters", f"level: one of {', '.join(LEVELS)}, not", raw=level)
        terms.append(Filter("level", (Text(level),), ">="))
    if category and category != UNCLASSIFIED:
        terms.append(Filter("category", (Text(category),)))
    planned = plan(Query(tuple(terms)), now)
    for name in ("cluster", "host"):
        if value := asked.name(name):
            planned = planned.narrowed(name, value)
    if since := asked.text("since"):
        planned = replace(planned, since=max(planned.since, moment(since, now)))
    return only_incidents(planned, now, unclassified=category == UNCLASSIFIED)


async def _list(site: Site, request: Request) -> Incidents:
    return await listed(site, Asked(request.query_params, LIST))


async def _page(site: Site, request: Request) -> Response:
    asked = Asked(request.query_params, LIST)
    found = await listed(site, asked)
    filters = {name: asked.text(name) for name in FILTERS}
    return page(
        site,
        "incidents.html",
        found=found,
        categories=[(one, bars(one.days, "info")) for one in found.categories[:SHOWN_CATEGORIES]],
        asked=filters,
        before=asked.text("before"),
        feed=_narrowed(filters),
        levels=("warning", "error", "critical"),
        times=TIMES,
    )


async def _feed(site: Site, request: Request) -> Response:
    asked = Asked(request.query_params, FILTERS)
    found = await latest(site.store, _planned(asked, site.clock(), asked.text("category"), site.store.kinds), ENTRIES)
    base = f"{request.url.scheme}://{request.url.netloc}"
    feed = Feed(found, site.fleet, base, _narrowed({name: asked.text(name) for name in FILTERS}))
    headers = {"ETag": feed.etag, "Last-Modified": feed.modified, "Cache-Control": "no-cache"}
    if feed.is_known(request.headers.get("if-none-match"), request.headers.get("if-modified-since")):
        return Response(status_code=304, headers=headers)
    return Response(feed.body, headers=headers, media_type=MEDIA_TYPE)


def _narrowed(filters: dict[str, str]) -> str:
    """The filters as the query of an address, always in one order: a feed is known by it."""
    return urlencode({name: filters[name] for name in FILTERS if filters[name]})
