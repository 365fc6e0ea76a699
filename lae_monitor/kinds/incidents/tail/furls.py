"""FURLs by which people watch the log of a host's nodes: capabilities of their own, which let nobody report."""

from lae_monitor.config import Settings
from lae_monitor.core.names import ClusterName, HostName
from lae_monitor.core.refusals import Refused
from lae_monitor.core.secrets import Furl
from lae_monitor.kinds.incidents.nodes.registry import INCIDENTS, Registration
from lae_monitor.kinds.incidents.tail.door import FOLDER
from lae_monitor.net.furls.files import HostFurls
from lae_monitor.net.tubs.identity import CERTIFICATE, identity, parse_listen, parse_location


def register_tail(settings: Settings, host: str, cluster: str | None = None) -> Registration:
    """The tail FURL of `host`, made if there is none; the gatherer need not run, and need not restart.

    Args:
        settings: where credentials are, and the location that FURLs name.
        host: whose log it lets read.
        cluster: default: the fleet's.

    Raises:
        Refused: `bad_host_name`, `bad_cluster_name`, `bad_config`, `bad_furl`.
        OSError: the credentials cannot be read or written by this user.
    """
    named, grouped = HostName(host), ClusterName(cluster or settings.fleet.name)
    location: str = settings.gatherers[INCIDENTS].location
    try:
        parse_location(location)
    except Refused as refused:
        raise Refused("bad_config", f"gatherers.{INCIDENTS}.location: {refused.detail}") from refused
    who = identity(settings.credentials / INCIDENTS / CERTIFICATE)
    known, new = HostFurls(settings.credentials / FOLDER).issue(grouped, named, who.tub_id, location)
    return Registration(known.cluster, known.host, known.furl, known.path, new)


def from_here(settings: Settings, furl: Furl) -> Furl:
    """`furl`, with the address at which the gatherer listens on this host before those for others.

    Raises:
        Refused: `bad_config`.
    """
    listen = parse_listen(settings.gatherers[INCIDENTS].listen)
    address = listen.interface if listen.interface not in {"", "0.0.0.0"} else "127.0.0.1"  # noqa: S104 - read, not bound
    hint = f"tcp:[{address}]:{listen.port}" if ":" in address else f"tcp:{address}:{listen.port}"
    return Furl.build(furl.tub_id, ",".join(dict.fromkeys((hint, *furl.hints))), furl.swissnum.reveal())
