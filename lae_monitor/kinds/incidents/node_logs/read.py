"""What nodes log, in the archive -> events on their hosts' timelines. Pure: no I/O, and any bytes give rows or `Refused`.

An event is known by its run and number: what is there twice, because a node sent it again after a reconnection, shows once.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from lae_monitor.core.limits import MAX_ROW_TEXT, MAX_TITLE
from lae_monitor.core.names import ClusterName, HostName, row_key
from lae_monitor.core.refusals import Refused, shorten
from lae_monitor.core.rows import Event, Row, Span, cut_lines
from lae_monitor.core.secrets import redact
from lae_monitor.core.time import DAY, EARLIEST, clamp, parse_time
from lae_monitor.kinds.incidents.wire import event as events
from lae_monitor.kinds.incidents.wire.flog import MAGIC
from lae_monitor.kinds.incidents.wire.render import message, plain_text, presentable

VERSION: Final = 1  # goes up when the same bytes give other rows
WHOLE: Final = False

KIND: Final = "log"
MAX_ATTR: Final = 500  # characters


class _Place(NamedTuple):
    """Of which host and day a file is."""

    cluster: str
    host: str
    day: float  # its beginning, in seconds


def is_log(path: str) -> bool:
    """Whether the file `path` of the archive is of a node's log."""
    return path.split("/")[2:3] == ["logs"]


def cut(_path: str, data: bytes) -> int:
    return cut_lines(data)


def read(span: Span, data: bytes) -> Iterator[Row]:
    """A row for each event; a line that is none becomes a mark that says so, and keeps no other from being read.

    Raises:
        Refused: `unreadable`: the path is none of ours.
    """
    place = _place(span.path)
    offset = span.start
    for line in data.split(b"\n"):
        if line.strip() and line + b"\n" != MAGIC:
            where = {"file": span.path, "offset": offset, "length": len(line) + 1}
            try:
                wrapper = _wrapper(line)
                if "header" not in wrapper:
                    yield _row(place, wrapper, where)
            except Refused as refused:
                yield _unreadable(place, line, refused.detail, where)
        offset += len(line) + 1


def dump(data: bytes) -> Iterator[str]:
    """Events as lines for people, from any piece of a file that begins and ends with a line."""
    for line in data.split(b"\n"):
        if not line.strip() or line + b"\n" == MAGIC:
            continue
        try:
            wrapper = _wrapper(line)
        except Refused:
            yield "[a line that is no event]"
            continue
        event = wrapper.get("d")
        if isinstance(event, dict):
            yield events.line(event)
            yield from (f"    {part}" for part in events.failure(event).splitlines())


def _place(path: str) -> _Place:
    """
    Raises:
        Refused: `unreadable`.
    """
    try:
        _, cluster, _, host, year, month, name = path.split("/")
        day = parse_time(f"{year}-{month}-{name.partition('.')[0]}")
        return _Place(ClusterName(cluster), HostName(host), day)
    except (ValueError, Refused) as error:
        raise Refused("unreadable", "not the path of a node's log") from error


def _wrapper(line: bytes) -> dict[str, Any]:
    """
    Raises:
        Refused: `unreadable`.
    """
    try:
        value = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refused("unreadable", f"not JSON: {str(error)[:100]}") from error
    if not isinstance(value, dict) or not isinstance(value.get("d", value.get("header")), dict):
        raise Refused("unreadable", "no event")
    return value


def _row(place: _Place, wrapper: Mapping[str, Any], where: Mapping[str, Any]) -> Event:
    event = wrapper["d"]
    received, _ = clamp(events.number(wrapper.get("rx_time")) or place.day, place.day + DAY)
    claimed = events.number(event.get("time"))
    # By the day, not by when it came: an event that came twice has one time.
    time, moved = clamp(claimed if claimed is not None else place.day, place.day)
    attrs = _attrs(event, wrapper)
    if moved and claimed is not None:
        attrs["time_claimed"] = repr(claimed)
    run, num = events.run_of(event), event.get("num")
    identity = (run, repr(num)) if run and isinstance(num, int) else (json.dumps(event, sort_keys=True),)
    return Event(
        kind=KIND,
        cluster=place.cluster,
        host=place.host,
        time=time,
        received=received,
        id=f"{where['file']}:{where['offset']}",
        key=row_key(KIND, place.cluster, place.host, *identity),
        level=events.row_level(event),
        title=_title(event),
        text=_text(event),
        attrs=attrs,
        **where,
    )


def _title(event: Mapping[str, Any]) -> str:
    text = message(event)
    if not text.strip():
        text = plain_text(event.get("why") or "") or (events.failure(event).splitlines() or [""])[-1]
    return presentable(" ".join(redact(text).split()), MAX_TITLE) or "event without a message"


def _text(event: Mapping[str, Any]) -> str:
    """What the title leaves out: a long message, and the traceback."""
    text, failure = message(event), events.failure(event)
    shown = text if len(text) > MAX_TITLE or "\n" in text else ""
    return "\n".join(part for part in (shown, failure) if part)[:MAX_ROW_TEXT]


def _attrs(event: Mapping[str, Any], wrapper: Mapping[str, Any]) -> dict[str, str]:
    found = {
        "facility": event.get("facility"),
        "level": events.level_name(event),
        "umid": event.get("umid"),
        "num": event.get("num"),
        "incarnation": events.run_of(event),
        "tub": wrapper.get("from"),
    }
    return {key: presentable(plain_text(value), MAX_ATTR) for key, value in found.items() if value not in (None, "")}


def _unreadable(place: _Place, line: bytes, why: str, where: Mapping[str, Any]) -> Event:
    time = max(place.day, EARLIEST)
    return Event(
        kind="mark",
        cluster=place.cluster,
        host=place.host,
        time=time,
        received=time,
        id=f"{where['file']}:{where['offset']}",
        key=row_key(KIND, place.cluster, place.host, line.decode("utf-8", "backslashreplace")),
        level="warning",
        title="a line of the node's log cannot be read",
        text=str(Refused("unreadable", shorten(why), raw=line)),
        **where,
    )
