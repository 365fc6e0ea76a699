# mypy: disable-error-code="no-untyped-call,misc,assignment,arg-type"
"""Connections of a tub, guarded: Foolscap itself sets no limit to what a peer may make it hold or compute.

The port counts and times connections before Foolscap sees them; the broker bounds their messages.

Import this only after `tubs.start_reactor()`.
"""

import logging
from typing import Any, Final

from foolscap import banana, slicer
from foolscap.broker import Broker, PBOpenRegistry, PBRootUnslicer
from foolscap.slicers.dict import DictUnslicer
from foolscap.slicers.list import ListUnslicer
from foolscap.tokens import BananaFailure, Violation
from twisted.internet import tcp
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from lae_monitor.core.limits import KiB, MiB
from lae_monitor.net.connections import Connections

log = logging.getLogger(__name__)

MAX_MESSAGE: Final = 12 * MiB  # one call or answer; a typical incident of 1,800 events is 1 MiB
MAX_STRANGER_MESSAGE: Final = 64 * KiB  # until the peer has shown a FURL of ours
MAX_HELD: Final = 36 * MiB  # of messages not yet whole, over all connections; beyond, the largest is refused
MAX_DISCARDED: Final = 4 * MAX_MESSAGE  # of a refused message; a peer that goes on is disconnected
MAX_DEPTH: Final = 60  # containers within containers; incidents need 5, and deep ones cost quadratic time
MAX_OBJECTS: Final = (
    500_000  # opened within one message; 20,000 events have some 400,000, each of at least 200 bytes here
)
MAX_COMPLAINT: Final = (
    900  # bytes of what a peer is told of its error; Foolscap's own limit is 1,000, and raises TypeError
)


class TooLarge(Violation):
    """The message is beyond a limit; the rest of it is thrown away as it comes."""


class ScalarKeysUnslicer(DictUnslicer):
    """Takes no containers as keys: hashing tuples that refer to tuples can be made to take for ever."""

    def receiveKey(self, key: Any) -> None:  # noqa: N802 - Foolscap's name
        if isinstance(key, tuple):
            raise Violation("a container as a key")
        super().receiveKey(key)


class SetAsListUnslicer(ListUnslicer):
    """Takes a set for a list: nothing of ours needs one, and hashing its elements can be made to take for ever."""


class GuardedRootUnslicer(PBRootUnslicer):
    openRegistries = [  # noqa: N815, RUF012 - Foolscap's name, never changed
        slicer.UnslicerRegistry
        | {
            ("dict",): ScalarKeysUnslicer,
            ("set",): SetAsListUnslicer,
            ("immutable-set",): SetAsListUnslicer,
        },
        PBOpenRegistry,
    ]


class Held:
    """The messages that all connections of a tub hold, not yet whole."""

    def __init__(self) -> None:
        self.total = 0
        self.brokers: set[GuardedBroker] = set()

    def largest(self) -> "GuardedBroker":
        return max(self.brokers, key=lambda broker: broker.held)


class _Unread:
    """As long as a peer does not read what we send, we do not read what it sends: else our answers would pile up here."""

    def __init__(self, broker: "GuardedBroker") -> None:
        self._broker = broker

    def pauseProducing(self) -> None:  # noqa: N802
        self._broker.transport.pauseProducing()

    def resumeProducing(self) -> None:  # noqa: N802
        self._broker.transport.resumeProducing()

    def stopProducing(self) -> None:  # noqa: N802
        """The connection is gone."""


