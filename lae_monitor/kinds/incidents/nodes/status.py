"""Who is connected to the incident gatherer, and who was heard when: by its database, and by the FURLs that there are."""

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Final, NamedTuple

from lae_monitor.config import Settings
from lae_monitor.core.kind import Contact, Contacts
from lae_monitor.core.names import ClusterName, HostName
from lae_monitor.kinds.incidents.nodes.registry import INCIDENTS
from lae_monitor.kinds.incidents.state import Connection, Expected, look
from lae_monitor.net.furls.claims import Claims, is_address
from lae_monitor.net.furls.files import registered

GATHERER: Final = f"gather-{INCIDENTS}"  # the process


class HostStatus(NamedTuple):
    """One host. Times are seconds since the epoch, None for never; `connected_since`: the oldest connection's.

    `registered`: its FURL's file is there. `unclaimed`: it is known by its address alone. `addresses`: those it claimed.
    `silent_since`: of an expected host, one with a FURL or an address of its own, that is not connected: when it was heard
    last. `peer`: the addresses it is, or was last, connected from.
    """

    cluster: str
    host: str
    registered: bool
    connections: int = 0
    connected_since: float | None = None
    last_heard: float | None = None
    peer: str = ""
    unclaimed: bool = False
    addresses: tuple[str, ...] = ()
    silent_since: float | None = None


class FleetStatus(NamedTuple):
    """`is_open`: a gatherer says who is connected; otherwise nobody is known to be."""

    is_open: bool
    hosts: list[HostStatus]


def fleet_status(
    settings: Settings, wanted: Collection[HostName] = (), cluster: ClusterName | None = None
) -> FleetStatus:
    """Every host that has a FURL, has claimed an address, or was heard.

    Args:
        settings: where the gatherer's database and the credentials are.
        wanted: only these; one that is not known is there all the same, as neither registered nor heard.
        cluster: only hosts of this one.

    Raises:
        sqlite3.Error: the database cannot be read.
        OSError: it may not be, or the credentials.
    """
    seen = look(settings.state.path / f"{GATHERER}.db")
    expected = _expected(settings.credentials / INCIDENTS, seen.expected)
    heard = {(one.cluster, one.host): one for one in seen.heard}
    connections: dict[tuple[str, str], list[Connection]] = defaultdict(list)
    for connection in seen.connections:
        connections[connection.cluster, connection.host].append(connection)
    claimed: dict[tuple[str, str], list[str]] = defaultdict(list)
    for address, whose in expected.claimed.items():
        claimed[whose].append(address)
    places = {
        place
        for place in {*expected.registered, *heard, *connections, *claimed}
        if (not wanted or place[1] in wanted) and (cluster is None or place[0] == cluster)
    }
    unknown = {*wanted} - {host for _, host in places}
    hosts = []
    for place in sorted({*places, *((str(cluster or settings.fleet.name), str(host)) for host in unknown)}):
        open_now, last = connections.get(place, []), heard.get(place)
        since = min((connection.since for connection in open_now), default=None)
        peers = [connection.peer for connection in open_now] or ([last.peer] if last is not None else [])
        is_expected = place in expected.registered or place in claimed
        last_heard = last.time if last is not None else since
        hosts.append(
            HostStatus(
                *place,
                registered=place in expected.registered,
                connections=len(open_now),
                connected_since=since,
                last_heard=last_heard,
                peer=", ".join(dict.fromkeys(filter(None, peers))),
                unclaimed=is_address(place[1]) and not is_expected and place[1] not in expected.claimed,
                addresses=tuple(sorted(claimed.get(place, ()))),
                silent_since=last_heard if is_expected and not open_now else None,
            )
        )
    return FleetStatus(seen.is_open, hosts)


def contacts(settings: Settings, now: float) -> Contacts:
    """For alarms: who is expected, and when it was heard last.

    Raises:
        sqlite3.Error, OSError: as `fleet_status`.
    """
    found = fleet_status(settings)
    hosts = [
        Contact(
            one.cluster, one.host, one.registered or bool(one.addresses), now if one.connections else one.last_heard
        )
        for one in found.hosts
    ]
    return Contacts(found.is_open, hosts)


def _expected(folder: Path, seen: Expected) -> Expected:
    """Who may report, by the credentials themselves; for services that are kept from them, as the gatherer `seen` says."""
    try:
        found = frozenset(registered(folder))
    except PermissionError:
        return seen
    return Expected(found, {str(name): place for name, place in Claims(folder).all().items()})
