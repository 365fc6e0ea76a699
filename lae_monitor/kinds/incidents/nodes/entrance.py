"""What the door to nodes needs of the incident gatherer. Import this only after `tubs.start_reactor()`."""

from collections.abc import Callable
from typing import Any, Final

from foolscap.logging.interfaces import RILogGatherer
from foolscap.referenceable import Referenceable
from zope.interface import implementer

from lae_monitor.core.names import Place
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.incidents.nodes.node import Node
from lae_monitor.kinds.incidents.nodes.shared import Shared
from lae_monitor.net.furls.door import Gatherer

NAME: Final = "incident gatherer"


@implementer(RILogGatherer)
class LogGatherer(Referenceable):
    """The object behind a FURL, to which nodes offer their log publishers.

    A node that joins later under a FURL in use is asked for its last 7 days only (names.LOOK_BACK): nodes have no identity
    here that outlives a restart, so one cursor serves them all.
    """

    def __init__(self, admit: Callable[[Any], None]) -> None:
        self._admit = admit

    def remote_logport(self, nodeid: Any, logport: Any) -> None:  # noqa: ARG002 - the FURL says which host it is
        self._admit(logport)


class NodeGatherer(Gatherer[Node]):
    """Makes a Node of each log publisher."""

    def __init__(self, shared: Shared) -> None:
        self.name = NAME
        self.clock = shared.clock
        self.contacts = shared.state
        self.shared = shared

    def reference(self, admit: Callable[[Any], None]) -> LogGatherer:
        return LogGatherer(admit)

    def peer(self, remote: Any, place: Place, is_welcome: Callable[[], bool]) -> Node:
        return Node(remote, place, self.shared, is_welcome)

    def refused(self, place: Place, peer: str, refused: Refused) -> None:
        self.shared.refused(place, peer, refused)

    def mark(self, place: Place, title: str, **attributes: str) -> None:
        self.shared.receipts.mark(place, title, **attributes)
