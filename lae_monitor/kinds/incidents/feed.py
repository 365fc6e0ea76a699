"""Incidents as an Atom feed (RFC 4287), for feed readers: what came last, first."""

import hashlib
from collections.abc import Sequence
from email.utils import formatdate, parsedate_to_datetime
from typing import Final
from uuid import UUID
from xml.etree import ElementTree as ET

from lae_monitor.core.names import row_key
from lae_monitor.core.printable import one_line, printable
from lae_monitor.core.redaction import redact
from lae_monitor.core.time import parse_time
from lae_monitor.kinds.incidents.questions import Incident, key_of
from lae_monitor.web.shown import report_address

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
