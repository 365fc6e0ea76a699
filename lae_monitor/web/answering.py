"""How requests are answered: as a page, as JSON or as CSV; and what is refused, in the same form."""

import csv
import io
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from lae_monitor.archive import Archive
from lae_monitor.core.kind import Kinds, load
from lae_monitor.core.names import MAX_NAME
from lae_monitor.core.printable import printable
from lae_monitor.core.redaction import redact, redacted
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import Clock, format_time, parse_time, wall_clock
from lae_monitor.net.access import BASIC_CHALLENGE, CHALLENGE, CHALLENGED
from lae_monitor.net.peer import name_of
from lae_monitor.query.decisions import Decisions
from lae_monitor.query.events import MAX_ROWS
from lae_monitor.query.grammar import BadQuery, ways
from lae_monitor.store import Store
from lae_monitor.web.shown import FILTERS, group_query, host_url, report_address, search_url

# What a request asks for: its parameters, each known, each once, each in its range.
MAX_LIST: Final = 50  # values of a parameter that may be repeated


class Asked:
    """The parameters of a query string.

    Args:
        parameters: as they came.
        known: the names that may occur; those with a trailing * may be repeated.

    Raises:
        Refused: `bad_parameters`.
    """

    def __init__(self, parameters: QueryParams, known: Iterable[str]) -> None:
        several = {name.removesuffix("*") for name in known if name.endswith("*")}
        allowed = {name.removesuffix("*") for name in known}
        self._parameters = parameters
        for name in parameters:
            if name not in allowed:
                takes = ", ".join(sorted(allowed)) or "nothing"
                raise Refused("bad_parameters", f"this address takes {takes}; not", raw=name)
            if name not in several and len(parameters.getlist(name)) > 1:
                raise Refused("bad_parameters", "given twice:", raw=name)

    def text(self, name: str) -> str:
        return self._parameters.get(name, "")

    def name(self, name: str) -> str:
        """A host's or a cluster's name."""
        value = self.text(name)
        if len(value) > MAX_NAME:
            raise Refused("bad_parameters", f"{name}: longer than {MAX_NAME} characters")
        return value

    def several(self, name: str) -> list[str]:
        values = [value for value in self._parameters.getlist(name) if value]
        if len(values) > MAX_LIST:
            raise Refused("bad_parameters", f"{name}: more than {MAX_LIST} values")
        return values

    def flag(self, name: str) -> bool:
        value = self.text(name)
        if value not in {"", "0", "1"}:
            raise Refused("bad_parameters", f"{name}: 0 or 1, not", raw=value)
        return value == "1"

    def number(self, name: str, default: int, least: int = 1, most: int = MAX_ROWS) -> int:
        """A whole number; one that is out of range is taken as the nearest that is not."""
        value = self.text(name)
        if not value:
            return default
        if not (value.isascii() and value.removeprefix("-").isdecimal() and len(value) < 20):
            raise Refused("bad_parameters", f"{name}: a whole number, not", raw=value)
        return min(max(int(value), least), most)

    def time(self, name: str) -> float | None:
        value = self.text(name)
        return parse_time(value) if value else None


HERE: Final = Path(__file__).parent
RETRY_AFTER: Final = "5"  # seconds, said with every 503
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_MACHINE: Final = ("/api/",)  # addresses below these answer in JSON, errors too; so do twins and feeds


Retry = Callable[[str], Awaitable[bool]]
Status = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the pages are made from.

    Args:
        retry: reads again what is in quarantine under an id; False when nothing is.
        decisions: takes what operators decide of groups; None where pages are only looked at.
        status: of the machinery: `archive` (roots with their health), `mover`, `quarantine`; each may be missing.
    """

    store: Store
    archive: Archive
    fleet: str
    retry: Retry
    status: Status
    clock: Clock = wall_clock
    decisions: Decisions | None = None


def _harmless(value: Any) -> Any:
    """What every expression of a template goes through, before it is escaped; macros have been through it inside."""
    return printable(value) if type(value) is str else value


_MARKS: Final = {  # of what no kind reports
    "alarm": "M8 2a4 4 0 0 0-4 4c0 4-2 5.5-2 5.5h12S12 10 12 6a4 4 0 0 0-4-4zM6.8 14h2.4",
    "mark": "M4 15V1.8h8.5l-2.2 3 2.2 3H4",
}


@cache
def _templates(kinds: Kinds) -> Environment:
    """Those of all pages, and those of each kind below its name."""
    rooms = {kind.name: FileSystemLoader(Path(str(load(kind.room).__file__)).parent / "templates") for kind in kinds}
    templates = Environment(
        loader=ChoiceLoader([FileSystemLoader(HERE / "templates"), PrefixLoader(rooms)]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(FILTERS)
    templates.globals.update(
        group_query=group_query,
        first=[(kind.first, kind.about) for kind in kinds if kind.first],
        grouped=[kind.event for kind in kinds if kind.why],
        host_url=host_url,
        kinds=kinds.events,
        links=[link for kind in kinds for link in kind.links],
        marks=_MARKS | {kind.event: kind.mark for kind in kinds if kind.mark},
        report_address=report_address,
        runs={kind.event: kind.runs for kind in kinds if kind.runs},
        search_url=search_url,
        ways=ways(kinds),
    )
    return templates


def page(site: Site, template: str, status: int = 200, **values: Any) -> Response:
    """A page. What comes from the store and from reports has no secrets; texts that repeat the request lose them here."""
    common = {"fleet": site.fleet, "now": format_time(site.clock()), "q": ""}
    return _rendered(site.store.kinds, template, status, common | values)


def _rendered(kinds: Kinds, template: str, status: int, values: dict[str, Any]) -> Response:
    shown = {name: redacted(value) if isinstance(value, str | dict) else value for name, value in values.items()}
    return HTMLResponse(_templates(kinds).get_template(template).render(shown), status)


def json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    value = redacted(value) if isinstance(value, dict) else value
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


def refusal(request: Request, refused: Refused, fleet: str, kinds: Kinds) -> Response:
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
        shown = _rendered(kinds, "refused.html", refused.status, values)
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


def as_csv(
    name: str, struct: type[msgspec.Struct], value: Callable[[Site, Request], Awaitable[Any]], field: str = "rows"
) -> Answer:
    """The answer that is a table of the `struct`s in `field` of `value`, to be saved as `name`.csv.

    For spreadsheets: a cell that one would take for a formula begins with an apostrophe.
    """

    async def answer(site: Site, request: Request) -> Response:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(struct.__struct_fields__)
        for row in getattr(await value(site, request), field):
            writer.writerow([_cell(getattr(row, column)) for column in struct.__struct_fields__])
        headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
        return Response(text.getvalue(), headers=headers, media_type="text/csv; charset=utf-8")

    return answer


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return f"'{text}" if text.startswith(_FORMULA) else text
