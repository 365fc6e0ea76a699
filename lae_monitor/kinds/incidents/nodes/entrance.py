"""The objects behind FURLs: whoever calls a host's is that host, whatever it says of itself.

Import this only after `tubs.start_reactor()`.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from foolscap.logging.interfaces import RILogGatherer
from foolscap.referenceable import Referenceable
from zope.interface import implementer

from lae_monitor.core.names import Place
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.incidents.nodes.node import Node
from lae_monitor.kinds.incidents.nodes.shared import Shared
from lae_monitor.kinds.incidents.state import Connection, Heard
from lae_monitor.net import tubs

log = logging.getLogger(__name__)

MAX_NODES: Final = 32  # connected at once through one FURL: a storage server, an introducer, and their lost connections


@implementer(RILogGatherer)
class Entrance(Referenceable):
    """Takes the log publishers of one host; several nodes of a host may share its FURL.

    A node that joins later under a FURL in use is asked for its last 7 days only (names.LOOK_BACK): nodes have no identity
    here that outlives a restart, so one cursor serves them all.

    Args:
        place: whose nodes they are.
        shared: the gatherer's means.
        is_valid: whether who comes this way is still that host.
        on_connected: told of each node that was taken in; what it raises is logged.
    """

    def __init__(
        self, place: Place, shared: Shared, is_valid: Callable[[], bool], on_connected: Callable[[Node], None]
    ) -> None:
        self.place = place
        self.is_valid = is_valid
        self._shared = shared
        self._on_connected = on_connected
        self._nodes: dict[Node, asyncio.Task[None]] = {}
        self._is_stopping = False

    @property
    def nodes(self) -> list[Node]:
        """Those that are connected."""
        return list(self._nodes)

    def remote_logport(self, nodeid: Any, logport: Any) -> None:  # noqa: ARG002 - the FURL says who it is
        if not self.is_valid():
            self.close("its FURL was revoked")
            raise Refused("unknown_furl")
        self.take(logport)

    def take(self, logport: Any) -> None:
        """Begins to gather from a log publisher."""
        if self._is_stopping or any(node.publisher is logport for node in self._nodes):
            return
        while len(self._nodes) >= MAX_NODES:
            self._end(min(self._nodes, key=lambda node: self._heard(node).time), "more connections than a host needs")
        node = Node(logport, self.place, self._shared, self.is_valid)
        task = asyncio.create_task(self._run(node), name=f"incidents of {node}")
        self._nodes[node] = task
        state = self._shared.state
        number = state.connected(Connection(*self.place, self._shared.clock(), node.tub_id, node.peer))
        state.hear([self._heard(node)])
        # The end of the task is no sign: a fetch, or a pause, may outlast the connection by a minute.
        logport.notifyOnDisconnect(self._disconnected, node, number)
        self._shared.receipts.mark(
            self.place, "node connected to the incident gatherer", peer=node.peer, tub=node.tub_id
        )
        self._on_connected(node)

    def _disconnected(self, node: Node, number: int) -> None:
        node.disconnected()
        self._shared.state.disconnected(number)
        self._shared.state.hear([*self.heard(), self._heard(node)])

    async def _run(self, node: Node) -> None:
        try:
            await node.run()
        except Exception:
            log.exception("%s", node)
            tubs.disconnect(node.publisher, "failed here")
        finally:
            self._nodes.pop(node, None)
            self._shared.receipts.mark(self.place, "node left the incident gatherer", peer=node.peer, tub=node.tub_id)

    def close(self, why: str) -> None:
        """Disconnects every node of the host."""
        for node in list(self._nodes):
            self._end(node, why)

    def _end(self, node: Node, why: str) -> None:
        log.info("%s: disconnecting %s: %s", node, node.tub_id, why)
        tubs.disconnect(node.publisher, why)
        self._nodes.pop(node).cancel()

    def heard(self) -> list[Heard]:
        """When the host was last heard, if it is connected."""
        return [self._heard(node) for node in self._nodes]

    def _heard(self, node: Node) -> Heard:
        received = node.publisher.getDataLastReceivedAt() or 0.0
        return Heard(*self.place, max(node.last_heard, received), node.tub_id, node.peer)

    async def stop(self) -> None:
        """Takes nothing new; what was begun goes on."""
        self._is_stopping = True
        tasks = list(self._nodes.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@implementer(RILogGatherer)
class OpenEntrance(Referenceable):
    """The object behind the FURL of nobody in particular: `show_in` leads each node to the entrance that is its own."""

    def __init__(self, show_in: Callable[[Any], None]) -> None:
        self._show_in = show_in

    def remote_logport(self, nodeid: Any, logport: Any) -> None:  # noqa: ARG002 - it says what it likes
        self._show_in(logport)
