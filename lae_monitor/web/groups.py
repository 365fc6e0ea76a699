"""The groups: their list, one group, and what an operator decides of it; each as a page, as JSON, and the list as CSV."""

from functools import partial
from typing import Final, get_args
from urllib.parse import parse_qsl

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from lae_monitor.core.limits import KiB
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import format_time
from lae_monitor.query.decisions import Act, Decided, decided
from lae_monitor.query.grammar import Filter, Query, Text, moment
from lae_monitor.query.group_page import GroupPage, group_page
from lae_monitor.query.groups import (
    MAX_GROUPS,
    MAX_OFFSET,
    ORDERS,
    STATES,
    WITHIN,
    Asking,
    Group,
    Groups,
    find_id,
    groups,
)
from lae_monitor.query.parser import parse
from lae_monitor.query.planner import plan
from lae_monitor.web.answering import Asked, Site, as_csv, as_json, page, route
from lae_monitor.web.drawing import bars
from lae_monitor.web.shown import days

LIST: Final = ("q", "kind*", "product", "state", "sort", "since", "limit", "offset")
GROUP: Final = ("since",)
DECISION: Final = ("note", "into", "by")
PAGE: Final = 100  # groups of a list
MAX_FORM: Final = 16 * KiB  # bytes of a form's body; its longest field is a note
MAX_FIELDS: Final = 10

# What `state` may be, and the states that it means.
WANTED: Final = {
    "active": ("open", "regressed"), "all": STATES, **{state: (state,) for state in STATES},
}  # fmt: skip


class Changed(msgspec.Struct, kw_only=True):
    """What holds of the group `id` after a decision."""

    id: str
    decided: Decided


def group_api(site: Site) -> list[Route]:
    """The addresses of groups that answer in JSON or CSV."""
    at = partial(route, site)
    return [
        at("/groups.json", as_json(listed)),
        at("/group/{id}.json", as_json(_one)),
        at("/api/groups", as_json(listed)),
        at("/api/groups.csv", as_csv("groups", Group, listed, "groups")),
        at("/api/groups/{id}/{act}", as_json(_change), "POST"),
        at("/api/groups/{id}", as_json(_one)),
    ]


def group_pages(site: Site) -> list[Route]:
    """The addresses of groups that a browser shows."""
    at = partial(route, site)
    return [
        at("/groups", _list_page),
        at("/group/{id}/{act}", _decide, "POST"),
        at("/group/{id}", _group_page),
    ]


async def listed(site: Site, request: Request) -> Groups:
    """
    Raises:
        Refused: `bad_query`, `bad_parameters`, `bad_time`, `bad_duration`.
        StoreError
    """
    asked = Asked(request.query_params, LIST)
    now = site.clock()
    known = site.store.kinds
    terms = parse(asked.text("q"), known).terms
    if kinds := asked.several("kind"):
        if any(not kind.isalnum() for kind in kinds):
            raise Refused("bad_parameters", "kind: the name of a kind, not", raw=kinds)
        terms += parse(f"kind:{','.join(kinds)}", known).terms
    if since := asked.text("since"):
        terms += (Filter("since", (Text(format_time(moment(since, now), digits=6)),)),)
    asking = Asking(
        product=asked.name("product"),
        states=WANTED[_one_of(asked, "state", WANTED, "active")],
        sort=_one_of(asked, "sort", ORDERS, "last"),
        limit=asked.number("limit", PAGE, most=MAX_GROUPS),
        offset=asked.number("offset", 0, least=0, most=MAX_OFFSET),
    )
    return await groups(site.store, plan(Query(terms), now), asking, now)


def _one_of(
    asked: Asked, name: str, known: dict[str, object] | dict[str, str] | dict[str, tuple[str, ...]], usual: str
) -> str:
    value = asked.text(name) or usual
    if value not in known:
        raise Refused("bad_parameters", f"{name}: one of {', '.join(known)}, not", raw=value)
    return value


async def _one(site: Site, request: Request) -> GroupPage:
    asked = Asked(request.query_params, GROUP)
    now = site.clock()
    since = asked.text("since")
    return await group_page(site.store, request.path_params["id"], moment(since, now) if since else now - WITHIN, now)


# ---- deciding ----------------------------------------------------------------------------------------------------------


async def _change(site: Site, request: Request) -> Changed:
    """Takes the decision that the address names; its fields are in the query, or in a form.

    Raises:
        Refused: `not_found`, `bad_parameters`, `body_too_large`, and what the archive refuses.
        StoreError
    """
    act: Act = request.path_params["act"]
    if act not in get_args(Act):
        raise Refused("not_found", f"what can be done with a group: {', '.join(get_args(Act))}; not", raw=act)
    if site.decisions is None:
        raise Refused("bad_method", "this process only reads")
    asked = Asked(QueryParams([*request.query_params.multi_items(), *await _form(request)]), DECISION)
    known = await decided(site.store)
    id_ = await find_id(site.store, request.path_params["id"], 0.0, known)
    into = asked.text("into").strip() if act == "merge" else ""
    if act == "merge":
        if not into:
            raise Refused("bad_parameters", "into: the id of the group to merge into")
        into = await find_id(site.store, into, 0.0, known)
    by = asked.text("by") or "web"
    return Changed(id=id_, decided=await site.decisions.decide(act, id_, by=by, note=asked.text("note"), into=into))


async def _form(request: Request) -> list[tuple[str, str]]:
    """The fields of a form, as browsers send them."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FORM:
            raise Refused("body_too_large", f"limit {MAX_FORM} bytes")
    if not body:
        return []
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Refused("bad_content_type", "a form is application/x-www-form-urlencoded")
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise Refused("bad_parameters", str(error)) from error


async def _decide(site: Site, request: Request) -> Response:
    changed = await _change(site, request)
    return RedirectResponse(f"/group/{changed.id}", 303)


# ---- pages -------------------------------------------------------------------------------------------------------------


async def _list_page(site: Site, request: Request) -> Response:
    found = await listed(site, request)
    asked = Asked(request.query_params, LIST)
    return page(
        site,
        "groups.html",
        found=found,
        lines=[(group, bars(group.hours, group.worst), bars(group.days, group.worst)) for group in found.groups],
        asked={name: asked.text(name) for name in ("q", "product", "state", "sort", "since")}
        | {"kind": asked.several("kind")},
        states=list(WANTED),
        orders=list(ORDERS),
        limit=asked.number("limit", PAGE, most=MAX_GROUPS),
    )


async def _group_page(site: Site, request: Request) -> Response:
    shown = await _one(site, request)
    group = shown.group
    return page(
        site,
        "group.html",
        shown=shown,
        group=group,
        hours=bars(group.hours, group.worst),
        month=bars(group.days, group.worst),
        days=days(shown.reports, [], site.store.kinds, older=True),
        can_decide=site.decisions is not None,
    )
