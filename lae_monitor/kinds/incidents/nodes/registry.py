"""FURLs for hosts: the credential by which the gatherers know who reports."""

from pathlib import Path
from typing import NamedTuple

from lae_monitor.config import Settings
from lae_monitor.core.names import ClusterName, HostName
from lae_monitor.core.refusals import Refused
from lae_monitor.core.secrets import Furl
from lae_monitor.net.furls.files import HostFurls
from lae_monitor.net.tubs.identity import CERTIFICATE, identity, parse_location, tub_id

INCIDENTS = "incidents"


class Registration(NamedTuple):
    """A host's FURL, the file that keeps it, and whether it was made now."""

    cluster: ClusterName
    host: HostName
    furl: Furl
    path: Path
    new: bool


def register_incident(settings: Settings, host: str, cluster: str | None = None) -> Registration:
    """The FURL for `host`'s `log_gatherer.furl`, made if there is none; the gatherer need not run, and need not restart.

    Args:
        settings: where credentials are, and the location that FURLs name.
        host: the name under which its incidents are shown.
        cluster: default: the fleet's.

    Raises:
        Refused: `bad_host_name`, `bad_cluster_name`, `bad_config`, `bad_furl`.
        OSError: the credentials cannot be read or written by this user.
    """
    named, grouped = HostName(host), ClusterName(cluster or settings.fleet.name)
    location = _location(settings)
    folder = settings.credentials / INCIDENTS
    who = identity(folder / CERTIFICATE)
    known, new = HostFurls(folder).issue(grouped, named, who.tub_id, location)
    return Registration(known.cluster, known.host, known.furl, known.path, new)


def registered_incident(settings: Settings, host: str, cluster: str | None = None) -> Registration | None:
    """What `register_incident` would answer, if `host` has a FURL already; None if one would be made. Nothing is written.

    Raises:
        Refused: `bad_host_name`, `bad_cluster_name`, `bad_config`, `bad_furl`.
        OSError: the credentials cannot be read by this user.
    """
    named, grouped = HostName(host), ClusterName(cluster or settings.fleet.name)
    location = _location(settings)
    folder = settings.credentials / INCIDENTS
    path = HostFurls(folder).path(grouped, named)
    try:
        kept = Furl(path.read_text("ascii"))
        who = tub_id((folder / CERTIFICATE).read_bytes())
    except FileNotFoundError:
        return None
    except (Refused, ValueError) as error:
        raise Refused("bad_furl", f"{path}; remove the file to have a new one made") from error
    return Registration(grouped, named, Furl.build(who, location, kept.swissnum.reveal()), path, new=False)


def rotate_incident(settings: Settings, host: str, cluster: str | None, grace: float) -> Registration:
    """A new FURL for `host`; the one it has is let in for `grace` more seconds, with 0 no more. The gatherer runs on.

    Raises:
        Refused: `no_such_host`: it has none; `bad_host_name`, `bad_cluster_name`, `bad_config`, `bad_furl`.
        OSError: the credentials cannot be read or written by this user.
    """
    named, grouped = HostName(host), ClusterName(cluster or settings.fleet.name)
    location = _location(settings)
    folder = settings.credentials / INCIDENTS
    furls = HostFurls(folder)
    if not furls.path(grouped, named).exists():
        raise Refused("no_such_host", f"{named} of cluster {grouped} has no FURL")
    known = furls.rotate(grouped, named, identity(folder / CERTIFICATE).tub_id, location, grace)
    return Registration(known.cluster, known.host, known.furl, known.path, new=True)


def revoke_incident(settings: Settings, host: str, cluster: str | None = None) -> bool:
    """Ends every FURL of `host`; returns whether it had one. Its nodes are shown out within seconds.

    Raises:
        Refused: `bad_host_name`, `bad_cluster_name`.
        OSError: the credentials cannot be written by this user.
    """
    furls = HostFurls(settings.credentials / INCIDENTS)
    return furls.revoke(ClusterName(cluster or settings.fleet.name), HostName(host))


def _location(settings: Settings) -> str:
    location: str = settings.gatherers[INCIDENTS].location
    try:
        parse_location(location)
    except Refused as refused:
        raise Refused("bad_config", f"gatherers.{INCIDENTS}.location: {refused.detail}") from refused
    return location
