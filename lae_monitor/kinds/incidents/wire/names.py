"""The names of incidents: which are accepted, what time they tell, and from which on a node is asked for more."""

import re
from datetime import UTC, datetime
from typing import Any, Final

from lae_monitor.core.names import IncidentName
from lae_monitor.core.redaction import redact
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import DAY

LOOK_BACK: Final = 7 * DAY  # names older than this before the newest one are taken for known
MAX_AHEAD: Final = DAY  # by which a node's clock may be ahead of ours
PREFIX: Final = "incident-"
MAX_RAW_NAME: Final = 300  # characters of a name that is looked at

_TIME: Final = re.compile(r"incident-(\d{4})-(\d\d)-(\d\d)--?(\d\d)-?(\d\d)-?(\d\d)(?!\d)", re.ASCII)


def time_of_name(name: str) -> float | None:
    """When the incident began, by the node's clock; None for a name that does not say."""
    found = _TIME.match(name)
    if found is None:
        return None
    try:
        return datetime(*(int(part) for part in found.groups()), tzinfo=UTC).timestamp()  # type: ignore[misc, arg-type]
    except (ValueError, OverflowError):
        return None


def is_past(name: str, now: float) -> bool:
    """Whether the name tells a time, and not one that is further ahead than a node's clock may be."""
    time = time_of_name(name)
    return time is not None and time <= now + MAX_AHEAD


def since(newest: str, now: float) -> str:
    """The name from which on a node that has sent `newest` is asked for more; "", all, when that is not known.

    The stock gatherer asks from `newest` on, and never gets what a node made after its clock was set back, nor what it
    failed to fetch. A name from the future does not hide what is made until then.
    """
    time = time_of_name(newest)
    if time is None:
        return ""
    start = max(min(time, now) - LOOK_BACK, 0.0)
    return datetime.fromtimestamp(start, UTC).strftime(f"{PREFIX}%Y-%m-%d--%H-%M-%SZ")


def incident_name(raw: Any) -> IncidentName:
    """The name that a node announces: text, or bytes of ASCII; not one that holds a capability, since names are shown.

    Raises:
        Refused: `bad_incident_name`.
    """
    if not isinstance(raw, bytes | str):
        raise Refused("bad_incident_name", f"a {type(raw).__name__}")
    if len(raw) > MAX_RAW_NAME:
        raise Refused("bad_incident_name", f"{len(raw)} long:", raw=raw[:MAX_RAW_NAME])
    try:
        name = IncidentName(raw.decode("ascii") if isinstance(raw, bytes) else raw)
    except UnicodeDecodeError:
        raise Refused("bad_incident_name", raw=raw) from None
    if redact(name) != name:
        raise Refused("bad_incident_name", raw=raw)
    return name
