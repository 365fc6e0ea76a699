"""Who may ask: only somebody on this host, until there is a login; and what browsers are told about every answer.

A peer that is not on loopback is refused, and so is a name in the Host header that is none of loopback's: another web site
could point its own name at 127.0.0.1 and read us through a visitor's browser. What changes something is refused to requests
that another site's page sent.
"""

import ipaddress
import re
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lae_monitor.core.refusals import Refused

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
LASTING: Final = "/static/"  # below it lies what changes with a release only
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+))(?::[0-9]{1,5})?")

Answer = Callable[[Scope, Refused], ASGIApp]


class Guard:
    """Lets through what may ask, and puts HEADERS on every answer.

    Args:
        app: what is guarded.
        answer: makes the answer to what is refused.
    """

    def __init__(self, app: ASGIApp, answer: Answer) -> None:
        self._app = app
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        app: Callable[[Scope, Receive, Send], Awaitable[None]] = self._app
        try:
            check(scope)
        except Refused as refused:
            app = self._answer(scope, refused)
        caching = "max-age=300" if scope["path"].startswith(LASTING) else "no-store"
        await app(scope, receive, _with_headers(send, {**HEADERS, "Cache-Control": caching}))


def check(scope: Scope) -> None:
    """
    Raises:
        Refused: `not_loopback`, `cross_site`.
    """
    client = scope.get("client")
    if not client or not is_loopback(client[0]):
        raise Refused("not_loopback", f"you come from {client[0] if client else 'nowhere'}")
    headers = Headers(scope=scope)
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not _names_loopback(hosts[0]):
        raise Refused("not_loopback", "the address has to be 127.0.0.1, [::1] or localhost")
    if scope["method"] in SAFE_METHODS:
        return
    origin = headers.get("origin")
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"} or (
        origin is not None and origin != f"{scope.get('scheme', 'http')}://{hosts[0]}"
    ):
        raise Refused("cross_site")


def is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped.is_loopback
    return parsed.is_loopback


def _names_loopback(host: str) -> bool:
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found[1] or found[2]
    return name.lower() == "localhost" or is_loopback(name)


def _with_headers(send: Send, given: dict[str, str]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in given.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
