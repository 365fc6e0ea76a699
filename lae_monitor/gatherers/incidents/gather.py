"""Gathers the incidents that Tahoe-LAFS nodes, and other programs with a Foolscap log publisher, report.

    node ──logport()──► a host's Entrance ──► Node ──subscribe, get_incident──► node
                                                │
                                                ▼
                  incidents/<cluster>/incidents/<host>/<name>.flog.bz2, then latest, then a receipt

An incident is known only once it is in the archive. Nothing is acknowledged to nodes: they keep their incidents, and
announce them at every connection.
"""

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lae_monitor.core.names import HostName
from lae_monitor.core.refusals import Refused
from lae_monitor.gatherers.context import Context
from lae_monitor.gatherers.incidents.receipts import Place, Receipts
from lae_monitor.gatherers.incidents.shared import Shared
from lae_monitor.gatherers.incidents.state import State
from lae_monitor.net import tubs
from lae_monitor.net.tubs_furls import HostFurls
from lae_monitor.net.tubs_identity import CERTIFICATE, HANDED, adopt, identity

if TYPE_CHECKING:
    from lae_monitor.gatherers.incidents.entrance import Entrance

log = logging.getLogger(__name__)

KIND: Final = "incidents"
IDENTITY: Final = "incidents-gatherer.pem"  # the credential by which systemd hands over an identity
WATCH_EVERY: Final = 5.0  # seconds between looks whether FURLs were revoked
LOOKS: Final = 12  # looks between notes of who was heard
STOP_PATIENCE: Final = 5.0  # seconds for connections to close


async def gather(context: Context) -> None:
    """Runs until `context.stop`.

    Raises:
        Refused: `bad_config`.
        OSError: the port is taken.
    """
    settings = context.settings.gatherers[KIND]
    folder = context.credentials(KIND)
    if handed := os.environ.get(HANDED):
        adopt(folder / CERTIFICATE, Path(handed) / IDENTITY)
    who = identity(folder / CERTIFICATE)
    tubs.start_reactor()
    state = State(context.settings.state.path / f"{context.archive.process}.db")
    receipts = Receipts(context.journal, context.clock)
    shared = Shared(context.archive, context.clock, state, receipts)
    door = Door(HostFurls(folder), shared, context.cluster)
    tub = tubs.Tub(who, settings.listen, settings.location, door.find, door.unknown)
    try:
        state.settle_connections()
        address = tub.start()
        context.ready(f"incidents: tub listening on {address}, FURLs in {folder}")
        watching = asyncio.create_task(door.watch())
        await context.stop.wait()
        watching.cancel()
    finally:
        await door.stop()
        await shared.finish()
        with suppress(TimeoutError):
            await asyncio.wait_for(tub.stop(), STOP_PATIENCE)
        tubs.stop_reactor()
        state.close()


class Door:
    """Lets hosts in by their FURLs, and shows out those whose FURL is gone."""

    def __init__(self, furls: HostFurls, shared: Shared, cluster: str) -> None:
        self._furls = furls
        self._shared = shared
        self._cluster = cluster
        self._entrances: dict[str, Entrance] = {}  # by swissnum

    def find(self, swissnum: str) -> "Entrance | None":
        """The object behind a FURL, for as long as the FURL's file is there."""
        from lae_monitor.gatherers.incidents.entrance import Entrance  # noqa: PLC0415 - after start_reactor()

        host_furl = self._furls.find(swissnum)
        if host_furl is None:
            return None
        entrance = self._entrances.get(swissnum)
        if entrance is None or entrance.place != (host_furl.cluster, host_furl.host):
            if entrance is not None:
                entrance.close("its FURL belongs to another host now")
            entrance = self._entrances[swissnum] = Entrance(host_furl, self._shared, self._furls.is_valid)
        return entrance

    def unknown(self, peer: str) -> None:
        """Somebody asked for a FURL that nobody has, or no more."""
        try:
            host = HostName.from_address(peer)
        except Refused:
            host = HostName("unknown")
        self._shared.receipts.refused(Place(self._cluster, host), peer, Refused("unknown_furl"))

    async def watch(self) -> None:
        """Disconnects hosts whose FURL is revoked, and notes who is heard."""
        while True:
            for _ in range(LOOKS):
                await asyncio.sleep(WATCH_EVERY)
                self._show_out()
            self._shared.state.hear([heard for entrance in self._entrances.values() for heard in entrance.heard()])
            self._shared.state.settle_connections()
            self._shared.receipts.sum_up()

    def _show_out(self) -> None:
        for swissnum, entrance in list(self._entrances.items()):
            try:
                if not self._furls.is_valid(entrance.host_furl):
                    entrance.close("its FURL was revoked")
                    del self._entrances[swissnum]
            except Exception:
                log.exception("%s/%s", *entrance.place)

    async def stop(self) -> None:
        await asyncio.gather(*(entrance.stop() for entrance in self._entrances.values()))
