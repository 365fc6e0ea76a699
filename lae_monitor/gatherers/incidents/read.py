"""An incident in the archive -> one event on its host's timeline. Pure: no I/O, and any bytes give rows or `Refused`."""

import math
import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lae_monitor.core.ids import row_key
from lae_monitor.core.limits import MAX_ROW_TEXT, MAX_TITLE
from lae_monitor.core.names import ClusterName, HostName, IncidentName
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Event, Row, Span
from lae_monitor.core.time import clamp, format_time
from lae_monitor.gatherers.incidents.flog import unpack
from lae_monitor.gatherers.incidents.names import time_of_name
from lae_monitor.gatherers.incidents.render import message, plain_text, presentable

VERSION: Final = 1  # goes up when the same bytes give other rows
WHOLE: Final = True

KIND: Final = "incident"
SUFFIX: Final = ".flog.bz2"
MAX_TRIGGER_TEXT: Final = 8 * 1024  # characters of the trigger, with its traceback, above the other events
MAX_EVENT_TEXT: Final = 4 * 1024  # characters of one event in the row's text
MAX_ATTR: Final = 500  # characters
MAX_GROUP: Final = 200  # characters
LATEST: Final = 4102444800.0  # 2100-01-01: no clock of ours has shown it

LEVELS: Final = ((40, "critical"), (35, "error"), (30, "warning"), (20, "info"), (-math.inf, "debug"))
_NAMES: Final = {
    10: "NOISY", 20: "OPERATIONAL", 23: "UNUSUAL", 25: "INFREQUENT", 28: "CURIOUS", 30: "WEIRD", 35: "SCARY", 40: "BAD",
}  # fmt: skip
_EXCEPTION: Final = re.compile(
    r"<class '([\w.]{1,100})'>|Failure:? (?:instance: )?.{0,40}?([A-Za-z_][\w.]{0,100}(?:Error|Exception)\w{0,40})"
)


def cut(_path: str, data: bytes) -> int:
    return len(data)


def read(span: Span, data: bytes) -> Iterator[Row]:
    """The event of one incident's file; nothing for other files, such as `latest`.

    Raises:
        Refused: `unreadable`.
    """
    place = _place(span.path)
    if place is None:
        return
    cluster, host, name = place
    objects = unpack(data)
    trigger, header = _header(next(objects, None))
    told = _Told()
    for wrapper in objects:
        told.add(wrapper)
    named = time_of_name(name) or 0.0
    received, _ = clamp(told.rx_time if told.rx_time is not None else named, LATEST)
    claimed = _number(trigger.get("time"))
    time, moved = clamp(claimed if claimed is not None else (named or received), received)
    attrs = _attrs(trigger, header, told)
    if moved and claimed is not None:
        attrs["time_claimed"] = repr(claimed)
    yield Event(
        kind=KIND,
        cluster=cluster,
        host=host,
        time=time,
        received=received,
        id=name,
        key=row_key(KIND, cluster, host, name),
        level=_level(trigger.get("level")),
        title=_title(trigger),
        text=_text(trigger, told),
        group=_group(trigger),
        attrs=attrs,
        file=span.path,
        offset=span.start,
        length=span.end - span.start,
    )


def dump(data: bytes) -> Iterator[str]:
    """A whole incident as lines for people: time, level, facility and message of every event, the trigger marked.

    Raises:
        Refused: `unreadable`.
    """
    objects = unpack(data)
    trigger, header = _header(next(objects, None))
    versions = header.get("versions")
    if isinstance(versions, dict):
        yield presentable(
            " ".join(f"{plain_text(name)}/{plain_text(value)}" for name, value in versions.items()), MAX_ATTR
        )
    yield f"pid {presentable(plain_text(header.get('pid', 'unknown')), 40)}"
    for wrapper in objects:
        event = wrapper.get("d") if wrapper is not None else None
        if not isinstance(event, dict):
            yield "[an event that is too large to show, or none]"
            continue
        line = _line(event)
        yield f"{line} [INCIDENT-TRIGGER]" if _is_same(event, trigger) else line
        yield from (f"    {part}" for part in _failure(event).splitlines())


class _Told:
    """What is kept of the events while they go by: the last ones, and what the first says about all."""

    def __init__(self) -> None:
        self.count = 0
        self.rx_time: float | None = None
        self.tub_id = ""
        self.lines: deque[str] = deque()
        self._size = 0

    def add(self, wrapper: dict[str, Any] | None) -> None:
        self.count += 1
        if wrapper is None:
            self._keep("[an event that is too large to show]")
            return
        event = wrapper.get("d")
        if not isinstance(event, dict):
            raise Refused("unreadable", "an event that is no dictionary")
        if self.rx_time is None:
            self.rx_time = _number(wrapper.get("rx_time"))
            self.tub_id = plain_text(wrapper.get("from", ""))
        self._keep(_line(event)[:MAX_EVENT_TEXT])

    def _keep(self, line: str) -> None:
        self.lines.append(line)
        self._size += len(line) + 1
        while self._size > MAX_ROW_TEXT - 2 * MAX_TRIGGER_TEXT:
            self._size -= len(self.lines.popleft()) + 1


