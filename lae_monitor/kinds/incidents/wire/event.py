"""One event of a node's log, for people: its level, its time, its line. Fields of an event are untrusted."""

import math
from collections.abc import Mapping
from typing import Any, Final

from lae_monitor.core.time import format_time
from lae_monitor.kinds.incidents.classify.facts import LEVELS
from lae_monitor.kinds.incidents.wire.render import message, plain_text, presentable

OPERATIONAL: Final = 20  # the level of an event that names none, as Foolscap has it
LATEST: Final = 4102444800.0  # 2100-01-01: no clock of ours has shown it
MAX_FACILITY: Final = 100  # characters
MAX_FAILURE: Final = 8 * 1024  # characters of a traceback
MAX_INTEGER: Final = 2**63  # what others than Python take for a whole number

# From which number on an event has which level of a timeline.
_ROWS: Final = ((40, "critical"), (35, "error"), (30, "warning"), (20, "info"))
_NAMES: Final = {number: name for name, number in LEVELS.items()}


def number(value: Any) -> float | None:
    """`value` if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def level_of(event: Mapping[str, Any]) -> float:
    """The event's level as a number."""
    found = number(event.get("level"))
    return OPERATIONAL if found is None else found


def row_level(event: Mapping[str, Any]) -> str:
    """The event's level as one of core.rows.LEVELS."""
    level = level_of(event)
    return next((name for least, name in _ROWS if level >= least), "debug")


def level_name(event: Mapping[str, Any]) -> str:
    """`WEIRD`, or the number of a level without a name."""
    level = level_of(event)
    return _NAMES.get(int(level), f"{level:g}")


def run_of(event: Mapping[str, Any]) -> str:
    """Which run of its program an event is of: the first part of its incarnation, "" when it names none."""
    found = event.get("incarnation")
    if isinstance(found, list | tuple):
        found = found[0] if found else ""
    return plain_text(found) if found else ""


def when(event: Mapping[str, Any]) -> str:
    """The event's time, by its sender's clock."""
    time = number(event.get("time"))
    return format_time(time) if time is not None and 0 <= time < LATEST else "no time"


def facility(event: Mapping[str, Any]) -> str:
    return presentable(plain_text(event.get("facility") or ""), MAX_FACILITY)


def failure(event: Mapping[str, Any]) -> str:
    """The traceback that an event carries, "" for none."""
    found = event.get("failure")
    if isinstance(found, Mapping):
        found = found.get("traceback") or found.get("str") or found.get("repr") or ""
    return presentable(plain_text(found), MAX_FAILURE).strip() if found else ""


def line(event: Mapping[str, Any]) -> str:
    """Time, level, facility and message; further lines are indented. Without secrets."""
    return f"{when(event)} {level_name(event)} {facility(event) or '-'}: {message(event)}".replace("\n", "\n    ")
