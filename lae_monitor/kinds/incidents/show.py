"""An incident, or a piece of a node's log, for people: as flogtool would print it, without secrets; and field by field."""

from collections.abc import Iterator
from typing import Final

from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.shown import MAX_TEXT, Logged, Section, Shown
from lae_monitor.kinds.incidents.node_logs import read as log_read
from lae_monitor.kinds.incidents.read import entries, line_of

LEFT_OUT: Final = "The rest is left out here; the original has it all."


def show(span: Span, data: bytes) -> Shown:
    """The events, as far as they can be read; those of an incident field by field, too."""
    lines: list[str] = []
    events: list[Logged] = []
    size, note = 0, ""
    try:
        for line, event in _log(data) if log_read.is_log(span.path) else _incident(data):
            size += len(line) + 1
            if size > MAX_TEXT:
                note = LEFT_OUT
                break
            lines.append(line)
            events += [event] if event is not None else []
    except Refused as refused:
        note = f"Not readable from here on: {refused.detail}"
    return Shown(sections=[Section(title="Events", text="\n".join(lines), note=note)], events=events)


def _log(data: bytes) -> Iterator[tuple[str, None]]:
    yield from ((line, None) for line in log_read.dump(data))


def _incident(data: bytes) -> Iterator[tuple[str, Logged | None]]:
    """
    Raises:
        Refused: `unreadable`.
    """
    about, events = entries(data)
    yield from ((line, None) for line in about)
    for event in events:
        failure = [f"    {part}" for part in event.failure.splitlines()]
        yield "\n".join([line_of(event), *failure]), event
