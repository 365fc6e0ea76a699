"""Hosts that the incident gatherer knows by their address alone, because they report by the shared FURL."""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from lae_monitor.config import Settings
from lae_monitor.core.names import ClusterName, HostName, Place
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.incidents.read import SUFFIX
from lae_monitor.kinds.incidents.stored import folder
from lae_monitor.net.furls import claims
from lae_monitor.net.furls.status import fleet_status

KIND: Final = "incidents"


class Unclaimed(NamedTuple):
    """A host that is named by its address: how many incidents the archive has of it, and its last contact, if any."""

    cluster: str
    host: str
    incidents: int
    last_heard: float | None
    connections: int


def unclaimed(settings: Settings) -> list[Unclaimed]:
    """The unclaimed addresses with a contact or an incident.

    Raises:
        sqlite3.Error, OSError: the gatherer's database, the credentials or the archive cannot be read.
    """
    cluster = settings.fleet.name
    status = {host.host: host for host in fleet_status(settings, KIND).hosts if host.cluster == cluster}
    registered = {name for name, host in status.items() if host.registered}
    claimed = claims.Claims(settings.credentials / KIND).all()
    stored = {name for name in _hosts(settings, cluster) if claims.is_address(name)}
    contacts = {name for name, host in status.items() if host.unclaimed}
    found = []
    for name in sorted((stored | contacts) - registered - {str(address) for address in claimed}):
        count = sum(1 for _ in _incidents(settings, Place(cluster, name)))
        one = status.get(name)
        found.append(Unclaimed(cluster, name, count, one.last_heard if one else None, one.connections if one else 0))
    return found


def claim(settings: Settings, address: str, host: str, cluster: str | None = None) -> tuple[HostName, Place]:
    """Incidents from `address` by the shared FURL, old and new, belong to `host` from now on.

    Returns:
        The address as a host's name has it, and the host.

    Raises:
        Refused: `bad_host_name`, `bad_cluster_name`, `bad_parameters`.
        OSError: the credentials cannot be written by this user.
    """
    named = address_name(address)
    place = Place(ClusterName(cluster or settings.fleet.name), HostName(host))
    if place == (settings.fleet.name, named):
        raise Refused("bad_parameters", f"{named} is its name already; without a claim it stays so")
    claims.claim(settings.credentials / KIND, named, place)
    return named, place


def unclaim(settings: Settings, address: str) -> bool:
    """Removes a claim, for what comes from now on; returns whether there was one.

    Raises:
        Refused: `bad_host_name`.
        OSError: the credentials cannot be written by this user.
    """
    return claims.unclaim(settings.credentials / KIND, address_name(address))


def address_name(text: str) -> HostName:
    """An address, or the name that it gives a host, as that name.

    Raises:
        Refused: `bad_host_name`.
    """
    return HostName(text) if claims.is_address(text) else HostName.from_address(text)


def _hosts(settings: Settings, cluster: str) -> set[str]:
    return {entry.name for entry in _entries(settings, f"incidents/{cluster}/incidents") if entry.is_dir()}


def _incidents(settings: Settings, place: Place) -> Iterator[str]:
    return (entry.name for entry in _entries(settings, folder(place)) if entry.name.endswith(SUFFIX))


def _entries(settings: Settings, below: str) -> Iterator["os.DirEntry[str]"]:
    for root in settings.archive_roots:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(f"{root}/{below}") as entries:
            yield from list(entries)
