"""LastContact of a gatherer with each host, by its ledger and by the FURLs: for commands and alarms."""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from lae_monitor.config import Settings
from lae_monitor.core.kind import Contact, Contacts
from lae_monitor.core.names import ClusterName, HostName
from lae_monitor.net.furls.claims import Claims, is_address
from lae_monitor.net.furls.files import registered
from lae_monitor.net.furls.ledger import Connection, Expected, Snapshot, look

LOOK: Final = 0.25  # seconds between looks; the gatherer writes a new connection within one


def process_of(kind: str) -> str:
    """The process that gathers `kind`."""
    return f"gather-{kind}"


def snapshot(settings: Settings, kind: str) -> Snapshot:
    """The database of the gatherer of `kind`.

    Raises:
        sqlite3.Error, OSError: it cannot be read.
    """
    return look(settings.state.path / f"{process_of(kind)}.db")


class HostStatus(NamedTuple):
    """One host. Times are seconds since the epoch, None for never; `connected_since`: the oldest connection's.

    `registered`: its FURL's file is there. `unclaimed`: it is known by its address alone. `addresses`: those it claimed.
    `silent_since`: the last contact with an expected host (one with a FURL or a claimed address) that is not connected.
    `peer`: the addresses of its connections, or of the last one.
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
    """`is_open`: a gatherer keeps the connections true; without one, no host counts as connected."""

    is_open: bool
    hosts: list[HostStatus]


def fleet_status(
    settings: Settings, kind: str, wanted: Collection[HostName] = (), cluster: ClusterName | None = None
) -> FleetStatus:
    """Every host that has a FURL, has claimed an address, or ever had contact.

    Args:
        settings: where the gatherer's database and the credentials are.
        kind: of the gatherer.
        wanted: only these; an unknown one is in the answer too, neither registered nor with contact.
        cluster: only hosts of this one.

    Raises:
        sqlite3.Error: the database cannot be read.
        OSError: it may not be, or the credentials.
    """
    now = snapshot(settings, kind)
    expected = _expected(settings.credentials / kind, now.expected)
    contacts = {(contact.cluster, contact.host): contact for contact in now.contacts}
    connections: dict[tuple[str, str], list[Connection]] = defaultdict(list)
    for connection in now.connections:
        connections[connection.cluster, connection.host].append(connection)
    claimed: dict[tuple[str, str], list[str]] = defaultdict(list)
    for address, owner in expected.claimed.items():
        claimed[owner].append(address)
    places = {
        place
        for place in {*expected.registered, *contacts, *connections, *claimed}
        if (not wanted or place[1] in wanted) and (cluster is None or place[0] == cluster)
    }
    unknown = {*wanted} - {host for _, host in places}
    hosts = []
    for place in sorted({*places, *((str(cluster or settings.fleet.name), str(host)) for host in unknown)}):
        open_now, last = connections.get(place, []), contacts.get(place)
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
    return FleetStatus(now.is_open, hosts)


def _expected(folder: Path, noted: Expected) -> Expected:
    """The expected hosts by the credentials; for services that cannot read these, as the gatherer `noted` them."""
    try:
        found = frozenset(registered(folder))
    except PermissionError:
        return noted
    return Expected(found, {str(name): place for name, place in Claims(folder).all().items()})


# ---- for alarms ------------------------------------------------------------------------------------------------------


def contacts(settings: Settings, kind: str, now: float) -> Contacts:
    """Which hosts are expected, and the last contact with each.

    Raises:
        sqlite3.Error, OSError: as `fleet_status`.
    """
    status = fleet_status(settings, kind)
    hosts = [
        Contact(
            host.cluster,
            host.host,
            host.registered or bool(host.addresses),
            now if host.connections else host.last_heard,
        )
        for host in status.hosts
    ]
    return Contacts(status.is_open, hosts)


# ---- waiting for connections -----------------------------------------------------------------------------------------


class Awaited(NamedTuple):
    """A host of which `peers` are to be connected, since a time if there is one (seconds since the epoch)."""

    cluster: str
    host: str
    peers: int
    since: float | None


def connected(now: Snapshot, awaited: Awaited) -> int:
    """How many of a host's connections count."""
    return sum(
        (one.cluster, one.host) == (awaited.cluster, awaited.host)
        and (awaited.since is None or one.since >= awaited.since)
        for one in now.connections
    )


def await_connections(
    awaited: Sequence[Awaited], wait: float, ask: Callable[[], Snapshot]
) -> tuple[Snapshot, dict[Awaited, int]]:
    """Waits until all are connected, at most `wait` seconds, and no longer once no gatherer runs.

    Returns:
        The last snapshot, and how many connections each of the awaited has that are not complete.
    """
    end = time.monotonic() + wait
    while True:
        now = ask()
        missing = {one: count for one in awaited if (count := connected(now, one)) < one.peers}
        if not missing or not now.is_open or time.monotonic() >= end:
            return now, missing
        time.sleep(LOOK)
