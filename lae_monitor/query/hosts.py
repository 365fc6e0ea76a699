"""The hosts: when each was last heard, how bad its last day was, and how much it has reported of each kind.

A host is heard by whatever it sent; alarms and marks are about it, and say nothing of its life. Only hosts that send events
of a regular kind (each run of Sonar is one) are expected to be heard, so only they can be silent.
"""

from typing import Any, Final

import msgspec

from lae_monitor.core import kind as kinds
from lae_monitor.core.rows import LEVELS
from lae_monitor.core.time import HOUR, MINUTE, format_time
from lae_monitor.query.events import DOUBLED, RANK
from lae_monitor.query.planner import LATEST, Plan, micros
from lae_monitor.store import Store
from lae_monitor.store.driver import Parameter

MAX_HOSTS: Final = 5_000  # of one answer; a fleet beyond that asks by cluster
HOURS: Final = 24  # of the histogram
SILENT_AFTER: Final = 30 * MINUTE  # six runs at Sonar's usual five minutes

_EVENTS: Final = """
SELECT cluster, host, kind, count() AS events, toUnixTimestamp64Micro(max(received)) AS received,
  toUnixTimestamp64Micro(max(time)) AS newest
FROM {lae}.events WHERE host != '' AND CONDITION GROUP BY cluster, host, kind
LIMIT {limit:UInt32}
"""  # answered from the sums that the store keeps (store.schema.HEARD)
_EVENTS_ONCE: Final = _EVENTS.replace("{lae}.events", "{events}")
_TWICE: Final = f"""
SELECT cluster, host, kind, count() - uniqExact(time, key) AS more
FROM {{lae}}.events WHERE host != '' AND (cluster, host, time, key) IN {DOUBLED} AND CONDITION GROUP BY cluster, host, kind
"""
_HOURS: Final = f"""
SELECT cluster, host, kind, toInt8(intDiv(toUnixTimestamp64Micro(time) - {{day:Int64}}, 3600000000)) AS hour,
  count() AS events, max({RANK}) AS worst
FROM {{events}}
WHERE host != '' AND time >= fromUnixTimestamp64Micro({{day:Int64}}, 'UTC')
  AND time < fromUnixTimestamp64Micro({{now:Int64}}, 'UTC') AND CONDITION
GROUP BY cluster, host, kind, hour LIMIT {{limit:UInt32}}
"""
_ROWS: Final = """
SELECT cluster, host, max(least(toUnixTimestamp64Micro(time), {now:Int64})) AS heard
FROM {lae}.TABLE WHERE CONDITION GROUP BY cluster, host LIMIT {limit:UInt32}
"""
_NOT_HEARD: Final = frozenset({"alarm", "mark"})


class Host(msgspec.Struct, kw_only=True):
    """One host as the fleet page shows it.

    `counts` and `counts_24h`: events by kind; `hours` and `hours_worst`: events of each of the last 24 hours, oldest first,
    and the worst level among them; `silent_for`: seconds since it was heard; `silent`: it sends nothing regular any more,
    the last time at `silent_since`.
    """

    cluster: str
    host: str
    last_heard: str | None = None
    silent_for: float | None = None
    silent: bool = False
    silent_since: str | None = None
    worst: str = ""
    counts: dict[str, int] = {}
    counts_24h: dict[str, int] = {}
    hours: list[int] = []
    hours_worst: list[str] = []


class Hosts(msgspec.Struct, kw_only=True):
    """`complete` is false when there are more than MAX_HOSTS."""

    hosts: list[Host]
    complete: bool = True


class _Heard(msgspec.Struct):
    """A host in the making."""

    host: Host
    heard: int = 0
    regular: int = 0


