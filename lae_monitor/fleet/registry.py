"""FURLs for hosts: the credential by which the gatherers know who reports."""

from pathlib import Path
from typing import NamedTuple

from lae_monitor.config import Settings
from lae_monitor.core.names import ClusterName, HostName
from lae_monitor.core.refusals import Refused
from lae_monitor.core.secrets import Furl
from lae_monitor.net.tubs_address import parse_location
from lae_monitor.net.tubs_furls import HostFurls
from lae_monitor.net.tubs_identity import CERTIFICATE, identity

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
    location = settings.gatherers[INCIDENTS].location
    try:
        parse_location(location)
    except Refused as refused:
        raise Refused("bad_config", f"gatherers.{INCIDENTS}.location: {refused.detail}") from refused
    folder = settings.credentials / INCIDENTS
    who = identity(folder / CERTIFICATE)
    known, new = HostFurls(folder).issue(grouped, named, who.tub_id, location)
    return Registration(known.cluster, known.host, known.furl, known.path, new)
