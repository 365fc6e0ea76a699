# mypy: disable-error-code="no-untyped-call"
"""Foolscap tubs on asyncio: Twisted runs on our loop, in the incident gatherer, in `fleet tail` and in the demo only.

`start_reactor()` comes first, in a running loop (asyncio's or uvloop's), before anything imports Foolscap or Twisted's
reactor. Signals stay ours. A process has one reactor, so one loop that does this.

identity.py   certificate, TubID, listening address, location
broker.py     connections: limits of messages, of time, of number
client.py     a tub that only calls others
"""

import asyncio
import errno
import logging
import sys
from collections.abc import Callable
from typing import Any, Final, cast

from lae_monitor.core.kind import load
from lae_monitor.core.refusals import shorten
from lae_monitor.core.time import MINUTE
from lae_monitor.net.connections import BACKLOG
from lae_monitor.net.tubs.identity import Identity, parse_listen

log = logging.getLogger(__name__)

KEEPALIVE: Final = 60  # seconds of silence before a ping; Foolscap's default is 240
DISCONNECT: Final = 300  # seconds of silence before a connection counts as lost; Foolscap's default is never
MAX_ERROR: Final = 300  # characters of what the other side says went wrong
MAX_LOGGED: Final = 10  # of what Twisted logs in a minute: a peer can make it log a traceback with each message


class RemoteError(Exception):
    """The other side answered with an error: its type and message, as one printable line."""


class Disconnected(Exception):
    """The connection was lost before the answer came."""


class AnswerTooLarge(Exception):
    """The answer is beyond a limit of the tub; the connection goes on without it."""


class AnswerMalformed(Exception):
    """The answer is not of the form that the interface says."""


def start_reactor() -> None:
    """Puts Twisted on the running loop and starts it there, once a process.

    Raises:
        RuntimeError: another reactor is installed already, so something was imported too early.
    """
    loop = asyncio.get_running_loop()
    if "twisted.internet.reactor" not in sys.modules:
        from twisted.internet import asyncioreactor  # noqa: PLC0415 - here, and nowhere earlier

        asyncioreactor.install(loop)
        _log_through_us()
    reactor = _reactor()
    if getattr(reactor, "_asyncioEventloop", None) is not loop:
        raise RuntimeError("Twisted's reactor was imported before tubs.start_reactor()")
    if not reactor.running:
        reactor.startRunning(installSignalHandlers=False)


def stop_reactor() -> None:
    """Closes what Twisted still has open; tubs are stopped before. Its own shutdown would stop our loop."""
    reactor = _reactor()
    reactor.disconnectAll()
    if reactor.threadpool is not None:
        reactor.threadpool.stop()


def _reactor() -> Any:
    from twisted.internet import reactor  # noqa: PLC0415 - after it was installed

    return reactor


def _log_through_us() -> None:
    from foolscap.logging import levels  # noqa: PLC0415 - brings the reactor
    from foolscap.logging import log as foolscap_log  # noqa: PLC0415
    from twisted.logger import STDLibLogObserver, globalLogBeginner  # noqa: PLC0415

    observer: Any = STDLibLogObserver("twisted")
    globalLogBeginner.beginLoggingTo([observer], discardBuffer=True, redirectStandardIO=False)
    logging.getLogger("twisted").setLevel(logging.WARNING)
    logging.getLogger("twisted").addFilter(_Few())
    # Foolscap remembers its own messages, 100 of each level and facility, for incidents of its own: we have none.
    foolscap_log.theLogger.DEFAULT_THRESHOLD = levels.UNUSUAL


GUARDED: Final = "lae_monitor.net.tubs.broker:GuardedBroker"


