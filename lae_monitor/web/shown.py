"""How templates show things: times as days and ages, links to hosts and reports, timelines as lists of days."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

from lae_monitor.core.kind import Kinds
from lae_monitor.core.limits import format_size
from lae_monitor.core.printable import one_line
from lae_monitor.core.time import format_duration, parse_time
from lae_monitor.query.events import EventRow
from lae_monitor.query.grammar import Filter, Query, Text
from lae_monitor.query.timeline import Gap
from lae_monitor.query.writing import format_query

FEWEST_RUNS: Final = 3  # routine events in a row (runs of Sonar), alike and together, that are shown as one line


class Entry(NamedTuple):
    """A line of a timeline: an event, a gap, or several routine events in a row that are alike."""

    event: EventRow | None = None
    gap: Gap | None = None
    runs: tuple[EventRow, ...] = ()


class Day(NamedTuple):
    """The entries of one UTC day, newest first."""

    date: str
    name: str
    entries: list[Entry]


def days(events: Sequence[EventRow], gaps: Iterable[Gap], kinds: Kinds, *, older: bool) -> list[Day]:
    """A page of a timeline, with the gaps that lie within it, by day.

    Args:
        older: whether there are further pages; without, gaps before the first event belong to this one.
    """
    timed: list[tuple[str, Entry]] = [(event.time, Entry(event=event)) for event in events]
    newest = events[0].time if events else "9"
    oldest = events[-1].time if events and older else ""
    timed += [(gap.end, Entry(gap=gap)) for gap in gaps if oldest <= gap.end and (gap.open or gap.end <= newest)]
    timed.sort(key=lambda item: item[0], reverse=True)
    found: dict[str, list[Entry]] = {}
    for time, entry in timed:
        found.setdefault(time[:10], []).append(entry)
    return [Day(date, _name(date), _folded(entries, kinds)) for date, entries in found.items()]


def _name(date: str) -> str:
    return datetime.fromisoformat(date).replace(tzinfo=UTC).strftime("%A, %-d %B %Y")


def _folded(entries: list[Entry], kinds: Kinds) -> list[Entry]:
    folding = {kind.event for kind in kinds if kind.runs}
    folded: list[Entry] = []
    runs: list[EventRow] = []

    def flush() -> None:
        folded.extend([Entry(runs=tuple(runs))] if len(runs) >= FEWEST_RUNS else map(Entry, runs))
        runs.clear()

    for entry in entries:
        event = entry.event
        if event is None or event.kind not in folding or (runs and _alike(event) != _alike(runs[-1])):
            flush()
        if event is not None and event.kind in folding:
            runs.append(event)
        else:
            folded.append(entry)
    flush()
    return folded


def _alike(run: EventRow) -> tuple[str, str, str, str]:
    """What events have in common that are shown as one line."""
    return run.kind, run.cluster, run.host, "info" if run.level == "debug" else run.level


def ago(time: str | None, now: str) -> str:
    """`3h 20m ago`, of RFC 3339 times."""
    if not time:
        return "never"
    seconds = parse_time(now) - parse_time(time)
    return "just now" if seconds < 1 else f"{format_duration(seconds)} ago"


def clock(time: str) -> str:
    """`09:44:34` of an RFC 3339 time."""
    return time[11:19]


def moment(time: str | None) -> str:
    """`2026-11-22 09:44:34` of an RFC 3339 time."""
    return f"{time[:10]} {time[11:19]}" if time else "unknown"


def host_url(cluster: str, host: str, **parameters: object) -> str:
    """The address of a host's page, with a fragment of its query."""
    given = [(name, value) for name, value in parameters.items() if value]
    query = urlencode(given, doseq=True)
    return f"/host/{quote(cluster, safe='') or '-'}/{quote(host, safe='')}" + (f"?{query}" if query else "")


def report_url(event: EventRow) -> str:
    """The address of an event's page; the host goes with it, because nodes choose the names of their incidents."""
    return report_address(event.id, event.cluster, event.host)


def report_address(id_: str, cluster: str, host: str) -> str:
    """The address of the page of the report `id_` of one host."""
    return f"/report/{quote(id_, safe='')}?" + urlencode({"cluster": cluster, "host": host})


def search_url(query: str) -> str:
    return "/search?" + urlencode({"q": query})


def group_query(group: str) -> str:
    """The search for all events of a group."""
    return format_query(Query((Filter("group", (Text(group),)),)))


FILTERS: Final = {
    "ago": ago,
    "clock": clock,
    "moment": moment,
    "line": one_line,
    "duration": format_duration,
    "size": format_size,
    "report_url": report_url,
}
