"""How requests are answered: as a page, as JSON or as CSV; and what is refused, in the same form."""

import os
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from lae_monitor.core.printable import printable
from lae_monitor.core.redaction import redact, redacted
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import format_time
from lae_monitor.net.access import BASIC_CHALLENGE, CHALLENGE, CHALLENGED
from lae_monitor.net.peer import name_of
from lae_monitor.query.grammar import BadQuery
from lae_monitor.web.shown import FILTERS, group_query, host_url, incidents_url, report_address, search_url
from lae_monitor.web.site import Site

HERE: Final = Path(__file__).parent
RETRY_AFTER: Final = "5"  # seconds, said with every 503
_MACHINE: Final = ("/api/",)  # addresses below these answer in JSON, errors too; so do twins and feeds


def _harmless(value: Any) -> Any:
    """What every expression of a template goes through, before it is escaped; macros have been through it inside."""
    return printable(value) if type(value) is str else value


_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_harmless,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(FILTERS)
_templates.globals.update(
    group_query=group_query,
    host_url=host_url,
    incidents_url=incidents_url,
    report_address=report_address,
    search_url=search_url,
)


_MARKS: Final = {  # of what no kind reports
    "alarm": "M8 2a4 4 0 0 0-4 4c0 4-2 5.5-2 5.5h12S12 10 12 6a4 4 0 0 0-4-4zM6.8 14h2.4",
    "mark": "M4 15V1.8h8.5l-2.2 3 2.2 3H4",
}


def page(site: Site, template: str, status: int = 200, **values: Any) -> Response:
    """A page. What comes from the store and from reports has no secrets; texts that repeat the request lose them here."""
    kinds = site.store.kinds
    common = {
        "fleet": site.fleet,
        "now": format_time(site.clock()),
        "q": "",
        "marks": _MARKS | {kind.event: kind.mark for kind in kinds if kind.mark},
        "runs": {kind.event: kind.runs for kind in kinds if kind.runs},
        "grouped": [kind.event for kind in kinds if kind.why],
    }
    return _rendered(template, status, common | values)


def _rendered(template: str, status: int, values: dict[str, Any]) -> Response:
    shown = {name: redacted(value) if isinstance(value, str | dict) else value for name, value in values.items()}
    return HTMLResponse(_templates.get_template(template).render(shown), status)


def json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    value = redacted(value) if isinstance(value, dict) else value
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


def csv(text: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(text, headers=headers, media_type="text/csv; charset=utf-8")


def refusal(request: Request, refused: Refused, fleet: str) -> Response:
    """The answer to what is refused: its code, what the code means, and the detail; in JSON where JSON was asked for."""
    headers = {"Retry-After": RETRY_AFTER} if refused.status == 503 else {}
    refused.detail = redact(refused.detail)
    if isinstance(refused, BadQuery):
        refused.problem = redact(refused.problem)
    path = request.url.path
    if not path.startswith(_MACHINE) and not path.endswith((".json", ".csv", ".atom")):
        pointed = (refused.start, refused.end) if isinstance(refused, BadQuery) else None
        query = request.query_params.get("q", "")
        account = name_of(os.geteuid())
        values = {"fleet": fleet, "now": None, "q": query, "refused": refused, "pointed": pointed, "account": account}
        shown = _rendered("refused.html", refused.status, values)
        shown.headers.update(headers)
        if refused.code in CHALLENGED:
            shown.headers.append(*CHALLENGE)
            shown.headers.append(*BASIC_CHALLENGE)  # the browser asks, and shows the page when it is given nothing
        return shown
    body: dict[str, Any] = {"error": refused.code, "message": refused.reason.text, "detail": refused.detail}
    if isinstance(refused, BadQuery):
        body |= {"problem": refused.problem, "start": refused.start, "end": refused.end}
    answer = json(body, refused.status, headers)
    if refused.code in CHALLENGED:
        answer.headers.append(*CHALLENGE)
    return answer
