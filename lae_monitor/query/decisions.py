"""What operators decide of groups: closed, merged into another, with a note. In the journal first: it survives the store.

The newest decision of a group holds. Each one therefore says all that holds of its group from then on, with the last few
steps that led there. It is written to the store right away, as the mover will write it once more from the journal (the store
shows once what is stored twice): who decides sees it at once.
"""

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from lae_monitor.archive import Archive, Journal
from lae_monitor.archive import journal as journal_reader
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Row
from lae_monitor.core.time import Clock, format_time, wall_clock
from lae_monitor.store import Store, StoreError
from lae_monitor.store.driver import Parameter

# What was decided of a group holds, too, when a new version of its reader gives the group another name.
#
# Readers say in the attribute `Kind.formerly` of an event what former versions called its group, a line each. Where
# something was decided of such a group, the one that its events are in now takes it over, until something is decided of that
# itself.
MAX_RENAMED: Final = 20_000  # pairs of a former group and one of today

_RENAMED: Final = """
SELECT former, present, count() AS events FROM (
  SELECT arrayJoin(splitByChar('\\n', FORMERLY)) AS was,
    lower(substring(hex(SHA256(concat(kind, char(0), was))), 1, {length:UInt8})) AS former,
    lower(substring(hex(SHA256(concat(kind, char(0), `group`))), 1, {length:UInt8})) AS present
  FROM {lae}.events WHERE kind IN {kinds:Array(String)} AND FORMERLY != ''
) WHERE former != present AND has({ids:Array(String)}, former)
GROUP BY former, present ORDER BY former, events DESC, present LIMIT {limit:UInt32}
"""


async def renamed(store: Store, ids: Iterable[str], length: int) -> dict[str, list[str]]:
    """Of the groups `ids`, those that have other ids now: which, the one with the most events first.

    Args:
        length: of an id, in hexadecimal digits.

    Raises:
        StoreError
    """
    wanted = sorted(ids)
    told = {kind.event: f"kind = '{kind.event}', attrs['{kind.formerly}']" for kind in store.kinds if kind.formerly}
    if not wanted or not told:
        return {}
    sql = _RENAMED.replace("FORMERLY", f"multiIf({', '.join(told.values())}, '')")
    found: dict[str, list[str]] = {}
    parameters: dict[str, Parameter] = {"ids": wanted, "length": length, "limit": MAX_RENAMED, "kinds": list(told)}
    for row in await store.query(sql, parameters):
        found.setdefault(row["former"], []).append(row["present"])
    return found


log = logging.getLogger(__name__)

SUBJECT: Final = "group"
ID_LENGTH: Final = 12  # hexadecimal digits: among a million groups, two share an id once in 500 fleets
MAX_DECIDED: Final = 20_000  # groups that something was decided of
MAX_STEPS: Final = 20  # of one group, that are kept
MAX_NOTE: Final = 1_000  # characters
MAX_BY: Final = 100  # characters
MAX_CHAIN: Final = 100  # merges followed from one group to the next

Act = Literal["close", "reopen", "merge", "unmerge", "note"]

_ALL: Final = """
SELECT about, value, toUnixTimestamp64Micro(time) AS at FROM {lae}.decisions FINAL
WHERE subject = {subject:String} ORDER BY about LIMIT {limit:UInt32}
"""


class Step(msgspec.Struct, kw_only=True):
    """One decision: what, when, by whom; `into` of a merge."""

    act: str
    time: str
    by: str = ""
    note: str = ""
    into: str = ""


class Decided(msgspec.Struct, kw_only=True):
    """What holds of one group. `closed`: since when, "" for an open one; `into`: the group it was merged into."""

    closed: str = ""
    into: str = ""
    note: str = ""
    steps: list[Step] = []
    at: int = 0  # microseconds since the epoch, of the newest step; told by the row, not by the value


def group_id(kind: str, group: str) -> str:
    """The id of a group, the same on every monitor. GROUP_ID in query.groups says it in SQL."""
    return hashlib.sha256(f"{kind}\0{group}".encode("utf-8", "replace")).hexdigest()[:ID_LENGTH]


def chain(id_: str, known: Mapping[str, Decided]) -> list[str]:
    """The group `id_`, the one that it was merged into, the one that that was merged into, and so on."""
    found = [id_]
    while (
        len(found) < MAX_CHAIN and (decision := known.get(found[-1])) and decision.into and decision.into not in found
    ):
        found.append(decision.into)
    return found


