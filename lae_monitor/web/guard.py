"""Who may ask, and what browsers are told about every answer.

These are refused, in this order:

- a peer that is not on this machine
- a name in the Host header that is none of loopback's: another web site could point its own name at 127.0.0.1, and read us
  through a visitor's browser
- a request that changes something, and was sent by another site's page
- whoever is neither root nor the account of `serve`, and shows no token (net/access.py)

Reading takes the role viewer, everything else the role operator. Feed readers know nothing but a URL: at FEEDS, and only
there, the token may be the parameter `token`. It is taken out before anything else sees the URL.
"""

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import unquote_plus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lae_monitor.core.refusals import Refused
from lae_monitor.net.access import FEED, OPERATOR, VIEWER, Access, is_here, names_loopback

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

Answer = Callable[[Scope, Refused], ASGIApp]


class Guard:
    """Lets through what may ask, and puts HEADERS on every answer.

    Args:
        app: what is guarded.
        answer: makes the answer to what is refused.
        access: the accounts and tokens that are let in; None where nobody but this process itself can ask.
    """

    def __init__(self, app: ASGIApp, answer: Answer, access: Access | None = None) -> None:
        self._app = app
        self._answer = answer
        self._access = access

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
            app = self._answer(scope, refused)
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