def _place(path: str) -> tuple[ClusterName, HostName, IncidentName] | None:
    parts = path.split("/")
    if len(parts) != 5 or parts[2] != "incidents" or not parts[4].endswith(SUFFIX):
        return None
    try:
        return ClusterName(parts[1]), HostName(parts[3]), IncidentName(parts[4].removesuffix(SUFFIX))
    except Refused:
        return None


def _header(first: dict[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    header = first.get("header") if first is not None else None
    trigger = header.get("trigger") if isinstance(header, dict) else None
    if not isinstance(header, dict) or not isinstance(trigger, dict):
        raise Refused("unreadable", "no header of an incident")
    return trigger, header


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _level(value: Any) -> str:
    number = _number(value)
    if number is None:
        return "warning"
    return next(name for least, name in LEVELS if number >= least)


def _line(event: Mapping[str, Any]) -> str:
    time = _number(event.get("time"))
    when = format_time(time) if time is not None and 0 <= time < LATEST else "no time"
    level = _number(event.get("level"))
    shown = _NAMES.get(int(level), f"{level:g}") if level is not None else "-"
    facility = presentable(plain_text(event.get("facility") or "-"), 100)
    return f"{when} {shown} {facility}: {message(event)}".replace("\n", "\n    ")


def _failure(event: Mapping[str, Any]) -> str:
    failure = event.get("failure")
    if isinstance(failure, dict):
        failure = failure.get("traceback") or failure.get("str") or failure.get("repr") or ""
    return presentable(plain_text(failure), MAX_TRIGGER_TEXT) if failure else ""


def _is_same(event: Mapping[str, Any], trigger: Mapping[str, Any]) -> bool:
    return event.get("num") == trigger.get("num") and event.get("incarnation") == trigger.get("incarnation")


def _title(trigger: Mapping[str, Any]) -> str:
    text = message(trigger)
    if not text.strip():
        text = plain_text(trigger.get("why") or "") or (_failure(trigger).strip().splitlines() or [""])[-1]
    return presentable(" ".join(text.split()), MAX_TITLE) or "incident without a message"


def _text(trigger: Mapping[str, Any], told: _Told) -> str:
    parts = [_line(trigger)[:MAX_TRIGGER_TEXT]]
    if failure := _failure(trigger):
        parts.append(failure[: MAX_TRIGGER_TEXT - 2])
    return "\n".join([*parts, *told.lines])[:MAX_ROW_TEXT]


def _group(trigger: Mapping[str, Any]) -> str:
    """What the same mistake has in common, wherever and whenever it happens."""
    for key in ("umid", "format"):
        if isinstance(value := trigger.get(key), str) and value.strip():
            return presentable(" ".join(value.split()), MAX_GROUP)
    masked = presentable(" ".join(_mask(message(trigger)).split()), MAX_GROUP)
    return f"{masked} {_exception(trigger)}".strip()[: MAX_GROUP + MAX_GROUP // 2]


def _mask(text: str) -> str:
    text = re.sub(r"\b0x[0-9A-Fa-f]+|\b[0-9a-f]{16,}\b|\b[a-z2-7]{26,}\b", "<id>", text)
    return re.sub(r"\d+", "<n>", text)


def _exception(trigger: Mapping[str, Any]) -> str:
    """The type of the exception that the trigger carries, "" for none."""
    failure = trigger.get("failure") or ""
    if isinstance(failure, dict):
        failure = failure.get("str") or failure.get("repr") or ""
    found = _EXCEPTION.search(plain_text(failure))
    return found[1] or found[2] if found else ""


def _attrs(trigger: Mapping[str, Any], header: Mapping[str, Any], told: _Told) -> dict[str, str]:
    versions = header.get("versions")
    incarnation = trigger.get("incarnation")
    found = {
        "umid": trigger.get("umid"),
        "facility": trigger.get("facility"),
        "level": trigger.get("level"),
        "num": trigger.get("num"),
        "incarnation": incarnation[0] if isinstance(incarnation, list) and incarnation else incarnation,
        "pid": header.get("pid"),
        "versions": " ".join(f"{key}/{plain_text(value)}" for key, value in list(versions.items())[:20])
        if isinstance(versions, dict)
        else None,
        "tub": told.tub_id,
        "events": told.count,
    }
    return {key: presentable(plain_text(value), MAX_ATTR) for key, value in found.items() if value not in (None, "")}
