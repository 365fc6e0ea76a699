"""The addresses for programs: /api/..., and the .json twins of the pages."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import PurePosixPath

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from lae_monitor.core.kind import load
from lae_monitor.core.refusals import Refused
from lae_monitor.query.events import EventRow
from lae_monitor.query.hosts import Host, Hosts, hosts
from lae_monitor.query.reports import Report, find, original, report
from lae_monitor.query.search import Answer
from lae_monitor.web import content
from lae_monitor.web.answering import Asked, Site, as_csv, as_json, route
from lae_monitor.web.groups import group_api

SEARCH = ("q", "limit")
EVENTS = ("q", "cluster", "host", "before", "after", "limit")
HOSTS = ("cluster", "host")
REPORT = ("cluster", "host")


def api_routes(site: Site) -> list[Route]:
    """Every address that answers in JSON, CSV or bytes."""
    at = partial(route, site)
    return [
        at("/.json", as_json(_fleet)),
        at("/index.json", as_json(_fleet)),
        at("/search.json", as_json(_search)),
        at("/host/{cluster}/{host}.json", as_json(_host)),
        at("/report/{id:path}.json", as_json(whole_report)),
        at("/api/search", as_json(_search)),
        at("/api/search.csv", as_csv("search", EventRow, _search)),
        at("/api/events", as_json(_events)),
        at("/api/events.csv", as_csv("events", EventRow, _events)),
        at("/api/hosts", as_json(_hosts)),
        at("/api/hosts.csv", as_csv("hosts", Host, _hosts, "hosts")),
        at("/api/reports/{id:path}/original", _original),
        at("/api/reports/{id:path}/retry", as_json(_retry), "POST"),
        at("/api/reports/{id:path}", as_json(whole_report)),
        at("/report/{id:path}/original", _original),
        *group_api(site),
    ]


async def _fleet(site: Site, request: Request) -> content.Fleet:
    return await content.fleet(site, Asked(request.query_params, content.FLEET))


async def _search(site: Site, request: Request) -> Answer:
    return await content.results(site, Asked(request.query_params, SEARCH))


async def _events(site: Site, request: Request) -> content.Events:
    return await content.events(site, Asked(request.query_params, EVENTS))


async def _host(site: Site, request: Request) -> content.HostPage:
    asked = Asked(request.query_params, content.HOST)
    return await content.host_page(site, cluster_of(request), request.path_params["host"], asked)


async def _hosts(site: Site, request: Request) -> Hosts:
    asked = Asked(request.query_params, HOSTS)
    return await hosts(site.store, site.clock(), cluster=asked.name("cluster"), host=asked.name("host"))


def cluster_of(request: Request) -> str:
    """The cluster in the address; a dash for hosts without one."""
    cluster: str = request.path_params["cluster"]
    return "" if cluster == "-" else cluster


async def whole_report(site: Site, request: Request) -> Report:
    """The report that the address names, with what its kind says about it.

    Raises:
        Refused: `no_such_report`, `bad_parameters`.
        StoreError
    """
    asked = Asked(request.query_params, REPORT)
    id_ = request.path_params["id"]
    found = await report(site.store, site.archive, id_, asked.name("cluster"), asked.name("host"))
    kind = site.store.kinds.of_event(found.event.kind)
    if kind is None or not kind.about_one:
        return found
    return msgspec.structs.replace(found, about=await load(kind.about_one)(site.store, found.event, site.clock()))


async def _original(site: Site, request: Request) -> Response:
    """A report's bytes as they came, to be saved and never to be shown by the browser."""
    asked = Asked(request.query_params, REPORT)
    found, _ = await find(site.store, request.path_params["id"], asked.name("cluster"), asked.name("host"))
    pieces = original(site.archive, found)
    try:
        first = await anext(pieces, b"")
    except FileNotFoundError as error:
        raise Refused("not_found", str(error)) from error
    name = PurePosixPath(found.file).name or "report"

    async def body() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Length": str(found.length)}
    return StreamingResponse(body(), headers=headers, media_type="application/octet-stream")


async def _retry(site: Site, request: Request) -> dict[str, bool]:
    return {"retried": await retry(site, request)}


async def retry(site: Site, request: Request) -> bool:
    """Reads again what is in quarantine under the id in the address.

    Raises:
        Refused: `no_such_report` when nothing is.
    """
    if not await site.retry(request.path_params["id"]):
        raise Refused("no_such_report", "nothing is in quarantine under", raw=request.path_params["id"])
    return True
