"""One group in full: on which hosts, of which versions, its newest reports, what was decided of it."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import format_time
from lae_monitor.query.decisions import Decided, Step, decided, root_of
from lae_monitor.query.events import EventRow, select
from lae_monitor.query.groups import GROUP_ID, Group, find_id, members_of, of_members, one
from lae_monitor.store import Store
from lae_monitor.store.driver import Parameter

MAX_HOSTS: Final = 200
MAX_VERSIONS: Final = 50
MAX_REPORTS: Final = 20
MAX_MEMBERS: Final = 50  # groups merged into it that are named

_HOSTS: Final = """
SELECT cluster, host, count() AS events, min(toUnixTimestamp64Micro(time)) AS first,
  max(toUnixTimestamp64Micro(time)) AS last
FROM {events} WHERE CONDITION GROUP BY cluster, host ORDER BY events DESC, host LIMIT {limit:UInt32}
"""
_VERSIONS: Final = """
SELECT RELEASE AS version, count() AS events, min(toUnixTimestamp64Micro(time)) AS first,
  max(toUnixTimestamp64Micro(time)) AS last
FROM {events} WHERE version != '' AND CONDITION GROUP BY version ORDER BY last DESC LIMIT {limit:UInt32}
"""
_MEMBERS: Final = f"""
SELECT {GROUP_ID} AS id, kind, `group`, events FROM (
  SELECT kind, `group`, count() AS events FROM {{events}} WHERE CONDITION GROUP BY kind, `group`
) ORDER BY events DESC, id LIMIT {{limit:UInt32}}
"""
_TWICE: Final = """
SELECT id FROM (
  SELECT id, row_number() OVER (PARTITION BY kind, SEPARATE ORDER BY received, key) AS turn
  FROM {events} WHERE CONDITION
) WHERE turn > 1 AND has({ids:Array(String)}, id) LIMIT {limit:UInt32}
"""


class Where(msgspec.Struct, kw_only=True):
    """How much of a group was on one host, and from when to when."""

    cluster: str
    host: str
    events: int
    first: str
    last: str


class Which(msgspec.Struct, kw_only=True):
    """How much of a group was of one version, and from when to when."""

    version: str
    events: int
    first: str
    last: str


class Member(msgspec.Struct, kw_only=True):
    """A group that was merged into this one."""

    id: str
    kind: str
    group: str
    events: int


class GroupPage(msgspec.Struct, kw_only=True):
    """`reports`: the newest; those whose ids are in `twice` came before already, under another id.

    `members`: what was merged into the group; `decisions`: the newest last; all events since `since`.
    """

    group: Group
    since: str
    hosts: list[Where]
    versions: list[Which]
    reports: list[EventRow]
    twice: list[str]
    members: list[Member]
    decisions: list[Step]


async def group_page(store: Store, beginning: str, since: float, now: float) -> GroupPage:
    """The group whose id begins with `beginning`, by its events since `since`; or the one that has its events.

    Raises:
        Refused: `not_found`; `bad_parameters` when it could be several.
        StoreError
    """
    known = await decided(store)
    id_ = await find_id(store, beginning, since, known)
    found = await one(store, id_, since, now, known)
    if found is None and (root := root_of(id_, known)) != id_:
        return await group_page(store, root, since, now)
    if found is None:
        raise Refused("not_found", f"nothing happened of group {id_} since {format_time(since, digits=0)}")
    members = members_of(id_, known)
    where, place = await of_members(store, members, since)

    async def ask(sql: str, limit: int, **more: Parameter) -> list[dict[str, Any]]:
        return await store.query(sql.replace("CONDITION", where), {**place, **more, "limit": limit})

    reports = [hit.row for hit in await select(store, where, place, MAX_REPORTS)]
    twice = await ask(_TWICE.replace("SEPARATE", store.events.twin), MAX_REPORTS, ids=[row.id for row in reports])
    releases = _VERSIONS.replace("RELEASE", store.events.release)
    return GroupPage(
        group=found,
        since=format_time(since),
        hosts=[msgspec.convert(_timed(row), Where) for row in await ask(_HOSTS, MAX_HOSTS)],
        versions=[msgspec.convert(_timed(row), Which) for row in await ask(releases, MAX_VERSIONS)],
        reports=reports,
        twice=[row["id"] for row in twice],
        members=[_member(row) for row in await ask(_MEMBERS, MAX_MEMBERS)] if len(members) > 1 else [],
        decisions=known.get(id_, Decided()).steps,
    )


def _timed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "first": format_time(row["first"] / 1e6), "last": format_time(row["last"] / 1e6)}


def _member(row: Mapping[str, Any]) -> Member:
    return msgspec.convert(row, Member)
