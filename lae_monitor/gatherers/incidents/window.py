"""Incident names carry their time; a node lists what it has from a name onwards. From these follows what to ask it for."""

import re
from datetime import UTC, datetime
from typing import Final

from lae_monitor.core.time import DAY

LOOK_BACK: Final = 7 * DAY  # names older than this before the newest one are taken for known
PREFIX: Final = "incident-"

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
