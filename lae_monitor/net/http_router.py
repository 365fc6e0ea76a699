"""A small ASGI application: addresses and who answers them.

Whatever a handler raises becomes an answer; the process goes on.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final

from prometheus_client import Counter, Histogram

from lae_monitor.core.refusals import Refused
from lae_monitor.net.access import CHALLENGE, CHALLENGED
from lae_monitor.net.connections import RETRY_AFTER, Network
from lae_monitor.net.http_request import PLAIN_TEXT, Message, Receive, Request, Send, parse_networks, reply

__all__ = ["RETRY_AFTER", "Endpoint", "Handler", "Route", "Router"]

log = logging.getLogger("lae_monitor.http")

REQUESTS: Final = Counter("lae_http_requests_total", "Requests answered, by address and status", ["address", "status"])
SECONDS: Final = Histogram("lae_http_request_seconds", "From a request's head to its answer", ["address"])

_requests = lru_cache(1000)(REQUESTS.labels)  # the library's own way to a labelled one takes longer than counting
_seconds = lru_cache(1000)(SECONDS.labels)

Handler = Callable[[Request], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Route:
    """Who answers at `path`.

    Args:
        path: the address; with `prefix`, everything that begins with it.
        methods: the handler of each method; HEAD is answered as GET is.
        wrong_method: the code that refuses every other method.
    """

    path: str
    methods: Mapping[str, Handler]
    prefix: bool = False
    wrong_method: str = "bad_method"


Explain = Callable[[Refused], str | tuple[str, str]]


def _code(refused: Refused) -> str:
    return f"{refused.code}\n"


class Endpoint:
    """One address as an ASGI application: requests are counted, and refused alike, under Router or Starlette.

    Args:
        route: who answers; None answers nothing but `not_found`.
        trusted_proxies, explain: as Router has them.
    """

    def __init__(self, route: Route | None, trusted_proxies: Sequence[Network] = (), explain: Explain = _code) -> None:
        self._route = route
        self._name = route.path if route is not None else "unknown"
        self._trusted = trusted_proxies
        self._explain = explain

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"only HTTP is answered here, not {scope['type']}")
        status = 0

        async def counting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        begun = time.perf_counter()
        await self._answer(Request(scope, receive, counting, self._trusted))
        _requests(self._name, status).inc()
        _seconds(self._name).observe(time.perf_counter() - begun)

    async def _answer(self, request: Request) -> None:
        try:
            await self._handle(request)
        except Refused as refused:
            await self._refuse(request, refused)
        except asyncio.CancelledError:  # the process stops, and has waited long enough
            await self._refuse(request, Refused("shutting_down"))
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            if not request.started:
                await reply(request.send, 500, "internal_error\n")

    async def _handle(self, request: Request) -> None:
        if self._route is None:
            raise Refused("not_found")
        method = "GET" if request.method == "HEAD" else request.method
        handler = self._route.methods.get(method)
        if handler is None:
            raise Refused(self._route.wrong_method)
        await handler(request)

    async def _refuse(self, request: Request, refused: Refused) -> None:
        if request.started:
            return
        headers = []
        if refused.status == 503:
            headers.append(("retry-after", str(RETRY_AFTER)))
        if refused.code in CHALLENGED:
            headers.append(CHALLENGE)
        if refused.status == 405 and self._route is not None:
            headers.append(("allow", ", ".join(sorted(self._route.methods))))
        explained = self._explain(refused)
        body, media = (explained, PLAIN_TEXT) if isinstance(explained, str) else explained
        await reply(request.send, refused.status, body, media, headers)


class Router:
    """The application that `routes` make; exact paths first, then prefixes, the longest first.

    Args:
        routes: the addresses.
        trusted_proxies: addresses or networks whose X-Forwarded-For is believed.
        explain: the answer's text for a refusal, by default its code; or a pair of body and Content-Type.
    """

    def __init__(
        self, routes: Iterable[Route], *, trusted_proxies: Iterable[str] = (), explain: Explain = _code
    ) -> None:
        endpoint = partial(Endpoint, trusted_proxies=parse_networks(trusted_proxies), explain=explain)
        known = list(routes)
        self._exact = {route.path: endpoint(route) for route in known if not route.prefix}
        prefixes = sorted((route for route in known if route.prefix), key=lambda route: -len(route.path))
        self._prefixes = [(route.path, endpoint(route)) for route in prefixes]
        self._unknown = endpoint(None)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        found = self._exact.get(path) or next((one for prefix, one in self._prefixes if path.startswith(prefix)), None)
        await (found or self._unknown)(scope, receive, send)
