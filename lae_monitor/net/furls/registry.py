"""Makes, rotates, revokes and adopts the FURLs of one gatherer; claims addresses. It need not run, and need not restart."""

import os
from pathlib import Path
from typing import Final, NamedTuple

from lae_monitor.archive.small_files import read_or_make
from lae_monitor.config import Settings
from lae_monitor.core.names import ClusterName, HostName, Place
from lae_monitor.core.refusals import Refused
from lae_monitor.core.secrets import Furl
from lae_monitor.net.furls import claims
from lae_monitor.net.furls.files import OPEN, HostFurls
from lae_monitor.net.tubs.identity import CERTIFICATE, HANDED, adopt, identity, parse_location, tub_id

MAX_FILE: Final = 64 * 1024  # bytes of a FURL that is handed over


class Registration(NamedTuple):
    """A host's FURL, the file that keeps it, and whether it was made now."""

    cluster: ClusterName
    host: HostName
    furl: Furl
    path: Path
    new: bool


class Registry:
    """FURLs, and claims of addresses, of the kind `kind`.

    Args:
        settings: where credentials are, and the location that FURLs name.
        kind: whose tub the FURLs lead to.
        folder: of credentials, for FURLs that let nobody report; default: `kind`.

    Raises:
        Refused: everywhere: `bad_host_name`, `bad_cluster_name`; where a FURL is made, `bad_config` and `bad_furl`.
        OSError: everywhere: this account may not read or write the credentials.
    """

    def __init__(self, settings: Settings, kind: str, folder: str = "") -> None:
        self._kind = kind
        self._cluster = settings.fleet.name
        self._location: str = settings.gatherers[kind].location
        self._certificate = settings.credentials / kind / CERTIFICATE
        self._folder = settings.credentials / (folder or kind)
        self._furls = HostFurls(self._folder)

    def register(self, host: str, cluster: str | None = None) -> Registration:
        """The FURL of `host`, made if there is none.

        Args:
            host: the name under which its reports are shown.
            cluster: default: the fleet's.
        """
        named, grouped = self._names(host, cluster)
        location = self._checked_location()
        known, new = self._furls.issue(grouped, named, identity(self._certificate).tub_id, location)
        return Registration(known.cluster, known.host, known.furl, known.path, new)

    def registered(self, host: str, cluster: str | None = None) -> Registration | None:
        """The same without writing anything; None if a FURL would be made."""
        named, grouped = self._names(host, cluster)
        location = self._checked_location()
        path = self._furls.path(grouped, named)
        try:
            kept = Furl(path.read_text("ascii"))
            tub = tub_id(self._certificate.read_bytes())
        except FileNotFoundError:
            return None
        except (Refused, ValueError) as error:
            raise Refused("bad_furl", f"{path}; remove the file to have a new one made") from error
        return Registration(grouped, named, Furl.build(tub, location, kept.swissnum.reveal()), path, new=False)

    def rotate(self, host: str, cluster: str | None, grace: float) -> Registration:
        """A new FURL for `host`; the old one is valid for `grace` more seconds, with 0 no more.

        Raises:
            Refused: `no_such_host`: it has none.
        """
        named, grouped = self._names(host, cluster)
        location = self._checked_location()
        if not self._furls.path(grouped, named).exists():
            raise Refused("no_such_host", f"{named} of cluster {grouped} has no FURL")
        known = self._furls.rotate(grouped, named, identity(self._certificate).tub_id, location, grace)
        return Registration(known.cluster, known.host, known.furl, known.path, new=True)

    def revoke(self, host: str, cluster: str | None = None) -> bool:
        """Ends every FURL of `host`; returns whether it had one. Its peers are disconnected within seconds."""
        named, grouped = self._names(host, cluster)
        return self._furls.revoke(grouped, named)

    def claim(self, address: str, host: str, cluster: str | None = None) -> tuple[HostName, Place]:
        """Reports from `address` by the shared FURL, old and new, belong to `host` from now on.

        Returns:
            The address as a host's name has it, and the host.

        Raises:
            Refused: `bad_parameters`.
        """
        named = claims.address_name(address)
        place = Place(ClusterName(cluster or self._cluster), HostName(host))
        if place == (self._cluster, named):
            raise Refused("bad_parameters", f"{named} is its name already; without a claim it stays so")
        claims.claim(self._folder, named, place)
        return named, place

    def unclaim(self, address: str) -> bool:
        """Removes a claim, for what comes from now on; returns whether there was one."""
        return claims.unclaim(self._folder, claims.address_name(address))

    def _names(self, host: str, cluster: str | None) -> tuple[HostName, ClusterName]:
        return HostName(host), ClusterName(cluster or self._cluster)

    def _checked_location(self) -> str:
        try:
            parse_location(self._location)
        except Refused as refused:
            raise Refused("bad_config", f"gatherers.{self._kind}.location: {refused.detail}") from refused
        return self._location


# ---- from another gatherer -------------------------------------------------------------------------------------------


def adopt_furl(path: Path, given: Furl) -> None:
    """Keeps `given` in `path` as the shared FURL; one that is there already has to be the same.

    Raises:
        Refused: `bad_config`: another one is there.
    """
    data, _ = read_or_make(path, lambda: given.reveal().encode() + b"\n")
    try:
        kept = Furl(data.decode("ascii", "replace"))
    except Refused as refused:
        raise Refused("bad_config", f"{path}: no FURL; remove the file to have the one handed over") from refused
    if (kept.tub_id, kept.swissnum) != (given.tub_id, given.swissnum):
        why = "nodes may have the one that is there; remove the file to take the other"
        raise Refused("bad_config", f"{path} is another FURL than the one handed over: {why}")


def adopt_handed(credentials: Path, kind: str) -> None:
    """Keeps the certificate and the shared FURL that systemd hands over, if it does, in the folder `credentials`.

    Their names as credentials are `<kind>-gatherer.pem` and `<kind>-log_gatherer.furl`.

    Raises:
        Refused: `bad_config`.
    """
    handed = os.environ.get(HANDED)
    if not handed:
        return
    adopt(credentials / CERTIFICATE, Path(handed, f"{kind}-{CERTIFICATE}"))
    path = Path(handed, f"{kind}-{OPEN}")
    text = read_text(path)
    if not text:
        return
    try:
        furl = Furl(text)
    except Refused as refused:
        raise Refused("bad_config", f"{path}: no FURL") from refused
    ours = read_text(credentials / CERTIFICATE)
    if not ours or tub_id(ours.encode("ascii")) != furl.tub_id:
        raise Refused("bad_config", f"{path}: the FURL of another gatherer than ours; hand over its certificate, too")
    adopt_furl(credentials / OPEN, furl)


def read_text(path: Path) -> str:
    """A small text file of another gatherer; "" if there is none.

    Raises:
        Refused: `bad_config`: this account may not read it.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE).decode("ascii", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        me = os.geteuid()
        raise Refused("bad_config", f"{path}: {error.strerror} to user {me}: let this account read it") from error
