"""Groups that nobody has seen before: the first crash of its signature, the first incident of its fingerprint; and groups
that were closed, and happen again.

What was in the store when the ledger was begun is known without an alarm, and so is a group that only has another name since
its events were read anew: one whose first event was the first of a known group, or was received long ago.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from lae_monitor.alerts.alarm import Condition
from lae_monitor.alerts.ledger import Ledger
from lae_monitor.core.rows import LEVELS
from lae_monitor.core.time import DAY, format_time, parse_time
from lae_monitor.query.decisions import Decided, decided, root_of
from lae_monitor.query.events import RANK
from lae_monitor.query.groups import GROUP_ID
from lae_monitor.query.planner import micros
from lae_monitor.store import Store
from lae_monitor.store.driver import Parameter

LATE: Final = DAY  # from received to stored: an archive that comes home, a mover that was behind
NEWS: Final = 7 * DAY  # what happened before that is history, such as what an import brings
CLOSED: Final = " closed "  # between a group's id and the moment of its closing: each closing can be regretted once
AT_ONCE: Final = 500  # groups that are looked at in one query
NEVER: Final = "never"

_LATELY: Final = f"""
SELECT {GROUP_ID} AS id, kind AS a_kind, `group` AS a_group FROM (
  SELECT kind, `group`, min(received) AS first FROM {{lae}}.events
  WHERE `group` != '' AND kind NOT IN ('alarm', 'mark') AND time >= fromUnixTimestamp64Micro({{news:Int64}}, 'UTC')
    AND received >= fromUnixTimestamp64Micro({{since:Int64}}, 'UTC') AND {RANK} >= {{rank:UInt8}}
  GROUP BY kind, `group`
) ORDER BY first, id
"""
_EVER: Final = f"""
SELECT {GROUP_ID} AS id, count() AS events, uniqExact(cluster, host) AS places,
  argMin((toUnixTimestamp64Micro(received), lower(hex(key))), (received, key)) AS first,
  argMin((kind, cluster, host, id_, title, level, toUnixTimestamp64Micro(time)), (received, key)) AS example,
  max(rank) AS worst
FROM (
  SELECT kind, `group`, cluster, host, id AS id_, title, level, time, received, key, {RANK} AS rank
  FROM {{events}} WHERE `group` IN {{groups:Array(String)}} AND kind NOT IN ('alarm', 'mark')
) GROUP BY id HAVING has({{ids:Array(String)}}, id)
"""


_AGAIN: Final = f"""
SELECT {GROUP_ID} AS id, count() AS events,
  argMin((kind, cluster, host, id_, title, level, toUnixTimestamp64Micro(time)), (time, key)) AS example
