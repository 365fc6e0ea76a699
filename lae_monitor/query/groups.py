"""Groups: what is probably the same trouble, on whatever host it happens; how often, since when, and whether it is over.

Events with the same kind and the same `group` are one group, until an operator merges it into another. What is merged is
counted where it was merged into.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from lae_monitor.core.kind import Kinds, load
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import LEVELS
from lae_monitor.core.time import DAY, HOUR, format_time, parse_time
from lae_monitor.query.decisions import ID_LENGTH, Decided, chain, decided, group_id, root_of
from lae_monitor.query.events import RANK
from lae_monitor.query.planner import LATEST, Plan, micros
from lae_monitor.store import Store
from lae_monitor.store.driver import Parameter
from lae_monitor.store.events import told_apart

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
    "last": "last DESC", "first": "first DESC", "count": "events DESC", "hosts": "on_hosts DESC", "level": "worst DESC",
}  # fmt: skip

_ROOT: Final = f"transform({GROUP_ID}, {{merged:Array(String)}}, {{roots:Array(String)}}, {GROUP_ID})"
_OF_CLASS: Final = (  # the class of an event is in its group's beginning
    "arrayExists((event, begins) -> kind = event AND startsWith(`group`, begins), "
    "{classed:Array(String)}, {begins:Array(String)})"
)
_CLOSED: Final = "toInt64OrZero(transform(root, {closed:Array(String)}, {closed_at:Array(String)}, '0'))"


_HOSTS: Final = "sumMap(map(host, n))"
_MOST: Final = (
    f"arraySlice(arrayMap(pair -> pair.1, arraySort(pair -> (-toInt64(pair.2), pair.1), "
    f"arrayZip(mapKeys({_HOSTS}), mapValues({_HOSTS})))), 1, {MAX_NAMES})"
)
_AT: Final = "toUnixTimestamp64Micro(time)"

# The groups, by as little of each event as will do; what takes more (hosts, attributes, title) is asked of those shown.
_GROUPS: Final = f"""
SELECT *, count() OVER () AS total FROM (
  SELECT *, {_CLOSED} AS closed, multiIf(closed = 0, 'open', last > closed, 'regressed', 'closed') AS state FROM (
    SELECT {_ROOT} AS root, sum(n) AS events, sumIf(n, NOT has({{told_apart:Array(String)}}, kind)) AS others,
      min(begins_at) AS first, max(ends_at) AS last, max(rank) AS worst, groupUniqArray(`group`) AS names,
      ON_HOSTS AS on_hosts
    FROM (
      SELECT kind, `group`, count() AS n, min({_AT}) AS begins_at, max({_AT}) AS ends_at, max({RANK}) AS rank, HOSTS AS seen
      FROM {{events}} WHERE `group` != '' AND CONDITION GROUP BY kind, `group`
    ) GROUP BY root
  )
) WHERE has({{states:Array(String)}}, state) ORDER BY ORDER, root LIMIT {{limit:UInt32}} OFFSET {{offset:UInt32}}
"""
_ON_HOSTS: Final = {  # the list knows of hosts only where it is in their order: that is half of what it costs
    True: ("uniqExactMerge(seen)", "uniqExactState(cluster, host)"),
    False: ("0", "0"),
}
_PLACES: Final = f"""
SELECT {_ROOT} AS root, uniqExact(cluster, host) AS places, {_MOST} AS hosts,
  argMax((kind, `group`, cluster, host, ends_at), ({GROUP_ID} = root, ends_at, cluster, host)) AS newest
