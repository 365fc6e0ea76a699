"""One report: its event, and what its bytes in the archive say, taken apart by its kind."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from lae_monitor.archive import Archive
from lae_monitor.core.kind import load
from lae_monitor.core.limits import MiB, format_size
from lae_monitor.core.redaction import redact, redacted
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.shown import Logged, Part, Section, Shown
from lae_monitor.query.decisions import group_id
from lae_monitor.query.events import EventRow, Found, select
from lae_monitor.query.planner import LATEST, Plan
from lae_monitor.store import Store
from lae_monitor.store.driver import Parameter

MAX_TAKEN_APART: Final = 32 * MiB  # bytes of a report that is shown; a larger one can be saved
PIECE: Final = 1 * MiB  # bytes read at a time when a report is saved
MAX_NAMESAKES: Final = 20  # events with one id that are told
MAX_DUPLICATES: Final = 50  # of one crash that are told


class Namesake(msgspec.Struct, kw_only=True):
    """Another event with the same id: nodes choose the names of their incidents."""

    cluster: str
    host: str
    time: str


class Duplicate(msgspec.Struct, kw_only=True):
    """Another report with the same attributes (a crash: minidump and guid), which its client sent more than once."""

    id: str
    cluster: str
    host: str
    received: str


class Report(msgspec.Struct, kw_only=True):
    """An event in full, where its bytes are (`file` from `offset` on, `length` bytes), and what they say.

    `duplicates`: the same crash, received at other times, first the first; `group_id`: of the group that it is in.
    `note` says why there is nothing to show of the bytes, when there is nothing. `events`: those of an incident, field by
    field; `about`: what its kind's `about_one` says.
    """

    event: EventRow
    cursor: str
    file: str
    offset: int
    length: int
    sections: list[Section] = []
    parts: list[Part] = []
    note: str = ""
    others: list[Namesake] = []
    duplicates: list[Duplicate] = []
    group_id: str = ""
    events: list[Logged] = []
    about: Any = None


async def find(store: Store, id: str, cluster: str = "", host: str = "") -> tuple[Found, list[Found]]:  # noqa: A002
    """The newest event with this id (of that cluster and host, where given), and others of the same id.

    Raises:
        Refused: `no_such_report`.
        StoreError
    """
    where, parameters = Plan().narrowed("id", id).at(cluster, host).where(0.0, LATEST)
    found = await select(store, where, parameters, MAX_NAMESAKES, whole=True)
    if not found:
        raise Refused("no_such_report", raw=id)
    return found[0], found[1:]


async def report(store: Store, archive: Archive, id: str, cluster: str = "", host: str = "") -> Report:  # noqa: A002
    """
    Raises:
        Refused: `no_such_report`.
        StoreError
    """
    found, others = await find(store, id, cluster, host)
    answer = Report(
        event=found.row,
        cursor=found.cursor,
        file=found.file,
        offset=found.offset,
        length=found.length,
        others=[Namesake(cluster=hit.row.cluster, host=hit.row.host, time=hit.row.time) for hit in others],
        duplicates=await _duplicates(store, found.row),
        group_id=group_id(found.row.kind, found.row.group) if found.row.group else "",
    )
    if not found.length:
        return answer
    if found.length > MAX_TAKEN_APART:
        size = format_size(found.length)
        answer.note = f"It has {size}, and is shown up to {format_size(MAX_TAKEN_APART)}; save it to look at it."
        return answer
    try:
        data = await archive.read(_span(found))
        kind = store.kinds.of_path(found.file)
        shown = await asyncio.to_thread(_show, kind.show if kind is not None else "", _span(found), data)
    except FileNotFoundError:
        answer.note = "The archive does not hand out its bytes: removed by retention, or its root does not answer."
    except Refused as refused:
        answer.note = redact(str(refused))
    else:
        answer.sections, answer.parts, answer.events = shown.sections, shown.parts, shown.events
    return answer


async def _duplicates(store: Store, event: EventRow) -> list[Duplicate]:
    kind = store.kinds.of_event(event.kind)
    if kind is None or not kind.same or not event.attrs.get(kind.same[0]):
        return []
    parameters: dict[str, Parameter] = {"kind": kind.event, "id": event.id}
    # The first is a word of the text index, which spares the engine looking into the attributes of every event.
    where = "kind = {kind:String} AND id != {id:String} AND hasAllTokens(words, {same0:String})"
    for number, name in enumerate(kind.same):
        parameters[f"same{number}"] = event.attrs.get(name, "")
        where += f" AND attrs['{name}'] = {{same{number}:String}}"
    found = await select(store, where, parameters, MAX_DUPLICATES, order="received, key")
    return [
        Duplicate(id=hit.row.id, cluster=hit.row.cluster, host=hit.row.host, received=hit.row.received or hit.row.time)
        for hit in found
    ]


async def original(archive: Archive, found: Found) -> AsyncIterator[bytes]:
    """The bytes of a report as they came, piece by piece.

    Raises:
        FileNotFoundError: it has none, or the archive does not have them (any more).
    """
    if not found.length:
        raise FileNotFoundError("this event is not read from a file")
    at, end = found.offset, found.offset + found.length
    while at < end:
        piece = await archive.read(Span(found.file, at, min(at + PIECE, end)))
        if not piece:
            return
        yield piece
        at += len(piece)


def _span(found: Found) -> Span:
    return Span(found.file, found.offset, found.offset + found.length)


def _show(show: str, span: Span, data: bytes) -> Shown:
    """What a kind's `show` makes of the bytes, without secrets; without one, the text."""
    if show:
        found: Shown = redacted(load(show)(span, data))
        return found
    try:
        return Shown(sections=[Section(title="As stored", text=redact(data.decode()))])
    except UnicodeDecodeError:
        return Shown()
