"""The addresses for programs: /api/..., and the .json twins of the pages."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import PurePosixPath

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from lae_monitor.core.refusals import Refused
from lae_monitor.query.hosts import Hosts, hosts
from lae_monitor.query.reports import find, original
from lae_monitor.query.search import Answer
from lae_monitor.web import content
from lae_monitor.web.answering import csv, json
from lae_monitor.web.asked import Asked
from lae_monitor.web.groups import group_api
from lae_monitor.web.incidents import REPORT, incident_api, whole_report
from lae_monitor.web.site import Site
from lae_monitor.web.socorro import socorro_routes
from lae_monitor.web.table import events_csv, hosts_csv

Endpoint = Callable[[Request], Awaitable[Response]]

SEARCH = ("q", "limit")
EVENTS = ("q", "cluster", "host", "before", "after", "limit")
HOSTS = ("cluster", "host")


def api_routes(site: Site) -> list[Route]:
    """Every address that answers in JSON, CSV or bytes."""
    return [
        Route("/.json", _json(site, _fleet)),
        Route("/index.json", _json(site, _fleet)),
        Route("/search.json", _json(site, _search)),
        Route("/host/{cluster}/{host}.json", _json(site, _host)),
        Route("/report/{id:path}.json", _json(site, whole_report)),
        Route("/api/search", _json(site, _search)),
        Route("/api/search.csv", _csv(site, "search", lambda site, request: _rows(_search(site, request)))),
        Route("/api/events", _json(site, _events)),
        Route("/api/events.csv", _csv(site, "events", lambda site, request: _rows(_events(site, request)))),
        Route("/api/hosts", _json(site, _hosts)),
        Route("/api/hosts.csv", _csv(site, "hosts", _hosts_csv)),
        Route("/api/reports/{id:path}/original", _original(site)),
        Route("/api/reports/{id:path}/retry", _retry(site), methods=["POST"]),
        Route("/api/reports/{id:path}", _json(site, whole_report)),
        Route("/report/{id:path}/original", _original(site)),
        *group_api(site),
        *incident_api(site),
        *socorro_routes(site),
    ]


def _json(site: Site, answer: Callable[[Site, Request], Awaitable[msgspec.Struct]]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return json(await answer(site, request))

    return endpoint


def _csv(site: Site, name: str, table: Callable[[Site, Request], Awaitable[str]]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return csv(await table(site, request), name)

    return endpoint


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


async def _rows(answer: Awaitable[Answer | content.Events]) -> str:
    return events_csv((await answer).rows)


async def _hosts_csv(site: Site, request: Request) -> str:
    return hosts_csv((await _hosts(site, request)).hosts)


def cluster_of(request: Request) -> str:
    """The cluster in the address; a dash for hosts without one."""
    cluster: str = request.path_params["cluster"]
    return "" if cluster == "-" else cluster


def _original(site: Site) -> Endpoint:
    """A report's bytes as they came, to be saved and never to be shown by the browser."""

    async def endpoint(request: Request) -> Response:
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

    return endpoint


def _retry(site: Site) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return json({"retried": await retry(site, request)})

    return endpoint


async def retry(site: Site, request: Request) -> bool:
    """Reads again what is in quarantine under the id in the address.

    Raises:
        Refused: `no_such_report` when nothing is.
    """
    if not await site.retry(request.path_params["id"]):
        raise Refused("no_such_report", "nothing is in quarantine under", raw=request.path_params["id"])
    return True
