"""Hosts of the addresses that report by the shared FURL, as operators claimed them.

    <credentials>/incidents/claims        a line each: ADDRESS CLUSTER HOST, the address as a host's name has it

Any process may change the file; all others see it when they next ask.
"""

import logging
from pathlib import Path
from typing import Final

from lae_monitor.archive.small_files import locked, replace
from lae_monitor.core.names import ClusterName, HostName, Place
from lae_monitor.core.refusals import Refused

log = logging.getLogger(__name__)

FILE: Final = "claims"  # in the folder of the kind's credentials
MAX_CLAIMS: Final = 10_000  # lines that are read; a fleet that needs more of them wants a FURL for each host

Claimed = dict[HostName, Place]


class Claims:
    """The claims in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._stamp: tuple[int, int, int] | None = None
        self._all: Claimed = {}

    def of(self, address: HostName) -> Place | None:
        """The host of an address, if it is claimed."""
        return self.all().get(address)

    def all(self) -> Claimed:
        """Every claim. What was read stays in force while the file cannot be read."""
        try:
            status = self.path.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._all, self._stamp = _parse(self.path), stamp
        except FileNotFoundError:
            self._all, self._stamp = {}, None
        except OSError as error:
            log.warning("%s: %s", self.path, error)
        return self._all


def claim(folder: Path, address: HostName, place: Place) -> None:
    """Claims `address` for the host `place`.

    Raises:
        Refused: `bad_parameters`: there are too many.
        OSError
    """
    with locked(folder):
        claimed = Claims(folder).all() | {address: place}
        if len(claimed) > MAX_CLAIMS:
            raise Refused("bad_parameters", f"more than {MAX_CLAIMS} claims: give each host a FURL of its own")
        _write(folder, claimed)


def unclaim(folder: Path, address: HostName) -> bool:
    """Removes a claim, for what comes from now on; returns whether there was one.

    Raises:
        OSError
    """
    with locked(folder):
        claimed = dict(Claims(folder).all())
        if claimed.pop(address, None) is None:
            return False
        _write(folder, claimed)
    return True


def address_name(text: str) -> HostName:
    """An address, or the name that it gives a host, as that name.

    Raises:
        Refused: `bad_host_name`.
    """
    return HostName(text) if is_address(text) else HostName.from_address(text)


def is_address(host: str) -> bool:
    """Whether a host has the name that an address gives it."""
    named = host.removeprefix("ip6-").replace("-", ":") if host.startswith("ip6-") else host
    try:
        return HostName.from_address(named) == host
    except Refused:
        return False


def _write(folder: Path, claimed: Claimed) -> None:
    lines = [f"{address} {place.cluster} {place.host}\n" for address, place in sorted(claimed.items())]
    replace(folder / FILE, "".join(lines).encode("ascii"))


def _parse(path: Path) -> Claimed:
    found: Claimed = {}
    for line in path.read_text("ascii", "replace").splitlines()[:MAX_CLAIMS]:
        try:
            address, cluster, host = line.split()
            found[HostName(address)] = Place(ClusterName(cluster), HostName(host))
        except (ValueError, Refused):
            log.warning("%s: a line that is no claim", path)
    return found