class _Few(logging.Filter):
    """Lets MAX_LOGGED records a minute pass, and tells with the next one how many did not."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = 0.0
        self._count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if not 0 <= record.created - self._begun < MINUTE:
            if self._count > MAX_LOGGED:
                record.msg, record.args = f"({self._count - MAX_LOGGED} more before) {record.getMessage()}", ()
            self._begun, self._count = record.created, 0
        self._count += 1
        return self._count <= MAX_LOGGED


class Tub:
    """A presence on the Foolscap network: a certificate, a port, and the objects that `lookup` finds behind names.

    Args:
        identity: certificate and private key; they decide the TubID.
        listen: `tcp:PORT` or `tcp:PORT:interface=ADDRESS`.
        location: how others reach it, for FURLs.
        lookup: the Referenceable of a swissnum, or None; asked each time, so what it no longer finds is revoked.
        on_unknown: told the address of a peer that asked for a name that `lookup` does not find.
        broker: names the class of its connections, below GuardedBroker; it is imported when the reactor is there.

    Raises:
        Refused: `bad_config`.
    """

    def __init__(
        self,
        identity: Identity,
        listen: str,
        location: str,
        lookup: Callable[[str], Any],
        on_unknown: Callable[[str], None] = lambda _peer: None,
        *,
        broker: str = GUARDED,
    ) -> None:
        from foolscap import pb  # noqa: PLC0415 - after start_reactor()

        from lae_monitor.net.tubs.broker import Held  # noqa: PLC0415

        self._listen = parse_listen(listen)
        self._tub = cast(Any, pb.Tub(certData=identity.pem))
        self._tub.brokerClass = load(broker)
        self._tub.held = Held()
        self._tub.on_unknown = on_unknown
        self._tub.unsafeTracebacks = False  # peers learn nothing of our files
        self._tub.setOption("keepaliveTimeout", KEEPALIVE)
        self._tub.setOption("disconnectTimeout", DISCONNECT)
        self._tub.setOption("accept-gifts", False)  # no peer makes us connect to where it likes
        self._tub.setOption("expose-remote-exception-types", False)
        self._tub.setLocation(*location.split(","))
        self._tub.registerNameLookupHandler(lookup)

    def start(self) -> str:
        """Listens; returns where, as `ADDRESS:PORT`.

        Raises:
            OSError: the port is taken, or not ours to take.
        """
        port = _Port(self._listen.port, self._listen.interface)
        self._tub.listenOn(port.endpoint())
        self._tub.startService()
        return port.address()

    async def stop(self) -> None:
        """Stops listening and closes every connection."""
        await as_future(self._tub.stopService())


class _Port:
    """What a tub's Listener listens on: an endpoint that says why it could not, which Foolscap would not pass on."""

    def __init__(self, number: int, interface: str) -> None:
        self._number = number
        self._interface = interface
        self._port: Any = None

    def endpoint(self) -> Any:
        from twisted.internet.interfaces import IStreamServerEndpoint  # noqa: PLC0415
        from zope.interface import directlyProvides  # noqa: PLC0415

        directlyProvides(self, IStreamServerEndpoint)
        return self

    def listen(self, factory: Any) -> Any:
        from twisted.internet import defer, error  # noqa: PLC0415

        from lae_monitor.net.tubs.broker import TubPort  # noqa: PLC0415

        try:
            self._port = TubPort(self._number, factory, BACKLOG, self._interface, _reactor())
            self._port.startListening()
        except error.CannotListenError as cause:
            code = getattr(cause.socketError, "errno", None) or errno.EADDRNOTAVAIL
            where = f"{self._interface or '*'}:{self._number}"
            raise OSError(code, f"tub cannot listen on {where}: {cause.socketError}") from None
        return defer.succeed(self._port)

    def address(self) -> str:
        host = self._port.getHost()
        return f"[{host.host}]:{host.port}" if ":" in host.host else f"{host.host}:{host.port}"


async def call(remote: Any, method: str, *args: Any, limit: float, **kwargs: Any) -> Any:
    """Calls `method` of a RemoteReference and waits for the answer, at most `limit` seconds.

    Raises:
        Disconnected, RemoteError, AnswerTooLarge, AnswerMalformed, TimeoutError
    """
    async with asyncio.timeout(limit):
        return await as_future(remote.callRemote(method, *args, **kwargs))


def as_future(deferred: Any) -> "asyncio.Future[Any]":
    """Like Deferred.asFuture, which never ends when the failure came from the other side and so holds no exception."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def succeed(result: Any) -> None:
        if not future.done():
            future.set_result(result)

    def fail(failure: Any) -> None:
        if not future.done():
            future.set_exception(_exception(failure))

    deferred.addCallbacks(succeed, fail)
    return future


def _exception(failure: Any) -> Exception:
    from foolscap.ipb import DeadReferenceError  # noqa: PLC0415
    from foolscap.tokens import RemoteException, Violation  # noqa: PLC0415
    from twisted.internet.error import ConnectionDone, ConnectionLost  # noqa: PLC0415

    from lae_monitor.net.tubs.broker import TooLarge  # noqa: PLC0415

    value = failure.value
    if isinstance(value, RemoteException):
        kind = getattr(value.failure.type, "__name__", "Exception")
        return RemoteError(shorten(f"{kind}: {value.failure.value}", MAX_ERROR))
    if isinstance(value, TooLarge):
        return AnswerTooLarge(str(value.args[0]))
    if isinstance(value, Violation):
        return AnswerMalformed(shorten(str(value), MAX_ERROR))
    if isinstance(value, DeadReferenceError | ConnectionDone | ConnectionLost):
        return Disconnected(str(value))
    return value if isinstance(value, Exception) else Disconnected(shorten(str(value), MAX_ERROR))


def disconnect(remote: Any, why: str) -> None:
    """Closes the connection over which `remote` is reached."""
    broker = remote.tracker.broker
    if not broker.disconnected:
        broker.cut(why)


def peer_address(remote: Any) -> str:
    """The address of the peer behind `remote`, "" when it is gone."""
    try:
        return str(remote.getPeer().host)
    except AttributeError:
        return ""
