"""The pages: the fleet, one host's timeline, one report, a search."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lae_monitor.core.rows import LEVELS
from lae_monitor.web import content
from lae_monitor.web.answering import Asked, Site, page, route
from lae_monitor.web.api import SEARCH, cluster_of, retry, whole_report
from lae_monitor.web.drawing import overview, sparkline
from lae_monitor.web.groups import group_pages
from lae_monitor.web.shown import days

MAX_SHOWN_HOSTS = 1_000  # on one page; search and the API have them all


def page_routes(site: Site) -> list[Route]:
    """Every address that a browser shows."""
    at = partial(route, site)
    return [
        at("/", _fleet),
        at("/search", _search),
        at("/host/{cluster}/{host}", _host),
        at("/report/{id:path}/retry", _retry, "POST"),
        at("/report/{id:path}", _report),
        *group_pages(site),
    ]


async def _fleet(site: Site, request: Request) -> Response:
    asked = Asked(request.query_params, content.FLEET)
    shown = await content.fleet(site, asked)
    refresh = asked.number("refresh", 0, least=10, most=3600)
    lines = [(host, sparkline(host)) for host in shown.hosts[:MAX_SHOWN_HOSTS]]
    worst = {level: sum(host.worst == level for host in shown.hosts) for level in reversed(LEVELS)}
    return page(
        site,
        "fleet.html",
        now=shown.now,
        page=shown,
        lines=lines,
        worst=worst,
        silent=sum(host.silent for host in shown.hosts),
        refresh=refresh,
        cluster=asked.name("cluster"),
    )


async def _search(site: Site, request: Request) -> Response:
    asked = Asked(request.query_params, SEARCH)
    limit = asked.number("limit", content.RESULTS)
    answer = await content.results(site, asked) if "q" in request.query_params else None
    shown = days(answer.rows, [], site.store.kinds, older=False) if answer else []
    return page(
        site,
        "search.html",
        q=asked.text("q"),
        answer=answer,
        days=shown,
        limit=limit,
        attributes=content.attributes(site, asked.text("q")),
    )


async def _host(site: Site, request: Request) -> Response:
    asked = Asked(request.query_params, content.HOST)
    shown = await content.host_page(site, cluster_of(request), request.path_params["host"], asked)
    cores = shown.node.cores if shown.node else 0
    columns = content.SPANS[shown.span].columns
    return page(
        site,
        "host.html",
        now=shown.now,
        page=shown,
        before=asked.text("before"),
        overview=overview(shown.activity, shown.load, shown.gaps, columns, cores),
        days=days(
            shown.events, shown.gaps if not asked.text("before") else [], site.store.kinds, older=bool(shown.older)
        ),
        levels=("warning", "error", "critical"),
        spans=list(content.SPANS),
    )


async def _report(site: Site, request: Request) -> Response:
    shown = await whole_report(site, request)
    told = {item for section in shown.sections for item in section.fields.items()}
    return page(
        site,
        "report.html",
        report=shown,
        about=f"{kind.name}/about.html" if (kind := site.store.kinds.of_event(shown.event.kind)) else "",
        event=shown.event,
        attributes=dict(shown.event.attrs.items() - told),
    )


async def _retry(site: Site, request: Request) -> Response:
    await retry(site, request)
    return page(site, "retried.html", id=request.path_params["id"])
