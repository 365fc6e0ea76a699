"""Names and identities of incidents.

An incident's name has a time and random letters; the same incident may come under several names, and from several hosts.
Its identity is that of its trigger: Foolscap numbers the events of a run (`num`), and gives each run 16 random hexadecimal
digits (`incarnation`). The trigger's content counts too, so that nobody who learns of another host's run can keep its
incidents away by sending some of the same number first.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from lae_monitor.core.limits import MiB
from lae_monitor.core.names import Name, row_key
from lae_monitor.core.redaction import redact
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import DAY
from lae_monitor.kinds.incidents.wire.flog import unpack
from lae_monitor.kinds.incidents.wire.plain import Plain

LOOK_BACK: Final = 7 * DAY  # names older than this before the newest one are taken for known
MAX_AHEAD: Final = DAY  # by which a node's clock may be ahead of ours
PREFIX: Final = "incident-"
MAX_RAW_NAME: Final = 300  # characters of a name that is looked at

_TIME: Final = re.compile(r"incident-(\d{4})-(\d\d)-(\d\d)--?(\d\d)-?(\d\d)-?(\d\d)(?!\d)", re.ASCII)


class IncidentName(Name):
    """A Foolscap incident, such as `incident-2026-11-22--09-44-34Z-serjmai`."""

    __slots__ = ()
    pattern = re.compile(r"incident-[0-9A-Za-z.:-]{1,80}", re.ASCII)
    code = "bad_incident_name"


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


# ---- identities ------------------------------------------------------------------------------------------------------


MAX_TRIGGER: Final = 4 * MiB  # of memory; typically 2 KiB. A larger one is known by its name alone


def identity_of(answer: Any) -> bytes | None:
    """16 bytes that the same incident has everywhere; None for a trigger without a run or a number.

    Args:
        answer: what a node answered to get_incident, of whatever types the wire gave, or as our own decoder made it.
    """
    header = answer[0] if isinstance(answer, tuple | list) and answer else getattr(answer, "header", None)
    if not isinstance(header, Mapping):
        return None
    try:
        return _identity(Plain(MAX_TRIGGER).of(header.get("trigger", header.get(b"trigger"))))
    except (Refused, RecursionError):
        return None


def identity_in(data: bytes) -> bytes | None:
    """The same of an incident's file; None also for one that cannot be read."""
    try:
        header = (next(unpack(data), None) or {}).get("header")
        return _identity(header.get("trigger")) if isinstance(header, dict) else None
    except (Refused, RecursionError):
        return None


def _identity(trigger: Any) -> bytes | None:
    if not isinstance(trigger, dict):
        return None
    run, number = trigger.get("incarnation"), trigger.get("num")
    if isinstance(run, list) and run:
        run = run[0]
    if not isinstance(run, str) or not run or isinstance(number, bool) or not isinstance(number, int):
        return None
    return row_key(run, number, json.dumps(trigger, sort_keys=True))
