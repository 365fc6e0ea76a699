"""An incident in the archive -> one event on its host's timeline. Pure: no I/O, and any bytes give rows or `Refused`."""

import math
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lae_monitor.core.limits import MAX_ROW_TEXT, MAX_TITLE
from lae_monitor.core.names import ClusterName, HostName, row_key
from lae_monitor.core.redaction import redact
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Event, Row, Span
from lae_monitor.core.shown import Logged
from lae_monitor.core.time import clamp
from lae_monitor.kinds.incidents.wire import event as events
from lae_monitor.kinds.incidents.wire.fingerprint import VERSION as FINGERPRINT
from lae_monitor.kinds.incidents.wire.fingerprint import Fingerprint, fingerprint, last_line
from lae_monitor.kinds.incidents.wire.flog import unpack
from lae_monitor.kinds.incidents.wire.names import IncidentName, time_of_name
from lae_monitor.kinds.incidents.wire.render import message, plain_text, presentable

VERSION: Final = 2  # goes up when the same bytes give other rows
WHOLE: Final = True

KIND: Final = "incident"
SUFFIX: Final = ".flog.bz2"
MAX_TRIGGER_TEXT: Final = 8 * 1024  # characters of the trigger, with its traceback, above the other events
MAX_EVENT_TEXT: Final = 4 * 1024  # characters of one event in the row's text
MAX_ATTR: Final = 500  # characters

LEVELS: Final = ((40, "critical"), (35, "error"), (30, "warning"), (20, "info"), (-math.inf, "debug"))


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
    received, _ = clamp(told.rx_time if told.rx_time is not None else named, events.LATEST)
    claimed = events.number(trigger.get("time"))
    time, moved = clamp(claimed if claimed is not None else (named or received), received)
    group = fingerprint(trigger)
    attrs = _attrs(trigger, header, told) | _fingerprint(group)
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
        group=group.text,
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
    about, logged = entries(data)
    yield from about
    for entry in logged:
        yield line_of(entry)
        yield from (f"    {part}" for part in entry.failure.splitlines())


def entries(data: bytes) -> tuple[list[str], Iterator[Logged]]:
    """A whole incident for people: what its header says, in lines, and its events.

    Raises:
        Refused: `unreadable`; also while the events are taken.
    """
    objects = unpack(data)
    trigger, header = _header(next(objects, None))
    versions = header.get("versions")
    about = []
    if isinstance(versions, dict):
        named = " ".join(f"{plain_text(name)}/{plain_text(value)}" for name, value in versions.items())
        about.append(presentable(named, MAX_ATTR))
    about.append(f"pid {presentable(plain_text(header.get('pid', 'unknown')), 40)}")
    return about, (_entry(wrapper, trigger) for wrapper in objects)


def line_of(entry: Logged) -> str:
    """An event as flogtool prints it, without the traceback."""
    if not entry.name:
        return entry.message
    text = f"{entry.time or 'no time'} {entry.name} {entry.facility or '-'}: {entry.message}".replace("\n", "\n    ")
    return f"{text} [INCIDENT-TRIGGER]" if entry.trigger else text


def _entry(wrapper: dict[str, Any] | None, trigger: Mapping[str, Any]) -> Logged:
    event = wrapper.get("d") if wrapper is not None else None
    if not isinstance(event, dict):
        return Logged(message="[an event that is too large to show, or none]")
    when = events.when(event)
    return Logged(
        time=when if when[:1].isdigit() else "",
        level=events.row_level(event),
        name=events.level_name(event),
        facility=events.facility(event),
        message=message(event),
        failure=events.failure(event),
        trigger=_is_same(event, trigger),
    )


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
            self.rx_time = events.number(wrapper.get("rx_time"))
            self.tub_id = plain_text(wrapper.get("from", ""))
        self._keep(events.line(event)[:MAX_EVENT_TEXT])

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


def _level(value: Any) -> str:
    number = events.number(value)
    if number is None:
        return "warning"
    return next(name for least, name in LEVELS if number >= least)


def _is_same(event: Mapping[str, Any], trigger: Mapping[str, Any]) -> bool:
    return event.get("num") == trigger.get("num") and event.get("incarnation") == trigger.get("incarnation")


def _title(trigger: Mapping[str, Any]) -> str:
    text = message(trigger)
    if not text.strip():
        text = plain_text(trigger.get("why") or "") or last_line(events.failure(trigger))
    return presentable(" ".join(redact(text).split()), MAX_TITLE) or "incident without a message"


def _text(trigger: Mapping[str, Any], told: _Told) -> str:
    parts = [events.line(trigger)[:MAX_TRIGGER_TEXT]]
    if failure := events.failure(trigger):
        parts.append(failure[: MAX_TRIGGER_TEXT - 2])
    return "\n".join([*parts, *told.lines])[:MAX_ROW_TEXT]


def _fingerprint(made: Fingerprint) -> dict[str, str]:
    found = {"fingerprint": made.by, "fingerprint.version": str(FINGERPRINT)}
    return found | ({"fingerprint.before": "\n".join(made.earlier)} if made.earlier else {})


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