def root_of(id_: str, known: Mapping[str, Decided]) -> str:
    """The group that shows what belongs to `id_`: itself, or the one that it was merged into in the end."""
    return chain(id_, known)[-1]


async def decided(store: Store) -> dict[str, Decided]:
    """What was decided of groups, by their ids; also of those that had another id when it was decided.

    Raises:
        StoreError
    """
    rows = await store.query(_ALL, {"subject": SUBJECT, "limit": MAX_DECIDED})
    known = {row["about"]: _understood(row) for row in rows}
    return carried(known, await renamed(store, known, ID_LENGTH))


def carried(known: Mapping[str, Decided], presents: Mapping[str, Sequence[str]]) -> dict[str, Decided]:
    """`known` with what groups of today take over of those that they were before.

    Args:
        presents: for the ids of groups as they were, those of the groups that have their events now, the largest first.
    """
    found = dict(known)
    for former, ids in sorted(presents.items(), key=lambda item: -known[item[0]].at):
        was = known[former]
        into = presents[was.into][0] if was.into in presents else was.into
        for id_ in ids:
            found.setdefault(id_, msgspec.structs.replace(was, into="" if into == id_ else into))
        if len(ids) == 1 and former not in chain(ids[0], found):
            # Events that were stored under the former name are counted with the others.
            found[former] = msgspec.structs.replace(was, into=ids[0])
    return found


def _understood(row: dict[str, Any]) -> Decided:
    """A decision of another release may have another form: it is taken as none, and decided anew."""
    try:
        found = msgspec.json.decode(row["value"], type=Decided)
    except msgspec.MsgspecError as error:
        log.warning("a decision of group %s cannot be read: %s", row["about"], error)
        found = Decided()
    found.at = int(row["at"])
    return found


class Decisions:
    """Takes decisions, one after the other.

    Args:
        store: where they are read, and written as well.
        archive, journal: where they are made durable; the journal is that archive's.
    """

    def __init__(self, store: Store, archive: Archive, journal: Journal, clock: Clock = wall_clock) -> None:
        self._store = store
        self._archive = archive
        self._journal = journal
        self._clock = clock
        self._one = asyncio.Lock()

    async def decide(self, act: Act, id_: str, *, by: str, note: str = "", into: str = "") -> Decided:
        """What holds of the group `id_` from now on; durable on return.

        Args:
            id_, into: whole ids of groups that there are.

        Raises:
            Refused: `bad_parameters`: a merge into itself or in a circle, an unmerge of what is not merged, too long a note.
            Full, Failed: nothing was decided.
            StoreError
        """
        if len(note) > MAX_NOTE or len(by) > MAX_BY:
            raise Refused("bad_parameters", f"a note has at most {MAX_NOTE} characters, a name {MAX_BY}")
        async with self._one:
            known = await decided(self._store)
            before = known.get(id_, Decided())
            if act == "merge":
                _check_merge(id_, into, known)
            elif act == "unmerge" and not before.into:
                raise Refused("bad_parameters", f"{id_} is not merged into another group")
            # Later than the decision before in any case: a clock that was set back must not undo what is decided now.
            at = max(int(self._clock() * 1e6), before.at + 1)
            after = _after(before, Step(act=act, time=format_time(at / 1e6, digits=6), by=by, note=note, into=into))
            span = await self._journal.write(
                "decision", subject=SUBJECT, about=id_, value=msgspec.json.encode(after).decode(), by=by, time=at / 1e6
            )
            try:
                rows: list[Row] = list(journal_reader.read(span, await self._archive.read(span)))
                await self._store.insert("decisions", rows, [(span.path, span.start)], f"decided:{id_}:{at}")
            except (StoreError, OSError) as error:
                log.warning("a decision is in the journal, and will be seen when the mover has moved it: %s", error)
            return after


def _check_merge(id_: str, into: str, known: dict[str, Decided]) -> None:
    if id_ == into:
        raise Refused("bad_parameters", f"{id_} cannot be merged into itself")
    if id_ in chain(into, known):
        raise Refused("bad_parameters", f"{into} is merged into {id_} already: that would be a circle")


def _after(before: Decided, step: Step) -> Decided:
    """What holds after `step`."""
    closed, into = before.closed, before.into
    if step.act == "close":
        closed = step.time
    elif step.act == "reopen":
        closed = ""
    elif step.act in {"merge", "unmerge"}:
        into = step.into
    return Decided(closed=closed, into=into, note=step.note or before.note, steps=[*before.steps, step][-MAX_STEPS:])
