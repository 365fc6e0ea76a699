"""Hosts that are expected, and were not heard for too long.

Expected are hosts that a gatherer expects, hosts that send regularly, and those that the configuration names: Kind.expects,
Kind.regular, alerts.expected.
Heard is who is connected, or sent anything of any kind. Silence counts only while we could hear: when a gatherer did not
run, its hosts have their whole time again, and instead of all of them, the gatherer is what the alarm is about.
"""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from lae_monitor.alerts.alarm import Condition
from lae_monitor.alerts.ledger import Expected
from lae_monitor.config import Settings
from lae_monitor.core.kind import Contact, Kinds, load
from lae_monitor.core.time import DAY, MINUTE, format_duration, format_time
from lae_monitor.fleet.running import runs
from lae_monitor.query.planner import micros
from lae_monitor.store import Store
from lae_monitor.store.driver import Parameter

DOWN_AFTER: Final = 5 * MINUTE  # an update of the monitor stops a gatherer for less
GONE_AFTER: Final = 14 * DAY  # who sent samples, and did not for so long, is taken for retired
MAX_HOSTS: Final = 100_000
CONFIGURED: Final = "alerts.expected"

# Where only a receipt knows when something was received, its own time counts, unless it lies ahead.
_AT: Final = "greatest(toUnixTimestamp64Micro(received), least(toUnixTimestamp64Micro(time), {now:Int64}))"
_HEARD: Final = f"""
SELECT cluster, host, max({_AT}) AS heard,
  maxMapIf(map(kind, {_AT}), has({{regular:Array(String)}}, kind)) AS regular
FROM {{lae}}.events WHERE host != '' AND kind NOT IN ('alarm', 'mark')
  AND time >= fromUnixTimestamp64Micro({{since:Int64}}, 'UTC') GROUP BY cluster, host LIMIT {{limit:UInt32}}
"""

Place = tuple[str, str]  # cluster and host


class Stored(NamedTuple):
    """When the store has last heard a host of anything, and of each regular kind; seconds since the epoch."""

    heard: float
    regular: Mapping[str, float]

    def newest(self, other: "Stored") -> "Stored":
        """The newer of both, of each."""
        kinds = self.regular.keys() | other.regular.keys()
        regular = {kind: max(self.regular.get(kind, 0.0), other.regular.get(kind, 0.0)) for kind in kinds}
        return Stored(max(self.heard, other.heard), regular)


class Heard(NamedTuple):
    """Everything that is known of who is heard. `contacts`: by kind. `running`: the gatherers that could hear anybody."""

    stored: Mapping[Place, Stored]
    contacts: Mapping[str, Sequence[Contact]]
    running: frozenset[str]


async def stored(store: Store, since: float, now: float) -> dict[Place, Stored]:
    """Who sent anything that happened since then.

    Raises:
        StoreError
    """
    regular = {kind.event: kind.name for kind in store.kinds.regular}
    values: dict[str, Parameter] = {
        "now": micros(now),
        "since": micros(since),
        "limit": MAX_HOSTS,
        "regular": list(regular),
    }
    rows: list[dict[str, Any]] = await store.query(_HEARD, values)
    return {
        (row["cluster"], row["host"]): Stored(
            row["heard"] / 1e6, {regular[event]: at / 1e6 for event, at in row["regular"].items()}
        )
        for row in rows
    }


def needed(kinds: Kinds) -> list[str]:
    """The kinds without whose gatherers the silence of some hosts is not known."""
    return [kind.name for kind in kinds if kind.why_expected]


def listened(settings: Settings, now: float) -> tuple[dict[str, list[Contact]], frozenset[str]]:
    """By kind the hosts that its gatherer knows, and which gatherers run.

    Raises:
        sqlite3.Error, OSError: a gatherer's database, or credentials, cannot be read.
    """
    contacts: dict[str, list[Contact]] = {}
    running = set()
    for kind in settings.kinds:
        if kind.expects is not None:
            listens, contacts[kind.name] = load(kind.expects.contacts)(settings, now)
        else:
            listens = bool(kind.regular) and runs(settings.state.path, f"gather-{kind.name}")
        running |= {kind.name} if listens else set()
    return contacts, frozenset(running)