FROM (
  SELECT kind, `group`, cluster, host, id AS id_, title, level, time, key FROM {{events}}
  WHERE `group` != '' AND kind NOT IN ('alarm', 'mark') AND {RANK} >= {{rank:UInt8}}
    AND time >= fromUnixTimestamp64Micro({{news:Int64}}, 'UTC')
    AND toUnixTimestamp64Micro(received) >= {{fresh:Int64}} AND has({{ids:Array(String)}}, {GROUP_ID})
    AND toUnixTimestamp64Micro(time) > toInt64OrZero(transform({GROUP_ID}, {{ids:Array(String)}}, {{at:Array(String)}}, '0'))
) GROUP BY id ORDER BY id
"""


class Seen(NamedTuple):
    """The groups that are new, and all that were looked at: id -> key of the first event."""

    new: list[Condition]
    known: dict[str, str]


async def news(store: Store, ledger: Ledger, level: str, fresh: float, now: float) -> Seen:
    """What is new, or happens again, since the last look.

    Args:
        level: of LEVELS, or NEVER; groups below it raise no alarm.
        fresh: seconds since the epoch; what was received before then was there already.

    Raises:
        StoreError
    """
    if level == NEVER:
        return Seen([], {})
    known = await decided(store)
    new = await _new(store, ledger, level, fresh, now, known)
    again = await _regressed(store, ledger, level, fresh, now, known)
    return Seen([*new.new, *again.new], new.known | again.known)


async def _new(
    store: Store, ledger: Ledger, level: str, fresh: float, now: float, named: Mapping[str, Decided]
) -> Seen:
    values: dict[str, Parameter] = {
        "news": micros(now - NEWS), "since": micros(min(fresh, now - LATE)), "rank": LEVELS.index(level) + 1,
    }  # fmt: skip
    lately = await store.query(_LATELY, values)
    unknown = ledger.unknown_groups([row["id"] for row in lately])
    asked = [row for row in lately if row["id"] in unknown][:AT_ONCE]  # the others at the next look
    if not asked:
        return Seen([], {})
    groups: Sequence[str] = sorted({row["a_group"] for row in asked})
    rows = await store.query(_EVER, {"groups": groups, "ids": [row["id"] for row in asked]})
    known = {row["id"]: row["first"][1] for row in rows}
    renamed = ledger.known_firsts(list(known.values()))
    new = [
        _condition(row)
        for row in rows
        if row["first"][0] >= micros(fresh) and row["first"][1] not in renamed and row["id"] not in named
    ]
    return Seen(new, known)


async def _regressed(
    store: Store, ledger: Ledger, level: str, fresh: float, now: float, known: Mapping[str, Decided]
) -> Seen:
    closed = {id_: micros(parse_time(decision.closed)) for id_, decision in known.items() if decision.closed}
    roots = {id_: root for id_ in known if (root := root_of(id_, known)) in closed}
    marks = {root: f"{root}{CLOSED}{at}" for root, at in closed.items()}
    untold = ledger.unknown_groups(list(marks.values()))
    asked = {id_: root for id_, root in roots.items() if marks[root] in untold}
    if not asked:
        return Seen([], {})
    values: dict[str, Parameter] = {
        "news": micros(now - NEWS), "fresh": micros(fresh), "rank": LEVELS.index(level) + 1,
        "ids": list(asked), "at": [str(closed[root]) for root in asked.values()],
    }  # fmt: skip
    found: dict[str, Condition] = {}
    for row in await store.query(_AGAIN, values):
        root = asked[row["id"]]
        found.setdefault(marks[root], _again(root, known[root], row))
    return Seen([*found.values()], dict.fromkeys(found, ""))


def _again(root: str, decision: Decided, row: Mapping[str, Any]) -> Condition:
    kind, cluster, host, id_, title, level, time = row["example"]
    note = f' The note was: "{decision.note}".' if decision.note else ""
    return Condition(
        rule="group regressed",
        about=root,
        cluster=cluster,
        host=host,
        level=level,
        title=f"{kind} again on {host}: {title}",
        text=f"Its group was closed at {decision.closed[:19]}Z, and it happened again at {format_time(time / 1e6)}."
        f"{note}\nSee: lae-monitor group show {root}; lae-monitor report show {id_}",
        since=time / 1e6,
        lasting=False,
        attrs={"group_id": root, "report": id_},
    )


def _condition(row: Mapping[str, Any]) -> Condition:
    kind, cluster, host, id_, title, level, time = row["example"]
    more = ""
    if row["events"] > 1:
        places = row["places"]
        more = f" {row['events']:,} of them already, on {places:,} {'host' if places == 1 else 'hosts'}."
    return Condition(
        rule="new group",
        about=row["id"],
        cluster=cluster,
        host=host,
        level=LEVELS[max(row["worst"], 1) - 1],
        title=f"new {kind} on {host}: {title}",
        text=f"{_article(kind)} that no host has sent before; its level is {level}, its time {format_time(time / 1e6)}."
        f"{more}\nSee: lae-monitor group show {row['id']}; lae-monitor report show {id_}",
        since=row["first"][0] / 1e6,
        lasting=False,
        attrs={"group_id": row["id"], "report": id_},
    )


def _article(kind: str) -> str:
    return f"An {kind}" if kind[:1] in "aeiou" else f"A {kind}"