FROM (
  SELECT kind, `group`, cluster, host, count() AS n, max({_AT}) AS ends_at
  FROM {{events}} WHERE `group` IN {{names:Array(String)}} AND CONDITION GROUP BY kind, `group`, cluster, host
) GROUP BY root
"""
_DETAILS: Final = f"""
SELECT {_ROOT} AS root, uniqExact(SEPARATE) AS separate, VERSIONS AS versions
FROM {{events}} WHERE `group` IN {{names:Array(String)}} AND kind IN {{told_apart:Array(String)}} AND CONDITION GROUP BY root
"""
_COUNTS: Final = f"""
SELECT kind, `group`, intDiv({_AT} - {{begin:Int64}}, {{piece:Int64}}) AS piece, count() AS events
FROM {{events}} WHERE `group` IN {{names:Array(String)}} AND time >= fromUnixTimestamp64Micro({{begin:Int64}}, 'UTC')
  AND time < fromUnixTimestamp64Micro({{now:Int64}}, 'UTC') AND CONDITION GROUP BY kind, `group`, piece
"""
_NEWEST: Final = f"""
SELECT kind, title, `group`, id, cluster, host, {_AT} AS at, WHY AS attributes
FROM {{events}} WHERE (cluster, host, time) IN (
    SELECT place.1, place.2, fromUnixTimestamp64Micro(toInt64(place.3), 'UTC')
    FROM (SELECT arrayJoin(arrayZip({{clusters:Array(String)}}, {{hosts:Array(String)}}, {{times:Array(String)}})) AS place)
  ) AND `group` IN {{names:Array(String)}} AND CONDITION
