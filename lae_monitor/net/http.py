r"""HTTP as our listeners speak it: deadlines, exact lengths, one way to refuse, the same health addresses everywhere.

async def submit(request: Request) -> None:
    async for piece in request.stream(MAX_BODY): ...
    await reply(request.send, 200, "thanks\n")

app = Router([Route(path="/submit", methods={"POST": submit}), *operations(archive, version)])
await serve(app, "127.0.0.1", 8000, stop=stop, ready=print)
"""

from lae_monitor.net.access import Access
from lae_monitor.net.connections import HttpLimits
from lae_monitor.net.http_operations import operations
from lae_monitor.net.http_request import Headers, Request, parse_networks, read_body, reply
from lae_monitor.net.http_router import Endpoint, Route, Router
from lae_monitor.net.http_server import serve

__all__ = [
    "Access",
    "Endpoint",
    "Headers",
    "HttpLimits",
    "Request",
    "Route",
    "Router",
    "operations",
    "parse_networks",
    "read_body",
    "reply",
    "serve",
]
