"""Admits peers by their FURLs, and disconnects those whose FURL was revoked.

A host's FURL leads to that host, whatever the peer says. The shared FURL, if there is one, leads to a host named by the
peer's address, or to the host that claimed the address.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar

from lae_monitor.core.names import ClusterName, HostName, Place
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import Clock
from lae_monitor.net import tubs
from lae_monitor.net.furls.claims import Claims, is_address
from lae_monitor.net.furls.files import HostFurls, OpenFurl, registered
from lae_monitor.net.furls.ledger import Connection, Expected, LastContact, Ledger

log = logging.getLogger(__name__)

WATCH_EVERY: Final = 5.0  # seconds between looks whether FURLs were revoked
LOOKS: Final = 12  # looks between notes of last contacts
MAX_PEERS: Final = 32  # connected at once through one FURL: a storage server, an introducer, and their lost connections
MAX_UNCLAIMED: Final = 256  # hosts named by an address; a holder of the shared FURL may use any number of addresses
UNCLAIMED: Final = HostName("unclaimed")  # the host of refusals beyond that


class Peer(Protocol):
    """A peer that is connected. Several peers of a host may share its FURL.

    `remote` is its RemoteReference, `peer` its address, `last_heard` when it sent something, in seconds since the epoch.
    """

    remote: Any
    place: Place
    tub_id: str
    peer: str
    last_heard: float

    async def run(self) -> None:
        """Gathers from it until the connection ends."""

    def disconnected(self) -> None:
        """The connection has ended."""


PeerT = TypeVar("PeerT", bound=Peer)
PeerT_co = TypeVar("PeerT_co", bound=Peer, covariant=True)


class Gatherer(Protocol[PeerT_co]):
    """The gatherer that a door belongs to. `name` is its name in events, such as "stats gatherer"."""

    name: str
    clock: Clock
    ledger: Ledger

    def reference(self, admit: Callable[[Any], None]) -> Any:
        """A new object behind a FURL: a Referenceable that calls `admit` with the RemoteReference of each peer."""

    def peer(self, remote: Any, place: Place, is_welcome: Callable[[], bool]) -> PeerT_co:
        """The peer behind `remote`; `is_welcome` says whether its FURL is still valid."""

    def refused(self, place: Place, peer: str, refused: Refused) -> None:
        """Counts and notes a refusal."""

    def mark(self, place: Place, title: str, **attributes: str) -> None:
        """Puts an event on the host's timeline."""