class GuardedBroker(Broker):
    """A connection whose messages have a limit. Until it names a FURL of ours, the deadline of TubConnection runs."""

    unslicerClass = GuardedRootUnslicer  # noqa: N815

    tub: Any
    transport: Any

    held: int = 0  # bytes of the message that is being received
    _admitted = False
    _objects = 0  # opened within the current message
    _discarded = 0  # bytes of a refused message

    # ---- strangers -------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:  # noqa: N802
        super().connectionMade()
        self.tub.held.brokers.add(self)
        self.transport.registerProducer(_Unread(self), True)

    def remote_getReferenceByName(self, name: bytes) -> Any:  # noqa: N802
        """Foolscap's look-up of a swissnum: a peer that knows one is no stranger."""
        try:
            found = super().remote_getReferenceByName(name)
        except (KeyError, UnicodeDecodeError):
            self.tub.on_unknown(getattr(self.transport.getPeer(), "host", ""))
            raise KeyError("no such name") from None
        if not self._admitted:
            self._admitted = True
            self.transport.welcome()
        return found

    def cut(self, why: str) -> None:
        """Ends the connection now, whether the peer reads on or not."""
        transport = self.transport
        log.warning("connection from %s cut: it %s", getattr(transport.getPeer(), "host", "?"), why)
        self.shutdown(Failure(ConnectionDone(why)))
        transport.abortConnection()

    def shutdown(self, why: Failure, fireDisconnectWatchers: bool = True) -> None:  # noqa: N803
        self.transport.unregisterProducer()  # TLS waits for a producer before it says farewell
        super().shutdown(why, fireDisconnectWatchers)

    def connectionLost(self, reason: Any = connectionDone) -> None:  # noqa: N802
        self.hold(0)
        self.tub.held.brokers.discard(self)
        super().connectionLost(reason)

    # ---- limits ----------------------------------------------------------------------------------------------------

    def dataReceived(self, chunk: bytes) -> None:  # noqa: N802
        self.hold(self.held + len(chunk))
        self.receive(chunk)

    def receive(self, chunk: bytes) -> None:
        """Takes what has come, and is counted, as far as the limits allow."""
        super().dataReceived(chunk)
        if self.disconnected:
            return
        if self.discardCount:
            self.hold(0)
            self._discarded += len(chunk)
            if self._discarded > MAX_DISCARDED:
                self.cut("sends what nobody takes")
            return
        self._discarded = 0
        if self.is_between_messages():
            self.hold(len(self.buffer))
        elif self.held > (MAX_MESSAGE if self._admitted else MAX_STRANGER_MESSAGE):
            self.refuse_message(f"more than {MAX_MESSAGE} bytes")
        elif self.tub.held.total > MAX_HELD:
            self.tub.held.largest().refuse_message("all connections together hold too much")

    def is_between_messages(self) -> bool:
        return len(self.receiveStack) == 1 and not self.inOpen

    def hold(self, size: int) -> None:
        """Counts what the connection holds of its current message."""
        self.tub.held.total += size - self.held
        self.held = size

    def refuse_message(self, why: str) -> None:
        """Lets go of what has come of the current message; its caller or its recipient is told."""
        self.handleViolation(BananaFailure(TooLarge(why)), "dataReceived", inOpen=self.inOpen)
        self.inOpen = False
        self.handleData(b"")  # throws away the part of a long string that waits for its end
        self.hold(0)

    def sendError(self, msg: str | bytes) -> None:  # noqa: N802
        data = msg if isinstance(msg, bytes) else msg.encode("utf-8", "replace")
        super().sendError(data[:MAX_COMPLAINT])

    def handleClose(self, closeCount: int) -> None:  # noqa: N802, N803
        super().handleClose(closeCount)
        if len(self.receiveStack) == 1:
            self.hold(0)

    def handleOpen(self, openCount: int, objectCount: int, indexToken: Any) -> None:  # noqa: N802, N803
        self._objects = self._objects + 1 if len(self.receiveStack) > 1 else 1
        if len(self.receiveStack) < MAX_DEPTH and self._objects <= MAX_OBJECTS:
            super().handleOpen(openCount, objectCount, indexToken)
            return
        why = "nested too deeply" if len(self.receiveStack) >= MAX_DEPTH else f"more than {MAX_OBJECTS} objects"
        self.inOpen = False
        self.handleViolation(BananaFailure(TooLarge(why)), "doOpen", inOpen=True)

    def scheduleCall(self, delivery: Any, ready_deferred: Any) -> None:  # noqa: N802
        """Every later call would wait, and be kept, for a call whose arguments hold themselves: for ever."""
        if ready_deferred is not None and not ready_deferred.called:
            self.cut("calls with what holds itself")
            return
        super().scheduleCall(delivery, ready_deferred)


def _bytes_to_long(data: bytes) -> int:
    return int.from_bytes(data, "big")


# Foolscap's own takes quadratic time: a number of 1 MiB would stop the process for minutes.
banana.bytes_to_long = _bytes_to_long


# ---- the port ------------------------------------------------------------------------------------------------------


class TubConnection(tcp.Server):
    """A connection that is cut off unless it names a FURL of ours in time; then the broker calls `welcome`."""

    def __init__(self, sock: Any, protocol: Any, client: Any, server: "TubPort", sessionno: int, reactor: Any) -> None:
        super().__init__(sock, protocol, client, server, sessionno, reactor)
        self._counted = server.connections.begin(str(client[0]), self.abortConnection)

    def welcome(self) -> None:
        self._counted.welcome()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 - Twisted's name
        self._counted.end()
        super().connectionLost(reason)


class _Admitting:
    """A factory that has no protocol for connections beyond a limit: Twisted closes those at once."""

    def __init__(self, factory: Any, connections: Connections) -> None:
        self._factory = factory
        self._connections = connections

    def buildProtocol(self, address: Any) -> Any:  # noqa: N802
        return self._factory.buildProtocol(address) if self._connections.admits(str(address.host)) else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._factory, name)


class TubPort(tcp.Port):
    """Listens for a tub."""

    transport = TubConnection

    def __init__(self, port: int, factory: Any, backlog: int, interface: str, reactor: Any) -> None:
        self.connections = Connections("foolscap")
        super().__init__(port, _Admitting(factory, self.connections), backlog, interface, reactor)
