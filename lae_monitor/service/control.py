"""What the command line asks of a running `serve`: state and rebuild of the store, retention. web/app.py says who may.

The header keeps other web sites out: a page cannot send it across origins without being asked first.
"""

import asyncio
from typing import Any, Final

import msgspec

from lae_monitor.core.refusals import Refused
from lae_monitor.mover import Mover
from lae_monitor.mover.rebuild import rebuild
from lae_monitor.mover.retention import Retention
from lae_monitor.net.http import Request, Route, reply
from lae_monitor.store.aside import notices

HEADER: Final = "x-lae-monitor"


def control(mover: Mover, retention: Retention, stop: asyncio.Event) -> list[Route]:
    """Routes: GET /api/store, POST and GET /api/store/rebuild, GET and POST /api/archive/retire.

    `stop` ends a rebuild: the old store is still there.
    """
    running: dict[str, Any] = {}

    async def store_status(request: Request) -> None:
        await _json(
            request,
            {
                "tables": await mover.store.status(),
                "moving": {**msgspec.to_builtins(mover.state.__dict__), "set_aside": notices()},
            },
        )

    async def begin(request: Request) -> None:
        _only_our_command_line(request)
        task = running.get("task")
        if task is None or task.done():
            running["rows"] = 0
            running["task"] = task = asyncio.create_task(rebuild(mover, lambda state: running.update(rows=state.rows)))
            running["watch"] = asyncio.create_task(_end_with(stop, task))
        await _json(request, {"running": True}, 202)

    async def progress(request: Request) -> None:
        task: asyncio.Task[Any] | None = running.get("task")
        error = task.exception() if task is not None and task.done() and not task.cancelled() else None
        await _json(
            request,
            {
                "running": task is not None and not task.done(),
                "rows": running.get("rows", 0),
                "error": str(error) if error else "",
            },
        )

    async def planned(request: Request) -> None:
        _only_our_command_line(request)
        await _json(request, (await retention.plan(confirmed=_confirmed(request))).as_json())

    async def retire(request: Request) -> None:
        _only_our_command_line(request)
        gone, plan = await retention.run(confirmed=_confirmed(request))
        await _json(request, {**plan.as_json(), "gone": gone})

    return [
        Route(path="/api/archive/retire", methods={"GET": planned, "POST": retire}),
        Route(path="/api/store", methods={"GET": store_status}),
        Route(path="/api/store/rebuild", methods={"POST": begin, "GET": progress}),
    ]


async def _end_with(stop: asyncio.Event, task: asyncio.Task[Any]) -> None:
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, task], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    task.cancel()


def _confirmed(request: Request) -> bool:
    return request.query.get("confirm") == "yes"


def _only_our_command_line(request: Request) -> None:
    if HEADER not in request.headers:
        raise Refused("unauthorized", f"send the header {HEADER}")


async def _json(request: Request, value: Any, status: int = 200) -> None:
    await reply(request.send, status, msgspec.json.encode(value), "application/json")