async def hosts(store: Store, now: float, *, cluster: str = "", host: str = "") -> Hosts:
    """All hosts that were ever heard (or those of `cluster`, or named `host`): the worst first, then by name.

    Raises:
        StoreError
    """
    condition, place = Plan().at(cluster, host).where(0.0, LATEST)
    parameters: dict[str, Parameter] = {**place, "now": micros(now), "day": micros(now - HOURS * HOUR)}
    found: dict[tuple[str, str], _Heard] = {}
    regular = {kind.event for kind in store.kinds.regular}

    async def ask(sql: str, rows_a_host: int = 1) -> list[tuple[_Heard, dict[str, Any]]]:
        limit = MAX_HOSTS * rows_a_host
        rows = await store.query(sql.replace("CONDITION", condition), {**parameters, "limit": limit})
        return [(_of(found, row), row) for row in rows]

    for heard, row in await ask(_EVENTS if store.events.doubled is not None else _EVENTS_ONCE, rows_a_host=8):
        heard.host.counts[row["kind"]] = row["events"]
        at = max(row["received"], min(row["newest"], micros(now)))
        if row["kind"] not in _NOT_HEARD:
            heard.heard = max(heard.heard, at)
        if row["kind"] in regular:
            heard.regular = max(heard.regular, at)
    if store.events.doubled:
        for heard, row in await ask(_TWICE, rows_a_host=8):
            counts, more = heard.host.counts, row["more"]
            counts[row["kind"]] = counts.get(row["kind"], more) - more  # it may have come since
    for heard, row in await ask(_HOURS, rows_a_host=8 * HOURS):
        kind, hour, worst = row["kind"], row["hour"], heard.host.hours_worst
        heard.host.counts_24h[kind] = heard.host.counts_24h.get(kind, 0) + row["events"]
        heard.host.hours[hour] += row["events"]
        worst[hour] = max(worst[hour], LEVELS[row["worst"] - 1] if row["worst"] else "", key=_rank)
    for table in (table for table in store.tables.values() if table.is_heard):
        for heard, row in await ask(_ROWS.replace("TABLE", table.name)):
            heard.heard = max(heard.heard, row["heard"])
    finished = sorted((_finish(heard, now) for heard in found.values()), key=_urgency)
    return Hosts(hosts=finished[:MAX_HOSTS], complete=len(finished) <= MAX_HOSTS)


def _of(found: dict[tuple[str, str], _Heard], row: dict[str, Any]) -> _Heard:
    place = row["cluster"], row["host"]
    if place not in found:
        found[place] = _Heard(Host(cluster=place[0], host=place[1], hours=[0] * HOURS, hours_worst=[""] * HOURS))
    return found[place]


def _finish(heard: _Heard, now: float) -> Host:
    host = heard.host
    if heard.heard:
        host.last_heard = format_time(heard.heard / 1e6)
        host.silent_for = round(max(now - heard.heard / 1e6, 0.0), 3)
    host.silent = bool(heard.regular) and now - heard.regular / 1e6 > SILENT_AFTER
    host.silent_since = format_time(heard.regular / 1e6) if host.silent else None
    host.worst = max(host.hours_worst, key=_rank)
    return host


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else -1


def _urgency(host: Host) -> tuple[int, bool, str, str]:
    return -max(_rank(host.worst), LEVELS.index("warning") - 1), not host.silent, host.cluster, host.host


# How busy a host was, and what it is made of, by the first kind that knows it.
class Node(msgspec.Struct, kw_only=True):
    """What the host is made of, by its newest word."""

    description: str
    cores: int
    memory_kib: int
    gpu_cards: int
    gpumem_kib: int


class Load(msgspec.Struct, kw_only=True):
    """Cores in use and resident memory in each piece of `bucket` seconds from `since` on; None where no sample came."""

    since: float
    bucket: float
    cores: list[float | None]
    resident_kib: list[int | None]


async def node(store: Store, cluster: str, host: str) -> Node | None:
    """
    Raises:
        StoreError
    """
    for kind in store.kinds:
        if kind.node and (found := await kinds.load(kind.node)(store, cluster, host)):
            node: Node = found
            return node
    return None


async def load(store: Store, cluster: str, host: str, since: float, until: float, bucket: float) -> Load | None:
    """The load from `since` to `until`, or None for a host of which no kind knows it.

    Raises:
        StoreError
    """
    for kind in store.kinds:
        if kind.load and (found := await kinds.load(kind.load)(store, cluster, host, since, until, bucket)):
            load: Load = found
            return load
    return None
