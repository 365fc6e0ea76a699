"""Socorro's API to read crashes, for programs that know it: its addresses, arguments, names and errors.

Source: Socorro's webapp API. There are no permissions yet: what is private is never shown, and nobody but this host may ask.
"""

import re
from functools import partial
from json import dumps
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lae_monitor.core.redaction import redact
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.crashes.report import MINIDUMP
from lae_monitor.kinds.crashes.socorro import crash as crashes
from lae_monitor.kinds.crashes.socorro.crash import Stored, crash_id_of, has_row, is_stored, processed_crash, raw_crash
from lae_monitor.kinds.crashes.socorro.super_search import super_search
from lae_monitor.web.answering import Answer, Asked, Site, json, route

MEMORY_REPORT: Final = "memory_report"  # Firefox's; gzipped JSON
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")


def routes(site: Site) -> list[Route]:
    """Socorro's addresses."""
    at = partial(route, site)
    return [
        at("/api/RawCrash/", _refusing(_raw)),
        at("/api/ProcessedCrash/", _refusing(_processed)),
        at("/api/CrashVerify/", _refusing(_verify)),
        at("/api/SuperSearch/", _refusing(_search)),
    ]


def _refusing(answer: Answer) -> Answer:
    """What is refused is said as Socorro says it: one sentence under `error`."""

    async def refusing(site: Site, request: Request) -> Response:
        try:
            return await answer(site, request)
        except Refused as refused:
            text = {"no_such_report": "crash id not found", "bad_crash_id": "unknown crash id"}.get(
                refused.code, redact(f"{refused.reason.text}: {refused.detail}")
            )
            return json({"error": text}, refused.status)

    return refusing


async def _crash(site: Site, request: Request, known: tuple[str, ...] = ()) -> tuple[Asked, Stored]:
    asked = Asked(request.query_params, ("crash_id", *known))
    return asked, await crashes.stored(site.store, site.archive, crash_id_of(_needed(asked, "crash_id")))


def _needed(asked: Asked, name: str) -> str:
    value = asked.text(name)
    if not value:
        raise Refused("bad_parameters", f"required argument missing: {name}")
    return value


async def _raw(site: Site, request: Request) -> Response:
    asked = Asked(request.query_params, ("crash_id", "format", "name"))
    wanted = asked.text("format") or "meta"
    if wanted not in {"meta", "raw"}:
        raise Refused("bad_parameters", "format: meta or raw, not", raw=wanted)
    _, crash = await _crash(site, request, ("format", "name"))
    if wanted == "meta":
        return _as_sent(raw_crash(crash))
    name = asked.text("name") or MINIDUMP
    if not _NAME.fullmatch(name) or name not in crash.dumps:
        raise Refused("not_found", f"the crash has {', '.join(crash.dumps) or 'no dump'}; not", raw=name)
    filename = f"{name}.json.gz" if name == MEMORY_REPORT else f"{crash.crash_id}-{name}.dmp"
    headers = {"Content-Disposition": f'attachment; filename="{filename}"'}
    return Response(bytes(crash.dumps[name]), headers=headers, media_type="application/octet-stream")


async def _processed(site: Site, request: Request) -> Response:
    _, crash = await _crash(site, request)
    return _as_sent(processed_crash(crash))


def _as_sent(document: dict[str, Any]) -> Response:
    """JSON also of what only Python's own takes: lone surrogates, numbers beyond 64 bits."""
    return Response(dumps(document), media_type="application/json")


async def _verify(site: Site, request: Request) -> Response:
    crash_id = crash_id_of(_needed(Asked(request.query_params, ("crash_id",)), "crash_id"))
    searched, raw = await has_row(site.store, crash_id), await is_stored(site.archive, crash_id)
    answer: dict[str, Any] = {
        "uuid": str(crash_id),
        "raw_crash": raw or searched,
        "processed_crash": searched,
        "elasticsearch_crash": searched,  # what Socorro searches in, our store
        "telemetry_crash": False,
    }
    return json(answer)


async def _search(site: Site, request: Request) -> Response:
    return json(await super_search(site.store, request.query_params.multi_items(), site.clock()))
