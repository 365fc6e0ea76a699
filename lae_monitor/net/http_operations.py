"""The addresses that every HTTP listener of ours has, for load balancers, operators and Prometheus.

They take any Host, and all but `/metrics` are answered to everybody. Folders and what the kernel said of them are shown only
to those who may read our pages (net/access.py). `/metrics` is open to every account of this machine, at a loopback address;
from elsewhere, and through a proxy, it needs a token.
"""

import platform
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from lae_monitor.archive import Archive
from lae_monitor.net.access import VIEWER, Access, is_here, names_loopback, proxy_header
from lae_monitor.net.http_request import Request, reply
from lae_monitor.net.http_router import Handler, Route

PROBE_STALE: Final = 15.0  # seconds after which a probe says nothing any more
JSON: Final = "application/json"
UNNAMED: Final = "something does not work: lae-monitor check fleet, as root, says what"


def operations(
    archive: Archive,
    version: str,
    on_asked: Callable[[str], None] = lambda _path: None,
    warnings: Callable[[], Sequence[str]] = tuple,
    access: Access | None = None,
) -> list[Route]:
    """Routes for `/ping`, `/__lbheartbeat__`, `/__heartbeat__`, `/__version__` and `/metrics`.

    None of them touches the disk: `/__heartbeat__` tells what the archive's background probes found.

    Args:
        archive: whose health is told.
        version: what `/__version__` says.
        on_asked: hears the path of each that is asked for.
        warnings: what does not work, of what clients do not need: the heartbeat says it, and stays green.
        access: who may read; without it, there are no tokens.
    """
    known = access or Access()

    async def ping(request: Request) -> None:
        await reply(request.send, 200, "pong\n")

    async def lbheartbeat(request: Request) -> None:
        await reply(request.send, 200, b"", JSON)

    async def heartbeat(request: Request) -> None:
        roots = archive.health()
        alive = any(_is_fresh(root["probe_age"]) for root in roots)
        said = list(warnings())
        if not await known.allows(VIEWER, request.scope):
            roots = [_without_paths(root, number) for number, root in enumerate(roots, 1)]
            said = [UNNAMED] if said else []
        errors = [] if alive else [{"name": str(root["root"]), "msg": _problem(root)} for root in roots]
        body = msgspec.json.encode({"errors": errors, "warnings": said, "roots": roots})
        await reply(request.send, 200 if alive else 503, body, JSON)

    async def about(request: Request) -> None:
        body = {"source": "lae-monitor", "version": version, "python": platform.python_version()}
        await reply(request.send, 200, msgspec.json.encode(body), JSON)

    async def metrics(request: Request) -> None:
        headers = request.headers
        if not is_here(request.scope) or proxy_header(headers) or not names_loopback(headers.all("host")):
            await known.require(VIEWER, request.scope)
        await reply(request.send, 200, generate_latest(), CONTENT_TYPE_LATEST)

    handlers = {
        "/ping": ping,
        "/__lbheartbeat__": lbheartbeat,
        "/__heartbeat__": heartbeat,
        "/__version__": about,
        "/metrics": metrics,
    }
    return [Route(path=path, methods={"GET": _telling(handler, on_asked)}) for path, handler in handlers.items()]


def _telling(handler: Handler, on_asked: Callable[[str], None]) -> Handler:
    async def answer(request: Request) -> None:
        on_asked(request.path)
        await handler(request)

    return answer


def _without_paths(root: dict[str, Any], number: int) -> dict[str, Any]:
    return {"root": f"archive root {number}", "health": root["health"], "error": "", "probe_age": root["probe_age"]}


def _is_fresh(probe_age: float | None) -> bool:
    return probe_age is not None and probe_age < PROBE_STALE


def _problem(root: dict[str, Any]) -> str:
    age = root["probe_age"]
    last = "never" if age is None else f"{age:.0f} s ago"
    return f"{root['health']}: {root['error'] or 'no probe succeeded lately'}; last success {last}"