def expected(settings: Settings, heard: Heard, before: Sequence[Expected], now: float) -> list[Expected]:
    """Who is expected now, since when, and when he was heard last; in their order."""
    known = {(one.cluster, one.host): one for one in before}
    regular = {kind.regular for kind in settings.kinds.regular}
    last = {place: one.heard for place, one in heard.stored.items() if one.heard}
    why: dict[Place, str] = {}
    for name in settings.alerts.expected:
        why[_place(name, str(settings.fleet.name))] = CONFIGURED
    for place, one in heard.stored.items():
        for sent in (kind for kind in settings.kinds.regular if now - one.regular.get(kind.name, 0.0) < GONE_AFTER):
            why[place] = sent.regular
    why_known = {kind.name: kind.expects.why for kind in settings.kinds if kind.expects is not None}
    for kind, contact in ((kind, contact) for kind, contacts in heard.contacts.items() for contact in contacts):
        place = str(contact.cluster), str(contact.host)
        why |= {place: why_known[kind]} if contact.is_expected else {}
        last |= {place: max(last.get(place, contact.heard), contact.heard)} if contact.heard is not None else {}
    for place, former in known.items():  # the store tells of the last days only
        if former.why in regular and former.heard is not None and now - former.heard < GONE_AFTER:
            why.setdefault(place, former.why)
        if former.heard is not None and place in why:
            last[place] = max(last.get(place, former.heard), former.heard)
    return [
        Expected(*place, known[place].expected if place in known else now, why[place], last.get(place))
        for place in sorted(why)
        if not _is_meant(place, settings.alerts.unexpected)
    ]


def silent(host: Expected, deaf: Mapping[str, float], after: float, now: float, kinds: Kinds) -> Condition | None:
    """The condition that a host is in, if it is silent.

    Args:
        deaf: until when each gatherer last did not run.
        after: seconds.
    """
    heard = host.heard if host.heard is not None else host.expected
    kind = _needed(host, kinds)
    # A host that is expected by its name alone may report in any way.
    deaf_until = deaf[kind] if kind else min(deaf.values())
    if now - max(heard, deaf_until) < after:
        return None
    last = f"It was heard last at {format_time(heard, digits=0)}." if host.heard is not None else "It was never heard."
    return Condition(
        rule="host silent",
        about=f"{host.cluster}/{host.host}",
        cluster=host.cluster,
        host=host.host,
        level="error",
        title=f"{host.host} is silent"
        + (f" for {format_duration(now - heard)}" if host.heard is not None else ": it was never heard"),
        text=f"{last} It is expected, for it {_reason(host)}.\nSee: {_advice(host, kinds)}",
        since=heard,
        attrs={"last_heard": format_time(heard, digits=0) if host.heard is not None else "never"},
    )


def down(
    hosts: Sequence[Expected], since: Mapping[str, float], now: float, monitor: str, kinds: Kinds
) -> Iterator[Condition]:
    """The gatherers that do not run though hosts need them.

    Args:
        since: since when each of them does not.
    """
    for kind, begin in since.items():
        waiting = sum(_needed(host, kinds) == kind for host in hosts)
        if waiting and now - begin >= DOWN_AFTER:
            yield Condition(
                rule="gatherer down",
                about=kind,
                cluster=monitor,
                host="",
                level="critical",
                title=f"the gatherer of {kind} does not run",
                text=f"{waiting:,} {'host' if waiting == 1 else 'hosts'} cannot report, and whether they are silent is "
                f"not known.\nSee: lae-monitor check fleet {kind}; journalctl -u lae-monitor-{kind}",
                since=begin,
            )


def _needed(host: Expected, kinds: Kinds) -> str:
    """The gatherer without which nothing can be said of a host; "" when any will do."""
    return next((kind.name for kind in kinds if host.why in kind.why_expected), "")


def _reason(host: Expected) -> str:
    return f"is in {CONFIGURED}" if host.why == CONFIGURED else host.why


def _advice(host: Expected, kinds: Kinds) -> str:
    for kind in kinds:
        if kind.expects is not None and host.why == kind.expects.why:
            return kind.expects.advice.format(host=host.host)
    return f"lae-monitor host show {host.host} --cluster {host.cluster}; whether it runs, and reaches the monitor."


def _place(name: str, fleet: str) -> Place:
    cluster, slash, host = name.partition("/")
    return (cluster, host) if slash else (fleet, cluster)


def _is_meant(place: Place, patterns: Sequence[str]) -> bool:
    """Whether one of `patterns` is about a host; one without a cluster is about hosts of that name in any."""
    return any(
        fnmatchcase(place[1], pattern) if "/" not in pattern else fnmatchcase("/".join(place), pattern)
        for pattern in patterns
    )
