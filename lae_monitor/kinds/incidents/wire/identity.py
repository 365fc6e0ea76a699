"""Which incident it is, whatever its name, and whoever hands it over: that of one trigger, of one run of one node.

Foolscap numbers the events of a run (`num`), and gives each run 16 random hexadecimal digits (`incarnation`): together
they name an event among all. The trigger's content counts too, so that nobody who learns of another host's run can keep its
incidents away by sending some of the same number first.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from lae_monitor.core.limits import MiB
from lae_monitor.core.names import row_key
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.incidents.wire.flog import unpack
from lae_monitor.kinds.incidents.wire.plain import Plain

MAX_TRIGGER: Final = 4 * MiB  # of memory; typically 2 KiB. A larger one is known by its name alone


def identity_of(answer: Any) -> bytes | None:
    """16 bytes that the same incident has everywhere; None for one whose trigger does not say which it is.

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