class Entrance(Generic[PeerT]):
    """Where the peers of one host come in.

    Args:
        place: the host.
        gatherer: what peers are for.
        is_valid: whether a peer that comes in here is still of that host.
        on_connected: called with each new peer.
    """

    def __init__(
        self,
        place: Place,
        gatherer: Gatherer[PeerT],
        is_valid: Callable[[], bool],
        on_connected: Callable[[PeerT], None],
    ) -> None:
        self.place = place
        self.is_valid = is_valid
        self._gatherer = gatherer
        self._on_connected = on_connected
        self._peers: dict[PeerT, asyncio.Task[None]] = {}
        self._is_stopping = False

    @property
    def peers(self) -> list[PeerT]:
        """The connected ones."""
        return list(self._peers)

    def admit(self, remote: Any) -> None:
        """Begins to gather from a peer.

        Raises:
            Refused: `unknown_furl`.
        """
        if not self.is_valid():
            self.close("its FURL was revoked")
            raise Refused("unknown_furl")
        if self._is_stopping or any(peer.remote is remote for peer in self._peers):
            return
        while len(self._peers) >= MAX_PEERS:
            self._end(min(self._peers, key=lambda peer: _contact(peer).time), "more connections than a host needs")
        peer = self._gatherer.peer(remote, self.place, self.is_valid)
        self._peers[peer] = asyncio.create_task(self._run(peer), name=f"{self._gatherer.name}: {peer}")
        ledger = self._gatherer.ledger
        number = ledger.connected(Connection(*self.place, self._gatherer.clock(), peer.tub_id, peer.peer))
        ledger.note([_contact(peer)])
        # The end of the task is no sign: a call, or a pause, may outlast the connection by a minute.
        remote.notifyOnDisconnect(self._disconnected, peer, number)
        self._mark(f"node connected to the {self._gatherer.name}", peer)
        self._on_connected(peer)

    def _disconnected(self, peer: PeerT, number: int) -> None:
        peer.disconnected()
        self._gatherer.ledger.disconnected(number)
        self._gatherer.ledger.note([*self.contacts(), _contact(peer)])

    async def _run(self, peer: PeerT) -> None:
        try:
            await peer.run()
        except Exception:
            log.exception("%s", peer)
            tubs.disconnect(peer.remote, "failed here")
        finally:
            self._peers.pop(peer, None)
            self._mark(f"node left the {self._gatherer.name}", peer)

    def _mark(self, title: str, peer: PeerT) -> None:
        self._gatherer.mark(self.place, title, peer=peer.peer, tub=peer.tub_id)

    def close(self, why: str) -> None:
        """Disconnects every peer of the host."""
        for peer in list(self._peers):
            self._end(peer, why)

    def _end(self, peer: PeerT, why: str) -> None:
        log.info("%s: disconnecting %s: %s", peer, peer.tub_id, why)
        tubs.disconnect(peer.remote, why)
        self._peers.pop(peer).cancel()

    def contacts(self) -> list[LastContact]:
        """The last contact of each peer that is connected."""
        return [_contact(peer) for peer in self._peers]

    async def stop(self) -> None:
        """Admits no more; what was begun goes on."""
        self._is_stopping = True
        tasks = list(self._peers.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _contact(peer: Peer) -> LastContact:
    received = peer.remote.getDataLastReceivedAt() or 0.0
    return LastContact(*peer.place, max(peer.last_heard, received), peer.tub_id, peer.peer)


class Door(Generic[PeerT]):
    """All entrances of one gatherer.

    `on_connected` is called with each new peer, `on_look` at each look of `watch`. `finders` are asked for a swissnum that
    no host has; they answer with a Referenceable, or None.

    Args:
        furls: of hosts.
        gatherer: what peers are for.
        cluster: of hosts that are named by an address.
        open_furl: the shared FURL; None for none.
        claims: hosts of addresses.
    """

    def __init__(
        self,
        furls: HostFurls,
        gatherer: Gatherer[PeerT],
        cluster: ClusterName,
        open_furl: OpenFurl | None,
        claims: Claims,
    ) -> None:
        self.on_connected: list[Callable[[PeerT], None]] = []
        self.on_look: list[Callable[[], None]] = []
        self.finders: list[Callable[[str], Any]] = []
        self.last_contact = 0.0  # of any peer, in seconds since the epoch
        self._furls = furls
        self._gatherer = gatherer
        self._cluster = cluster
        self._open = open_furl
        self._claims = claims
        self._own: dict[str, tuple[Entrance[PeerT], Any]] = {}  # entrance and object behind a host's FURL, by swissnum
        self._shared: dict[str, Any] = {}  # the object behind the shared FURL, by swissnum
        self._by_address: dict[tuple[str, HostName], Entrance[PeerT]] = {}  # by the shared FURL's swissnum, and address
        self._unclaimed: set[str] = set()  # hosts named by an address that have reports

    # ---- admission ---------------------------------------------------------------------------------------------------

    def find(self, swissnum: str) -> Any:
        """The object behind a FURL, for as long as the FURL's file is there; None if no FURL has this swissnum."""
        furl = self._furls.find(swissnum)
        if furl is not None:
            return self._reference_of(swissnum, Place(furl.cluster, furl.host))
        if self._open is not None and self._open.has(swissnum):
            if swissnum not in self._shared:
                self._shared[swissnum] = self._gatherer.reference(partial(self._admit_by_address, swissnum))
            return self._shared[swissnum]
        return next((found for finder in self.finders if (found := finder(swissnum)) is not None), None)

    def _reference_of(self, swissnum: str, place: Place) -> Any:
        entrance, reference = self._own.get(swissnum, (None, None))
        if entrance is None or entrance.place != place:
            if entrance is not None:
                entrance.close("its FURL belongs to another host now")
            entrance = self._entrance(place, partial(self._is_of, swissnum, place))
            reference = self._gatherer.reference(entrance.admit)
            self._own[swissnum] = entrance, reference
        return reference

    def _entrance(self, place: Place, is_valid: Callable[[], bool]) -> Entrance[PeerT]:
        return Entrance(place, self._gatherer, is_valid, self._connected)

    def _is_of(self, swissnum: str, place: Place) -> bool:
        furl = self._furls.find(swissnum)
        return furl is not None and (furl.cluster, furl.host) == place

    def unknown(self, peer: str) -> None:
        """A peer asked for a FURL that does not exist, or was revoked."""
        self._gatherer.refused(Place(self._cluster, _name_of(peer)), peer, Refused("unknown_furl"))

    def _admit_by_address(self, swissnum: str, remote: Any) -> None:
        """Admits a peer that came by the shared FURL."""
        if self._open is None or not self._open.has(swissnum):
            tubs.disconnect(remote, "its FURL was revoked")
            raise Refused("unknown_furl")
        peer = tubs.peer_address(remote)
        address = _name_of(peer)
        place = self._place_of(address)
        entrance = self._by_address.get((swissnum, address))
        if entrance is None or entrance.place != place:
            if place.host == address and not self._has_room_for(address):
                refused = Refused("too_many_unclaimed", f"{MAX_UNCLAIMED} hosts are named by an address already")
                self._gatherer.refused(Place(self._cluster, UNCLAIMED), peer, refused)
                tubs.disconnect(remote, refused.code)
                raise refused
            if entrance is not None:
                entrance.close("its address was claimed, or is no more")
            entrance = self._entrance(place, partial(self._is_still, swissnum, address, place))
            self._by_address[swissnum, address] = entrance
        entrance.admit(remote)

    def _place_of(self, address: HostName) -> Place:
        return self._claims.of(address) or Place(self._cluster, address)

    def _is_still(self, swissnum: str, address: HostName, place: Place) -> bool:
        return self._open is not None and self._open.has(swissnum) and self._place_of(address) == place

    def _has_room_for(self, address: HostName) -> bool:
        connected = {str(name) for _, name in self._by_address}
        return address in self._unclaimed or len(self._unclaimed | connected) < MAX_UNCLAIMED

    def claimed(self, place: Place) -> list[Place]:
        """The hosts named by the addresses that `place` claimed."""
        return [Place(self._cluster, address) for address, owner in self._claims.all().items() if owner == place]

    def has_reports(self, place: Place) -> None:
        """Notes that the archive has reports of a host."""
        if place.cluster == self._cluster and is_address(place.host) and place.host not in self._claims.all():
            self._unclaimed.add(place.host)

    def _connected(self, peer: PeerT) -> None:
        for listener in self.on_connected:
            try:
                listener(peer)
            except Exception:
                log.exception("%s: what is to be done with it was not done", peer)

    # ---- connections -------------------------------------------------------------------------------------------------

    def peers(self, cluster: str, host: str) -> list[PeerT]:
        """The peers of a host that are connected."""
        return [peer for entrance in self._entrances() if entrance.place == (cluster, host) for peer in entrance.peers]

    def all_peers(self) -> list[PeerT]:
        return [peer for entrance in self._entrances() for peer in entrance.peers]

    def _entrances(self) -> list[Entrance[PeerT]]:
        return [*(entrance for entrance, _ in self._own.values()), *self._by_address.values()]

    def _contacts(self) -> list[LastContact]:
        return [contact for entrance in self._entrances() for contact in entrance.contacts()]

    async def watch(self) -> None:
        """Disconnects hosts whose FURL was revoked, or whose address was claimed; notes last contacts and expected hosts."""
        while True:
            for _ in range(LOOKS):
                await asyncio.sleep(WATCH_EVERY)
                self._disconnect_revoked()
                self._note_expected()
                self.last_contact = max([self.last_contact, *(contact.time for contact in self._contacts())])
                for look in self.on_look:
                    look()
            self._gatherer.ledger.note(self._contacts())
            self._gatherer.ledger.settle_connections()

    def _disconnect_revoked(self) -> None:
        self._unclaimed -= {str(address) for address in self._claims.all()}
        # Entrances without a peer are not looked at: a fleet may have thousands.
        for entrance in self._entrances():
            try:
                if entrance.peers and not entrance.is_valid():
                    entrance.close("its FURL was revoked, or its address is another host's now")
            except Exception:
                log.exception("%s/%s", *entrance.place)
        self._by_address = {key: entrance for key, entrance in self._by_address.items() if entrance.peers}

    def _note_expected(self) -> None:
        claimed = {str(address): place for address, place in self._claims.all().items()}
        try:
            self._gatherer.ledger.expect(Expected(frozenset(registered(self._furls.folder)), claimed))
        except OSError as error:
            log.warning("the FURLs of hosts cannot be listed: %s", error)

    async def stop(self) -> None:
        await asyncio.gather(*(entrance.stop() for entrance in self._entrances()))


def _name_of(peer: str) -> HostName:
    try:
        return HostName.from_address(peer)
    except Refused:
        return HostName("unknown")