ORDER BY key DESC LIMIT 1 BY kind, `group`, cluster, host, at
"""
# An id is a hash: made for each group, not for each event.
_NAMED: Final = """
SELECT kind, `group`, max(time) AS last FROM {lae}.events WHERE `group` != '' AND CONDITION GROUP BY kind, `group`
"""
_ALIKE: Final = f"""
SELECT {GROUP_ID} AS id FROM ({_NAMED}) WHERE startsWith(id, {{beginning:String}}) ORDER BY last DESC LIMIT {{limit:UInt32}}
"""
_NAMES: Final = f"SELECT kind, `group` AS name FROM ({_NAMED}) WHERE has({{members:Array(String)}}, {GROUP_ID})"
OF_NAMES: Final = (
    "`group` IN {names:Array(String)} AND (kind, `group`) IN (SELECT pair.1, pair.2 FROM "
    "(SELECT arrayJoin(arrayZip({kinds:Array(String)}, {names:Array(String)})) AS pair))"
)


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
    where, parameters = await of_members(store, members, since)
    asking = Asking(states=STATES, limit=1)
    merged = {member: id_ for member in members if member != id_}
    rows = await _aggregated(store, where, parameters, merged, known, asking, now)
    return _group(rows[0], known, merged, store.kinds) if rows else None


async def of_members(store: Store, members: Sequence[str], since: float) -> tuple[str, dict[str, Parameter]]:
    """The condition of the events since `since` of the groups with the ids `members`, and its parameters.

    Raises:
        StoreError
    """
    where, parameters = Plan().where(since, LATEST)
    rows = await store.query(_NAMES.replace("CONDITION", where), {**parameters, "members": members})
    names: dict[str, Parameter] = {"kinds": [row["kind"] for row in rows], "names": [row["name"] for row in rows]}
    return f"{OF_NAMES} AND {where}", parameters | names


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
    """The groups that are asked for, each with all that `_group` needs."""
    closed = {id_: micros(parse_time(decision.closed)) for id_, decision in known.items() if decision.closed}
    shared = {**parameters, "merged": list(merged), "roots": list(merged.values()), "now": micros(now)}
    shared["told_apart"] = told_apart(store.kinds)

    async def ask(sql: str, **more: Parameter) -> list[dict[str, Any]]:
        return await store.query(sql.replace("CONDITION", where), {**shared, **more})

    merged_hosts, seen = _ON_HOSTS[asking.sort == "hosts"]
    listed = _GROUPS.replace("ON_HOSTS", merged_hosts).replace("HOSTS", seen)
    rows = await ask(
        listed.replace("ORDER BY ORDER", f"ORDER BY {ORDERS[asking.sort]}"),
        closed=list(closed),
        closed_at=[str(at) for at in closed.values()],
        states=list(asking.states),
        limit=min(max(asking.limit, 1), MAX_GROUPS),
        offset=min(max(asking.offset, 0), MAX_OFFSET),
    )
    return await _with_details(rows, ask, merged, store, now) if rows else rows


async def _with_details(
    rows: list[dict[str, Any]],
    ask: Callable[..., Awaitable[list[dict[str, Any]]]],
    merged: Mapping[str, str],
    store: Store,
    now: float,
) -> list[dict[str, Any]]:
    names = sorted({name for row in rows for name in row["names"]})
    roots = {row["root"]: row for row in rows}
    for row in rows:
        row.update(separate=row["others"], versions=[], hours=[0] * HOURS, days=[0] * DAYS)
    if details := _details(store):
        for row in await ask(details, names=names):
            # Two kinds may have groups of one name, of which one may not be shown.
            group = roots.get(row["root"], {"others": 0})
            group.update(separate=group["others"] + row["separate"], versions=row["versions"])
    for field, piece, pieces in (("hours", HOUR, HOURS), ("days", DAY, DAYS)):
        counts = await ask(_COUNTS, names=names, begin=micros(now - pieces * piece), piece=micros(piece))
        for row in counts:
            id_ = group_id(row["kind"], row["group"])
            if (root := merged.get(id_, id_)) in roots:
                roots[root][field][row["piece"]] += row["events"]
    for row in await ask(_PLACES, names=names):
        roots.get(row["root"], {}).update(row)
    newest = {tuple(row["newest"]): row for row in rows if "newest" in row}
    found = await ask(
        _NEWEST.replace("WHY", _attributes(store.kinds)),
        names=names,
        clusters=[place[2] for place in newest],
        hosts=[place[3] for place in newest],
        times=[str(place[4]) for place in newest],
    )
    for row in found:
        shown = newest.get((row["kind"], row["group"], row["cluster"], row["host"], row["at"]))
        if shown is not None:
            shown["example"] = row
    return [row for row in rows if "example" in row]  # without those that were removed meanwhile


def _details(store: Store) -> str:
    """The query for what only attributes say; "" where no kind has such attributes."""
    release = store.events.release
    versions = f"arraySort(groupUniqArrayIf({MAX_NAMES})({release}, {release} != ''))"
    query = _DETAILS.replace("SEPARATE", store.events.twin).replace("VERSIONS", versions)
    return query if told_apart(store.kinds) else ""


def _attributes(kinds: Kinds) -> str:
    """The map of all attributes that kinds explain their groups by."""
    names = sorted({name for kind in kinds for name in kind.why_attributes})
    pairs = ", ".join(f"'{name}', attrs['{name}']" for name in names)
    return f"map({pairs})"


def _group(row: dict[str, Any], known: Mapping[str, Decided], merged: Mapping[str, str], kinds: Kinds) -> Group:
    newest = row["example"]
    event, group, attributes = newest["kind"], newest["group"], newest["attributes"]
    kind = kinds.of_event(event)
    explained = load(kind.why)(group, attributes) if kind is not None and kind.why else "their group has the same name"
    decision = known.get(row["root"], Decided())
    return Group(
        **{name: row[name] for name in ("state", "events", "separate", "places", "hosts", "versions", "hours", "days")},
        id=row["root"],
        kind=event,
        group=group,
        title=newest["title"],
        first=format_time(row["first"] / 1e6),
        last=format_time(row["last"] / 1e6),
        worst=LEVELS[row["worst"] - 1] if row["worst"] else "",
        why=explained,
        fingerprint=attributes.get("fingerprint", ""),
        fingerprint_version=attributes.get("fingerprint.version", ""),
        newest=Example(
            id=newest["id"], cluster=newest["cluster"], host=newest["host"], time=format_time(newest["at"] / 1e6)
        ),
        closed=decision.closed,
        into=decision.into,
        note=decision.note,
        merged=sorted(other for other, root in merged.items() if root == row["root"]),
    )
