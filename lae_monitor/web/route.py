"""Addresses whose answers are made of the site and the request."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lae_monitor.web.answering import csv, json
from lae_monitor.web.site import Site

Answer = Callable[[Site, Request], Awaitable[Response]]


def route(site: Site, path: str, answer: Answer, method: str = "GET") -> Route:
    async def endpoint(request: Request) -> Response:
        return await answer(site, request)

    return Route(path, endpoint, methods=[method])


def as_json(value: Callable[[Site, Request], Awaitable[Any]]) -> Answer:
    """The answer that is `value` in JSON."""

    async def answer(site: Site, request: Request) -> Response:
        return json(await value(site, request))

    return answer


def as_csv(name: str, text: Callable[[Site, Request], Awaitable[str]]) -> Answer:
    """The answer that is `text`, to be saved as `name`.csv."""

    async def answer(site: Site, request: Request) -> Response:
        return csv(await text(site, request), name)

    return answer
