"""Lets nodes in by their FURLs, and shows out those whose FURL is gone.

A FURL of a host leads to that host. The FURL of nobody in particular, if there is one, leads to a host that is named by the
peer's address, or to the one that claimed the address.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from lae_monitor.core.names import ClusterName, HostName, Place
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.kinds.incidents.measures import CONNECTIONS, HEARD, HOSTS, WAITING
from lae_monitor.kinds.incidents.nodes.shared import Shared
from lae_monitor.kinds.incidents.state import Expected
from lae_monitor.net import tubs
from lae_monitor.net.furls.claims import Claims, is_address
from lae_monitor.net.furls.files import HostFurls, OpenFurl, registered

if TYPE_CHECKING:
    from lae_monitor.kinds.incidents.nodes.entrance import Entrance, OpenEntrance
    from lae_monitor.kinds.incidents.nodes.node import Node

log = logging.getLogger(__name__)

WATCH_EVERY: Final = 5.0  # seconds between looks whether FURLs were revoked
LOOKS: Final = 12  # looks between notes of who was heard
MAX_UNCLAIMED: Final = (
    256  # hosts named by an address; whoever has the open FURL may have as many addresses as he likes
)
NOBODY: Final = HostName("unclaimed")  # under whose name those beyond are refused


class Door:
    """Who may come in, and who is in.

    `on_connected` is told of every node that was taken in. `finders` are asked for a swissnum that no host has, before it
    counts as unknown; they answer with a Referenceable, or None.

    Args:
        furls: of hosts.
        shared: the gatherer's means.
        cluster: of hosts that are named by an address.
        open_furl: the FURL of nobody in particular; None for none.
        claims: whose addresses are whose.
    """

    def __init__(
        self, furls: HostFurls, shared: Shared, cluster: ClusterName, open_furl: OpenFurl | None, claims: Claims
    ) -> None:
        self.on_connected: list[Callable[[Node], None]] = []
        self.finders: list[Callable[[str], Any]] = []
        self._furls = furls
        self._shared = shared
        self._cluster = cluster
        self._open = open_furl
        self._claims = claims
        self._entrances: dict[str, Entrance] = {}  # by swissnum
        self._open_entrances: dict[str, OpenEntrance] = {}
        self._by_address: dict[tuple[str, HostName], Entrance] = {}  # by the open FURL's swissnum, and address
        self._unclaimed: set[str] = set()  # hosts named by an address that have incidents
        self._heard = 0.0  # when any node was
        shared.claimed = self._claimed
        shared.on_stored.append(self._stored)

    # ---- coming in -------------------------------------------------------------------------------------------------

    def find(self, swissnum: str) -> Any:
        """The object behind a FURL, for as long as the FURL's file is there; None when nobody has it."""
        from lae_monitor.kinds.incidents.nodes.entrance import Entrance, OpenEntrance  # noqa: PLC0415 - after start_reactor()

        host_furl = self._furls.find(swissnum)
        if host_furl is not None:
            place = Place(host_furl.cluster, host_furl.host)
            entrance = self._entrances.get(swissnum)
            if entrance is None or entrance.place != place:
                if entrance is not None:
                    entrance.close("its FURL belongs to another host now")
                is_valid = partial(self._is_of, swissnum, place)
                entrance = self._entrances[swissnum] = Entrance(place, self._shared, is_valid, self._connected)
            return entrance
        if self._open is not None and self._open.has(swissnum):
            if swissnum not in self._open_entrances:
                self._open_entrances[swissnum] = OpenEntrance(partial(self._show_in, swissnum))
            return self._open_entrances[swissnum]
        return next((found for finder in self.finders if (found := finder(swissnum)) is not None), None)

    def _is_of(self, swissnum: str, place: Place) -> bool:
        found = self._furls.find(swissnum)
        return found is not None and (found.cluster, found.host) == place

    def unknown(self, peer: str) -> None:
        """Somebody asked for a FURL that nobody has, or no more."""
        self._shared.refused(Place(self._cluster, _name_of(peer)), peer, Refused("unknown_furl"))

    def _show_in(self, swissnum: str, logport: Any) -> None:
        """Takes a node that came by the open FURL."""
        from lae_monitor.kinds.incidents.nodes.entrance import Entrance  # noqa: PLC0415

        if self._open is None or not self._open.has(swissnum):
            tubs.disconnect(logport, "its FURL was revoked")
            raise Refused("unknown_furl")
        peer = tubs.peer_address(logport)
        address = _name_of(peer)
        place = self._place_of(address)
        entrance = self._by_address.get((swissnum, address))
        if entrance is None or entrance.place != place:
            if place.host == address and not self._has_room_for(address):
                refused = Refused("too_many_unclaimed", f"{MAX_UNCLAIMED} hosts are named by an address already")
                self._shared.refused(Place(self._cluster, NOBODY), peer, refused)
                tubs.disconnect(logport, refused.code)
                raise refused
            if entrance is not None:
                entrance.close("its address was claimed, or is no more")
            is_valid = partial(self._is_still, swissnum, address, place)
            entrance = self._by_address[swissnum, address] = Entrance(place, self._shared, is_valid, self._connected)
        entrance.take(logport)

    def _place_of(self, address: HostName) -> Place:
        return self._claims.of(address) or Place(self._cluster, address)

    def _is_still(self, swissnum: str, address: HostName, place: Place) -> bool:
        return self._open is not None and self._open.has(swissnum) and self._place_of(address) == place

    def _has_room_for(self, address: HostName) -> bool:
        connected = {str(name) for _, name in self._by_address}
        return address in self._unclaimed or len(self._unclaimed | connected) < MAX_UNCLAIMED

    def _claimed(self, place: Place) -> list[Place]:
        return [Place(self._cluster, address) for address, whose in self._claims.all().items() if whose == place]

    def _stored(self, place: Place, _span: Span) -> None:
        if place.cluster == self._cluster and is_address(place.host):
            self._unclaimed.add(place.host)

    def _connected(self, node: "Node") -> None:
        for tell in self.on_connected:
            try:
                tell(node)
            except Exception:
                log.exception("%s: what is to be done with it was not done", node)

    # ---- being in --------------------------------------------------------------------------------------------------

    def nodes(self, cluster: str, host: str) -> list["Node"]:
        """The nodes of a host that are connected."""
        return [node for entrance in self._all() if entrance.place == (cluster, host) for node in entrance.nodes]

    def _all(self) -> list["Entrance"]:
        return [*self._entrances.values(), *self._by_address.values()]

    async def know_addresses(self) -> None:
        """Looks which hosts there are that are named by an address; to be called once at the start."""
        places = await self._shared.stored.places()
        mine = {place.host for place in places if place.cluster == self._cluster and is_address(place.host)}
        self._unclaimed |= mine - {str(address) for address in self._claims.all()}

    async def watch(self) -> None:
        """Disconnects hosts whose FURL is revoked, or whose address was claimed, and notes who is heard and who may be."""
        while True:
            for _ in range(LOOKS):
                await asyncio.sleep(WATCH_EVERY)
                self._show_out()
                self._expect()
                self._measure()
            self._shared.state.hear([heard for entrance in self._all() for heard in entrance.heard()])
            self._shared.state.settle_connections()

    def _show_out(self) -> None:
        self._unclaimed -= {str(address) for address in self._claims.all()}
        # Those that nobody came through are not looked at: a fleet may have thousands.
        for entrance in self._all():
            try:
                if entrance.nodes and not entrance.is_valid():
                    entrance.close("its FURL was revoked, or its address is another host's now")
            except Exception:
                log.exception("%s/%s", *entrance.place)
        self._by_address = {key: entrance for key, entrance in self._by_address.items() if entrance.nodes}

    def _expect(self) -> None:
        claimed = {str(address): place for address, place in self._claims.all().items()}
        try:
            self._shared.state.expect(Expected(frozenset(registered(self._furls.folder)), claimed))
        except OSError as error:
            log.warning("whose FURLs there are: %s", error)

    def _measure(self) -> None:
        nodes = [node for entrance in self._all() for node in entrance.nodes]
        CONNECTIONS.set(len(nodes))
        HOSTS.set(len({node.place for node in nodes}))
        WAITING.set(sum(node.waiting for node in nodes))
        self._heard = max([self._heard, *(one.time for entrance in self._all() for one in entrance.heard())])
        HEARD.set(max(self._shared.clock() - self._heard, 0.0) if self._heard else 0.0)

    async def stop(self) -> None:
        await asyncio.gather(*(entrance.stop() for entrance in self._all()))


def _name_of(peer: str) -> HostName:
    try:
        return HostName.from_address(peer)
    except Refused:
        return HostName("unknown")
