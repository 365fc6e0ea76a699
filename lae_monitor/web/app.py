"""The pages and the API as one ASGI application."""

import logging
from collections.abc import Callable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from lae_monitor.archive import Archive
from lae_monitor.core.kind import load
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import Clock, wall_clock
from lae_monitor.net.http import Access
from lae_monitor.query.decisions import Decisions
from lae_monitor.store import Store, StoreError
from lae_monitor.web.answering import HERE, Retry, Site, Status, refusal
from lae_monitor.web.api import api_routes
from lae_monitor.web.guard import Guard
from lae_monitor.web.pages import page_routes

log = logging.getLogger(__name__)

_CODES: Final = {404: "not_found", 405: "bad_method"}


def create_app(
    store: Store,
    archive: Archive,
    *,
    fleet: str,
    retry: Retry,
    status: Status,
    clock: Clock = wall_clock,
    decisions: Decisions | None = None,
    access: Access | None = None,
) -> Starlette:
    """The application; it answers nobody but this machine.

    Args:
        store, archive: open; they are read only.
        fleet: the name in the head of every page.
        retry: `async retry(id) -> bool`: reads again what is in quarantine.
        status: what the fleet page says of the machinery; see answering.Site.
        decisions: takes what operators decide of groups; without, groups are only looked at.
        access: the accounts and tokens that are let in; None where nobody but this process itself can ask.
    """
    site = Site(store=store, archive=archive, fleet=fleet, retry=retry, status=status, clock=clock, decisions=decisions)
    return Starlette(
        routes=[
            *(route for kind in store.kinds if kind.routes for route in load(kind.routes)(site)),
            *api_routes(site),
            *page_routes(site),
            Mount("/static", StaticFiles(directory=HERE / "static"), name="static"),
        ],
        middleware=[Middleware(guarded, fleet, access)],
        exception_handlers=_handlers(fleet),
    )


def guarded(app: ASGIApp, fleet: str, access: Access | None = None) -> Guard:
    """`app`, which answers whom the pages answer; for addresses that stand beside them."""
    return Guard(app, lambda scope, refused: refusal(Request(scope), refused, fleet), access)


def _handlers(fleet: str) -> dict[Any, Callable[[Request, Exception], Response]]:
    """Who answers for what went wrong, by its class."""

    def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return refusal(request, error, fleet)

    def unavailable(request: Request, error: Exception) -> Response:
        log.warning("%s: the store: %s", request.url.path, error)
        return refusal(request, Refused("store_unavailable", str(error)[:300]), fleet)

    def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        answer = refusal(request, Refused(_CODES.get(error.status_code, "not_found"), request.method), fleet)
        answer.headers.update(error.headers or {})
        return answer

    return {Refused: refused, StoreError: unavailable, HTTPException: http}
