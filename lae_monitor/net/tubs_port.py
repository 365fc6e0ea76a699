# mypy: disable-error-code="no-untyped-call,misc,assignment,arg-type"
"""The TCP port of a tub: it counts and times connections before Foolscap sees them.

Import this only after `tubs.start_reactor()`.
"""

from typing import Any

from twisted.internet import tcp

from lae_monitor.net.connections import Connections


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
