"""A small ASGI application: addresses and who answers them.

Whatever a handler raises becomes an answer; the process goes on.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from prometheus_client import Counter, Histogram

from lae_monitor.core.refusals import Refused
from lae_monitor.net.access import CHALLENGE, CHALLENGED
from lae_monitor.net.http_limits import RETRY_AFTER
from lae_monitor.net.http_request import PLAIN_TEXT, Message, Receive, Request, Send, parse_networks, reply

__all__ = ["RETRY_AFTER", "Handler", "Route", "Router"]

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

    def matches(self, path: str) -> bool:
        return path.startswith(self.path) if self.prefix else path == self.path


class Router:
    """The application that `routes` make; exact paths first, then prefixes, the longest first.

    Args:
        routes: the addresses.
        trusted_proxies: addresses or networks whose X-Forwarded-For is believed.
        explain: the answer's text for a refusal, by default its code; or a pair of body and Content-Type.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        trusted_proxies: Iterable[str] = (),
        explain: Callable[[Refused], str | tuple[str, str]] = lambda refused: f"{refused.code}\n",
    ) -> None:
        known = list(routes)
        self._exact = {route.path: route for route in known if not route.prefix}
        self._prefixes = sorted((route for route in known if route.prefix), key=lambda route: -len(route.path))
        self._trusted = parse_networks(trusted_proxies)
        self._explain = explain

    def knows(self, path: str) -> bool:
        """Whether a route answers at `path`."""
        return path in self._exact or any(route.matches(path) for route in self._prefixes)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"only HTTP is answered here, not {scope['type']}")
        status = 0

        async def counting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        begun = time.perf_counter()
        request = Request(scope, receive, counting, self._trusted)
        route = self._route(request.path)
        await self._answer(route, request)
        address = route.path if route else "unknown"
        _requests(address, status).inc()
        _seconds(address).observe(time.perf_counter() - begun)

    def _route(self, path: str) -> Route | None:
        return self._exact.get(path) or next((route for route in self._prefixes if route.matches(path)), None)

    async def _answer(self, route: Route | None, request: Request) -> None:
        try:
            await self._handle(route, request)
        except Refused as refused:
            await self._refuse(request, refused)
        except asyncio.CancelledError:  # the process stops, and has waited long enough
            await self._refuse(request, Refused("shutting_down"))
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            if not request.started:
                await reply(request.send, 500, "internal_error\n")

    async def _handle(self, route: Route | None, request: Request) -> None:
        if route is None:
            raise Refused("not_found")
        method = "GET" if request.method == "HEAD" else request.method
        handler = route.methods.get(method)
        if handler is None:
            raise Refused(route.wrong_method)
        await handler(request)

    async def _refuse(self, request: Request, refused: Refused) -> None:
        if request.started:
            return
        headers = []
        if refused.status == 503:
            headers.append(("retry-after", str(RETRY_AFTER)))
        if refused.code in CHALLENGED:
            headers.append(CHALLENGE)
        if refused.status == 405 and (route := self._route(request.path)) is not None:
            headers.append(("allow", ", ".join(sorted(route.methods))))
        explained = self._explain(refused)
        body, media = (explained, PLAIN_TEXT) if isinstance(explained, str) else explained
        await reply(request.send, refused.status, body, media, headers)
