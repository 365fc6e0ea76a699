"""Answers as CSV, for spreadsheets: a cell that one would take for a formula begins with an apostrophe."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from lae_monitor.query.events import EventRow
from lae_monitor.query.groups import Group
from lae_monitor.query.hosts import Host

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def events_csv(rows: Iterable[EventRow]) -> str:
    """The fields of events, in the order of the API; attributes as JSON in one cell."""
    return _table([field.name for field in msgspec.structs.fields(EventRow)], rows)


def hosts_csv(hosts: Iterable[Host]) -> str:
    return _table([field.name for field in msgspec.structs.fields(Host)], hosts)


def groups_csv(groups: Iterable[Group]) -> str:
    return _table([field.name for field in msgspec.structs.fields(Group)], groups)


def _table(names: Sequence[str], rows: Iterable[msgspec.Struct]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in names])
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return f"'{text}" if text.startswith(_FORMULA) else text
