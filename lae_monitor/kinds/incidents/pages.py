"""The incidents: the newest ones, and how many there are of each category; as a page, as JSON, and as an Atom feed."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from email.utils import formatdate, parsedate_to_datetime
from functools import partial
from typing import Final
from urllib.parse import urlencode
from uuid import UUID
from xml.etree import ElementTree as ET

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lae_monitor.core.kind import Kinds
from lae_monitor.core.names import row_key
from lae_monitor.core.printable import one_line, printable
from lae_monitor.core.redaction import redact
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import LEVELS
from lae_monitor.core.time import parse_time
from lae_monitor.kinds.incidents import CATEGORY
from lae_monitor.kinds.incidents.questions import Incident, Incidents, incidents, key_of, latest, only_incidents
from lae_monitor.query.events import MAX_ROWS
from lae_monitor.query.grammar import Filter, Query, Text, moment
from lae_monitor.query.parser import parse
from lae_monitor.query.planner import Plan, plan
from lae_monitor.web.answering import Asked, Site, as_json, page, route
from lae_monitor.web.drawing import bars
from lae_monitor.web.shown import report_address

FILTERS: Final = ("q", "cluster", "host", "category", "level", "since")
LIST: Final = (*FILTERS, "before", "limit")
PAGE: Final = 100  # incidents of a list
UNCLASSIFIED: Final = "-"  # as a category: those that are not classified yet
SHOWN_CATEGORIES: Final = 40  # on the page; the API has them all
TIMES: Final = ("1d", "7d", "30d", "90d")


def routes(site: Site) -> list[Route]:
    """The addresses of incidents."""
    at = partial(route, site)
    return [
        at("/incidents", _page),
        at("/incidents.json", as_json(_list)),
        at("/api/incidents", as_json(_list)),
        at("/incidents.atom", _feed),
    ]


async def listed(site: Site, asked: Asked) -> Incidents:
    """
    Raises:
        Refused: `bad_query`, `bad_parameters`, `bad_time`, `bad_duration`.
        StoreError
    """
    now = site.clock()
    return await incidents(
        site.store,
        _planned(asked, now, asked.text("category"), site.store.kinds),
        _planned(asked, now, "", site.store.kinds),
        before=asked.text("before"),
        limit=asked.number("limit", PAGE, most=MAX_ROWS - 1),
        now=now,
    )


def _planned(asked: Asked, now: float, category: str, kinds: Kinds) -> Plan:
    """The incidents that are asked for, of `category` ("" for any)."""
    terms = list(parse(asked.text("q"), kinds).terms)
    if level := asked.text("level"):
        if level not in LEVELS:
            raise Refused("bad_parameters", f"level: one of {', '.join(LEVELS)}, not", raw=level)
        terms.append(Filter("level", (Text(level),), ">="))
    if category and category != UNCLASSIFIED:
        terms.append(Filter(CATEGORY.name, (Text(category),), of=CATEGORY))
    planned = plan(Query(tuple(terms)), now)
    for name in ("cluster", "host"):
        if value := asked.name(name):
            planned = planned.narrowed(name, value)
    if since := asked.text("since"):
        planned = replace(planned, since=max(planned.since, moment(since, now)))
    return only_incidents(planned, now, unclassified=category == UNCLASSIFIED)


async def _list(site: Site, request: Request) -> Incidents:
    return await listed(site, Asked(request.query_params, LIST))


def incidents_url(asked: Mapping[str, str], **changed: str) -> str:
    """The address of the list of incidents with the filters `asked`, but for those that are `changed`."""
    given = urlencode({name: value for name, value in {**asked, **changed}.items() if value})
    return "/incidents" + (f"?{given}" if given else "")


async def _page(site: Site, request: Request) -> Response:
    asked = Asked(request.query_params, LIST)
    found = await listed(site, asked)
    filters = {name: asked.text(name) for name in FILTERS}
    return page(
        site,
        "incidents/list.html",
        incidents_url=incidents_url,
        found=found,
        categories=[(one, bars(one.days, "info")) for one in found.categories[:SHOWN_CATEGORIES]],
        asked=filters,
        before=asked.text("before"),
        feed=_narrowed(filters),
        levels=("warning", "error", "critical"),
        times=TIMES,
    )


async def _feed(site: Site, request: Request) -> Response:
    asked = Asked(request.query_params, FILTERS)
    found = await latest(site.store, _planned(asked, site.clock(), asked.text("category"), site.store.kinds), ENTRIES)
    base = f"{request.url.scheme}://{request.url.netloc}"
    feed = Feed(found, site.fleet, base, _narrowed({name: asked.text(name) for name in FILTERS}))
    headers = {"ETag": feed.etag, "Last-Modified": feed.modified, "Cache-Control": "no-cache"}
    if feed.is_known(request.headers.get("if-none-match"), request.headers.get("if-modified-since")):
        return Response(status_code=304, headers=headers)
    return Response(feed.body, headers=headers, media_type=MEDIA_TYPE)


def _narrowed(filters: dict[str, str]) -> str:
    """The filters as the query of an address, always in one order: a feed is known by it."""
    return urlencode({name: filters[name] for name in FILTERS if filters[name]})


# ---- the feed --------------------------------------------------------------------------------------------------------
# Atom, RFC 4287: the newest first.


ATOM: Final = "http://www.w3.org/2005/Atom"
MEDIA_TYPE: Final = "application/atom+xml; charset=utf-8"
ENTRIES: Final = 50
BEGINNING: Final = "1970-01-01T00:00:00Z"  # when a feed without entries was updated

# What XML 1.0 cannot hold even as a reference; printable() has written the control characters as escapes.
_NO_XML: Final = {0xFFFE: "\ufffd", 0xFFFF: "\ufffd"}


class Feed:
    """The feed as bytes, with what a client compares its copy by.

    Args:
        found: the incidents, those that were received last first.
        fleet: its name.
        base: scheme and authority of our addresses, which readers need whole.
        query: what the feed was narrowed by, as in the address; "" for all.
    """

    def __init__(self, found: Sequence[Incident], fleet: str, base: str, query: str) -> None:
        query = redact(query)
        self.updated = max(map(updated_of, found), default=BEGINNING)
        asked = f"?{query}" if query else ""
        root = ET.Element("feed", {"xmlns": ATOM, "xml:lang": "en"})
        _text(root, "id", _urn(row_key("feed", "incidents", fleet, query)))
        _text(root, "title", f"Incidents of {fleet}" + (f": {query}" if query else ""))
        _text(root, "updated", self.updated)
        ET.SubElement(
            root, "link", {"rel": "self", "type": "application/atom+xml", "href": f"{base}/incidents.atom{asked}"}
        )
        ET.SubElement(root, "link", {"rel": "alternate", "type": "text/html", "href": f"{base}/incidents{asked}"})
        _text(ET.SubElement(root, "author"), "name", "lae-monitor")
        for incident in found:
            _entry(root, incident, base)
        self.body: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
        self.etag = f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'
        self.modified = formatdate(parse_time(self.updated), usegmt=True)

    def is_known(self, if_none_match: str | None, if_modified_since: str | None) -> bool:
        """Whether a client with these headers has this feed already (RFC 9110, 13.1)."""
        if if_none_match is not None:
            tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
            return self.etag in tags or "*" in tags
        if if_modified_since is None:
            return False
        try:
            since = parsedate_to_datetime(if_modified_since).timestamp()
        except (ValueError, OverflowError, TypeError):
            return False
        return int(parse_time(self.updated)) <= since


def updated_of(incident: Incident) -> str:
    """When an entry last changed: when the incident came, or was classified (anew)."""
    return max(incident.received or incident.time, incident.classified)


def _entry(root: ET.Element, incident: Incident, base: str) -> None:
    entry = ET.SubElement(root, "entry")
    _text(entry, "id", _urn(bytes.fromhex(key_of(incident.cluster, incident.host, incident.id))))
    _text(entry, "title", f"{one_line(incident.host)}: {one_line(incident.title) or '(no title)'}")
    _text(entry, "published", incident.time)
    _text(entry, "updated", updated_of(incident))
    address = base + report_address(incident.id, incident.cluster, incident.host)
    ET.SubElement(entry, "link", {"rel": "alternate", "type": "text/html", "href": address})
    for category in (*incident.categories, f"level:{incident.level}"):
        ET.SubElement(entry, "category", {"term": _clean(category)})
    _text(entry, "content", _content(incident)).set("type", "text")


def _content(incident: Incident) -> str:
    lines = (
        ("Host", f"{incident.host} ({incident.cluster})"),
        ("Categories", ", ".join(incident.categories) or "not classified yet"),
        ("Group", f"{incident.group_id} {incident.group}".strip()),
    )
    return "\n".join([*(f"{name}: {one_line(value)}" for name, value in lines), "", incident.text])


def _text(parent: ET.Element, name: str, text: str) -> ET.Element:
    element = ET.SubElement(parent, name)
    element.text = _clean(text)
    return element


def _clean(text: str) -> str:
    return printable(text).translate(_NO_XML)


def _urn(key: bytes) -> str:
    return UUID(bytes=key).urn
