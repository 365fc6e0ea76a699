"""Groups: what is probably the same trouble, on whatever host it happens; how often, since when, and whether it is over.

Events with the same kind and the same `group` are one group, until an operator merges it into another. What is merged is
counted where it was merged into.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lae_monitor.core.kind import Kind, Kinds, load
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import LEVELS
from lae_monitor.core.time import DAY, HOUR, format_time, parse_time
from lae_monitor.query.decisions import ID_LENGTH, Decided, chain, decided, root_of
from lae_monitor.query.events import RANK
from lae_monitor.query.planner import LATEST, Plan, micros
from lae_monitor.store import Store
from lae_monitor.store.driver import Parameter

WITHIN: Final = 90 * DAY  # looked at, unless something else is asked for
MAX_GROUPS: Final = 1_000  # of one answer; further ones come page by page
MAX_OFFSET: Final = 100_000
MAX_NAMES: Final = 8  # hosts and versions that a list names; the group's own page has more
MAX_ALIKE: Final = 20  # groups that a beginning of an id may mean, and that are told
HOURS: Final = 24
DAYS: Final = 30
STATES: Final = ("open", "regressed", "closed")

GROUP_ID: Final = f"lower(substring(hex(SHA256(concat(kind, char(0), `group`))), 1, {ID_LENGTH}))"  # decisions.group_id
ORDERS: Final = {
    "last": "last DESC", "first": "first DESC", "count": "events DESC", "hosts": "places DESC", "level": "worst DESC",
}  # fmt: skip

_ROOT: Final = f"transform({GROUP_ID}, {{merged:Array(String)}}, {{roots:Array(String)}}, {GROUP_ID})"
_OF_CLASS: Final = (  # the class of an event is in its group's beginning
    "arrayExists((event, begins) -> kind = event AND startsWith(`group`, begins), "
    "{classed:Array(String)}, {begins:Array(String)})"
)
_CLOSED: Final = "toInt64OrZero(transform(root, {closed:Array(String)}, {closed_at:Array(String)}, '0'))"


def _counted(piece: str, start: str) -> str:
    """How many events in each piece of `piece` microseconds from `start` on, as pairs of arrays."""
    at = f"toUnixTimestamp64Micro(time) - {{{start}:Int64}}"
    within = f"{at} >= 0 AND toUnixTimestamp64Micro(time) < {{now:Int64}}"
    return f"sumMapIf([toUInt16(intDiv(greatest({at}, 0), {piece}))], [toUInt64(1)], {within})"


_HOSTS: Final = "sumMap(map(host, toUInt64(1)))"
_MOST: Final = (
    f"arraySlice(arrayMap(pair -> pair.1, arraySort(pair -> (-toInt64(pair.2), pair.1), "
    f"arrayZip(mapKeys({_HOSTS}), mapValues({_HOSTS})))), 1, {MAX_NAMES})"
)
_GROUPS: Final = f"""
SELECT *, count() OVER () AS total FROM (
  SELECT *, {_CLOSED} AS closed, multiIf(closed = 0, 'open', last > closed, 'regressed', 'closed') AS state FROM (
    SELECT {_ROOT} AS root, count() AS events, uniqExact(SEPARATE) AS separate, uniqExact(cluster, host) AS places,
      {_MOST} AS hosts, arraySort(groupUniqArrayIf({MAX_NAMES})(RELEASE, RELEASE != '')) AS versions,
      min(toUnixTimestamp64Micro(time)) AS first, max(toUnixTimestamp64Micro(time)) AS last, max({RANK}) AS worst,
      argMax((kind, title, `group`, id, cluster, host, WHY), ({GROUP_ID} = root, time, key)) AS newest,
      {_counted("3600000000", "day")} AS hours, {_counted("86400000000", "month")} AS days
    FROM {{events}} WHERE `group` != '' AND CONDITION GROUP BY root
  )
) WHERE has({{states:Array(String)}}, state) ORDER BY ORDER, root LIMIT {{limit:UInt32}} OFFSET {{offset:UInt32}}
"""
_ALIKE: Final = f"""
SELECT {GROUP_ID} AS id, max(time) AS last FROM {{lae}}.events
WHERE `group` != '' AND startsWith({GROUP_ID}, {{beginning:String}}) AND CONDITION
GROUP BY id ORDER BY last DESC LIMIT {{limit:UInt32}}
"""


class Example(msgspec.Struct, kw_only=True):
    """A report of a group."""

    id: str
    cluster: str
    host: str
    time: str


class Group(msgspec.Struct, kw_only=True):
    """One group, within the time that was asked for.

    `events`: how many came; `separate`: without what came twice (crashes with the same dump and guid); `places`: hosts, of
    which `hosts` names those with the most; `hours` and `days`: events of the last 24 hours and 30 days, oldest first;
    `why`: what makes its events one group; `newest`: an example, of its own before those of what was merged into it.
    `fingerprint`, `fingerprint_version`: of incidents, from what the group's name was made, and by which version of it.
    """

    id: str
    kind: str
    group: str
    title: str
    state: str
    events: int
    separate: int
    places: int
    hosts: list[str]
    versions: list[str]
    first: str
    last: str
    worst: str
    why: str
    newest: Example
    hours: list[int]
    days: list[int]
    closed: str = ""
    into: str = ""
    note: str = ""
    merged: list[str] = []
    fingerprint: str = ""
    fingerprint_version: str = ""


class Groups(msgspec.Struct, kw_only=True):
    """`total`: how many there are, of which `groups` are those from `offset` on; all since `since`."""

    groups: list[Group]
    total: int
    offset: int
    since: str


class Asking(msgspec.Struct, kw_only=True, frozen=True):
    """Which groups: of the class `product` of any kind ("" for all), in one of `states`, in the order `sort`."""

    product: str = ""
    states: tuple[str, ...] = ("open", "regressed")
    sort: str = "last"
    limit: int = 100
    offset: int = 0


async def groups(store: Store, planned: Plan, asking: Asking, now: float) -> Groups:
    """The groups of the events that `planned` describes; from WITHIN on, if it does not say since when.

    Raises:
        StoreError
    """
    known = await decided(store)
    since = planned.since or now - WITHIN
    where, parameters = planned.where(since, planned.until)
    if asking.product:
        beginnings = {kind.event: load(kind.class_group)(asking.product) for kind in store.kinds if kind.class_group}
        where += f" AND {_OF_CLASS}"
        parameters |= {"classed": list(beginnings), "begins": list(beginnings.values())}
    merged = {id_: root for id_ in known if (root := root_of(id_, known)) != id_}
    rows = await _aggregated(store, where, parameters, merged, known, asking, now)
    return Groups(
        groups=[_group(row, known, merged, store.kinds) for row in rows],
        total=rows[0]["total"] if rows else 0,
        offset=asking.offset,
        since=format_time(since),
    )


async def one(store: Store, id_: str, since: float, now: float, known: Mapping[str, Decided]) -> Group | None:
    """The group `id_` alone with what was merged into it; None when nothing happened of it since `since`.

    Raises:
        StoreError
    """
    members = members_of(id_, known)
    where, parameters = Plan().where(since, LATEST)
    where += f" AND has({{members:Array(String)}}, {GROUP_ID})"
    parameters["members"] = members
    asking = Asking(states=STATES, limit=1)
    merged = {member: id_ for member in members if member != id_}
    rows = await _aggregated(store, where, parameters, merged, known, asking, now)
    return _group(rows[0], known, merged, store.kinds) if rows else None


def members_of(id_: str, known: Mapping[str, Decided]) -> list[str]:
    """The group `id_`, and those that were merged into it, directly or not."""
    return [id_, *sorted(other for other in known if other != id_ and id_ in chain(other, known))]


async def find_id(store: Store, beginning: str, since: float, known: Mapping[str, Decided]) -> str:
    """The whole id of the group whose id begins with `beginning`.

    Raises:
        Refused: `not_found`; `bad_parameters` when it could be several.
        StoreError
    """
    beginning = beginning.lower()
    if not re.fullmatch(f"[0-9a-f]{{1,{ID_LENGTH}}}", beginning):
        raise Refused("not_found", "not the id of a group:", raw=beginning)
    where, parameters = Plan().where(since, LATEST)
    rows = await store.query(
        _ALIKE.replace("CONDITION", where), {**parameters, "beginning": beginning, "limit": MAX_ALIKE}
    )
    found = {row["id"] for row in rows} | {id_ for id_ in known if id_.startswith(beginning)}
    if not found:
        raise Refused(
            "not_found", f"no group since {format_time(since, digits=0)} has an id that begins with", raw=beginning
        )
    if beginning in found:
        return beginning
    if len(found) > 1:
        raise Refused("bad_parameters", f"several groups begin so: {', '.join(sorted(found)[:MAX_ALIKE])}")
    return found.pop()


async def _aggregated(
    store: Store,
    where: str,
    parameters: Mapping[str, Parameter],
    merged: Mapping[str, str],
    known: Mapping[str, Decided],
    asking: Asking,
    now: float,
) -> list[dict[str, Any]]:
    closed = {id_: micros(parse_time(decision.closed)) for id_, decision in known.items() if decision.closed}
    sql = (
        _GROUPS.replace("SEPARATE", separate(store.kinds))
        .replace("RELEASE", version(store.kinds))
        .replace("WHY", _attributes(store.kinds))
        .replace("ORDER BY ORDER", f"ORDER BY {ORDERS[asking.sort]}")
        .replace("CONDITION", where)
    )
    return await store.query(
        sql,
        {
            **parameters,
            "merged": list(merged),
            "roots": list(merged.values()),
            "closed": list(closed),
            "closed_at": [str(at) for at in closed.values()],
            "now": micros(now),
            "day": micros(now - HOURS * HOUR),
            "month": micros(now - DAYS * DAY),
            "states": list(asking.states),
            "limit": min(max(asking.limit, 1), MAX_GROUPS),
            "offset": min(max(asking.offset, 0), MAX_OFFSET),
        },
    )


def separate(kinds: Kinds) -> str:
    """An expression that is equal for events that are the same report, by the attributes that their kind names."""
    pairs = "".join(
        f"kind = '{kind.event}' AND {_same(kind)[0]} != '', {_same(kind)[1]}, " for kind in kinds if kind.same
    )
    return f"multiIf({pairs}hex(key))" if pairs else "hex(key)"


def version(kinds: Kinds) -> str:
    """An expression of the version that an event is of, "" for none, as its kind names it."""
    pairs = "".join(f"kind = '{kind.event}', {load(kind.version)}, " for kind in kinds if kind.version)
    return f"multiIf({pairs}'')" if pairs else "''"


def _same(kind: Kind) -> tuple[str, str]:
    first, *_ = attributes = [f"attrs['{name}']" for name in kind.same]
    joined = ", ' ', ".join([*attributes, "''"])
    return first, f"concat({joined})"


def _attributes(kinds: Kinds) -> str:
    """The map of all attributes that kinds explain their groups by."""
    names = sorted({name for kind in kinds for name in kind.why_attributes})
    pairs = ", ".join(f"'{name}', attrs['{name}']" for name in names)
    return f"map({pairs})"


def _group(row: dict[str, Any], known: Mapping[str, Decided], merged: Mapping[str, str], kinds: Kinds) -> Group:
    event, title, group, id_, cluster, host, attributes = row["newest"]
    kind = kinds.of_event(event)
    explained = load(kind.why)(group, attributes) if kind is not None and kind.why else "their group has the same name"
    decision = known.get(row["root"], Decided())
    return Group(
        **{name: row[name] for name in ("state", "events", "separate", "places", "hosts", "versions")},
        id=row["root"],
        kind=event,
        group=group,
        title=title,
        first=format_time(row["first"] / 1e6),
        last=format_time(row["last"] / 1e6),
        worst=LEVELS[row["worst"] - 1] if row["worst"] else "",
        why=explained,
        fingerprint=attributes.get("fingerprint", ""),
        fingerprint_version=attributes.get("fingerprint.version", ""),
        newest=Example(id=id_, cluster=cluster, host=host, time=format_time(row["last"] / 1e6)),
        hours=_spread(row["hours"], HOURS),
        days=_spread(row["days"], DAYS),
        closed=decision.closed,
        into=decision.into,
        note=decision.note,
        merged=sorted(other for other, root in merged.items() if root == row["root"]),
    )


def _spread(counted: tuple[list[int], list[int]], pieces: int) -> list[int]:
    found = dict(zip(*counted, strict=True))
    return [found.get(number, 0) for number in range(pieces)]
