"""The pages and the API as one ASGI application, and who may ask it."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote_plus

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lae_monitor.archive import Archive
from lae_monitor.core.kind import Kinds, load
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import Clock, wall_clock
from lae_monitor.net.access import FEED, OPERATOR, VIEWER, Access, is_here, names_loopback
from lae_monitor.query.decisions import Decisions
from lae_monitor.store import Store, StoreError
from lae_monitor.web.answering import HERE, Retry, Site, Status, refusal
from lae_monitor.web.api import api_routes
from lae_monitor.web.pages import page_routes

log = logging.getLogger(__name__)

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
LASTING: Final = "/static/"  # below it lies what changes with a release only, and is no secret
FEEDS: Final = ".atom"  # how the addresses of feeds end
URL_TOKEN: Final = b"token="
NO_KINDS: Final = Kinds()
_CODES: Final = {404: "not_found", 405: "bad_method"}


class Guard:
    """Lets through what may ask, and puts HEADERS on every answer.

    These are refused, in this order:

    - a peer that is not on this machine
    - a name in the Host header that is none of loopback's: another web site could point its own name at 127.0.0.1, and read
      us through a visitor's browser
    - a request that changes something, and was sent by another site's page
    - a peer that is neither root nor the account of `serve`, and shows no token (net/access.py)

    Reading takes the role viewer, everything else the role operator. Feed readers know nothing but a URL: at FEEDS, and only
    there, the token may be the parameter `token`. It is taken out before anything else sees the URL.

    Args:
        app: what is guarded.
        fleet: the name in the head of the page that refuses.
        access: the accounts and tokens that are let in; None where nobody but this process itself can ask.
        kinds: to whose pages the page that refuses leads.
    """

    def __init__(self, app: ASGIApp, fleet: str, access: Access | None = None, kinds: Kinds = NO_KINDS) -> None:
        self._app = app
        self._fleet = fleet
        self._access = access
        self._kinds = kinds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        app: Callable[[Scope, Receive, Send], Awaitable[None]] = self._app
        scope, url_token = _without_token(scope)
        try:
            check(scope)
            if self._access is not None and not scope["path"].startswith(LASTING):
                await self._access.require(_needed(scope), scope, url_token)
        except Refused as refused:
            app = refusal(Request(scope), refused, self._fleet, self._kinds)
        given = {"Cache-Control": "max-age=300" if scope["path"].startswith(LASTING) else "no-store"}
        if url_token:
            given["Referrer-Policy"] = "no-referrer"
        await app(scope, receive, _with_headers(send, {**HEADERS, **given}))


def _needed(scope: Scope) -> str:
    """The role that a request takes."""
    if scope["method"] not in SAFE_METHODS:
        return OPERATOR
    return FEED if scope["path"].endswith(FEEDS) else VIEWER


def _without_token(scope: Scope) -> tuple[Scope, str]:
    """The request without the token in its URL, and that token; "" where there is none, or none belongs."""
    query = scope["query_string"]
    if not scope["path"].endswith(FEEDS) or URL_TOKEN not in query:
        return scope, ""
    parts = query.split(b"&")
    tokens = [part[len(URL_TOKEN) :] for part in parts if part.startswith(URL_TOKEN)]
    left = b"&".join(part for part in parts if not part.startswith(URL_TOKEN))
    # Several together are no token of ours.
    return {**scope, "query_string": left}, unquote_plus(b" ".join(tokens).decode("latin-1"))


def check(scope: Scope) -> None:
    """
    Raises:
        Refused: `not_loopback`, `cross_site`.
    """
    client = scope.get("client")
    if not is_here(scope):
        raise Refused("not_loopback", f"you come from {client[0] if client else 'nowhere'}")
    headers = Headers(scope=scope)
    hosts = headers.getlist("host")
    if not names_loopback(hosts):
        raise Refused("not_loopback", "the address has to be 127.0.0.1, [::1] or localhost")
    if scope["method"] in SAFE_METHODS:
        return
    origin = headers.get("origin")
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"} or (
        origin is not None and origin != f"{scope.get('scheme', 'http')}://{hosts[0]}"
    ):
        raise Refused("cross_site")


def _with_headers(send: Send, given: dict[str, str]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in given.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


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
        middleware=[Middleware(Guard, fleet, access, store.kinds)],
        exception_handlers=_handlers(fleet, store.kinds),
    )


def _handlers(fleet: str, kinds: Kinds) -> dict[Any, Callable[[Request, Exception], Response]]:
    """Who answers for what went wrong, by its class."""

    def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return refusal(request, error, fleet, kinds)

    def unavailable(request: Request, error: Exception) -> Response:
        log.warning("%s: the store: %s", request.url.path, error)
        return refusal(request, Refused("store_unavailable", str(error)[:300]), fleet, kinds)

    def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        answer = refusal(request, Refused(_CODES.get(error.status_code, "not_found"), request.method), fleet, kinds)
        answer.headers.update(error.headers or {})
        return answer

    return {Refused: refused, StoreError: unavailable, HTTPException: http}
