"""One event that a node sends of its log, made so that flogtool reads the file that it stands in.

flogtool takes for granted that an event is one of Foolscap's: the first other one would end its dump of a host's whole day.
"""

from collections.abc import Mapping
from typing import Any, Final

from lae_monitor.core.limits import MiB
from lae_monitor.kinds.incidents.wire.event import LATEST, MAX_INTEGER, OPERATIONAL, number, run_of
from lae_monitor.kinds.incidents.wire.plain import Plain
from lae_monitor.kinds.incidents.wire.render import can_format, plain_text

MAX_MEMORY: Final = 1 * MiB  # of one event's values, while they are converted
TEXTS: Final = ("message", "format", "facility", "umid")
FORMATS: Final = ("format", "args")


def event_of(raw: Any) -> dict[str, Any]:
    """An event as JSON can hold it, with all that flogtool cannot do without.

    Raises:
        ValueError: it is no event.
        Refused: it is too large.
    """
    if not isinstance(raw, Mapping):
        raise ValueError("no dictionary")  # noqa: TRY004 - of a value that came from outside
    event: dict[str, Any] = Plain(MAX_MEMORY).of(raw)
    num, time = event.get("num"), number(event.get("time"))
    if isinstance(num, bool) or not isinstance(num, int) or not 0 <= num < MAX_INTEGER:
        raise ValueError("no number")
    if time is None or not 0 <= time < LATEST:
        raise ValueError("no time")
    if not run_of(event):
        raise ValueError("no incarnation")
    return _for_flogtool(event)


def _for_flogtool(event: dict[str, Any]) -> dict[str, Any]:
    """`event`, with what flogtool would not take replaced by something that says the same, as far as that can be."""
    incarnation = event["incarnation"]
    if not isinstance(incarnation, list) or not isinstance(incarnation[0], str):
        event["incarnation"] = [run_of(event), None]
    if number(event.get("level")) is None:
        event["level"] = OPERATIONAL
    if "failure" in event and not isinstance(event["failure"], dict):
        event["failure"] = {"@": "UnJSONable", "str": str(event["failure"])}
    if isinstance(event.get("parent"), dict | list):
        event["parent"] = plain_text(event["parent"])
    for key in TEXTS:
        if key in event and not isinstance(event[key], str):
            event[key] = plain_text(event[key])
    if any(key in event for key in FORMATS) and not can_format(event):
        raw = {key: event.pop(key) for key in FORMATS if key in event}
        event.setdefault("message", plain_text(raw.get("format", "")))
        event["unformattable"] = raw
    return event
