"""What one HTTP request may cost; see connections.py for what a connection may cost before its first."""

from dataclasses import dataclass
from typing import Final

from lae_monitor.core.limits import KiB, MiB
from lae_monitor.net.connections import MAX_CONNECTIONS, MAX_NEW_OF_PEER, NEW_TIMEOUT

IDLE_TIMEOUT: Final = 20.0  # seconds between two pieces of a body; longer than a TCP retransmission storm on a bad link
RATE_GRACE: Final = 10.0  # seconds of a body before its rate is looked at: a link may begin badly
BODY_TIMEOUT: Final = 120.0  # seconds for a whole body; twice the 60 s after which Crashpad itself gives up
WRITE_TIMEOUT: Final = 60.0  # seconds in which a client has to take some of a reply that fills our buffer
KEEP_ALIVE: Final = 15.0  # seconds a connection may stay open without a request
DRAIN_TIMEOUT: Final = 30.0  # seconds that requests in progress get when the process stops
MAX_HEAD: Final = 64 * KiB  # bytes of request line and headers; Crashpad's query and cookies stay below 4 KiB

LINGER_TIMEOUT: Final = 10.0  # seconds for which we go on reading a body that was refused, so that its sender reads why
MAX_LINGER: Final = 128 * MiB  # bytes of it that we read
RETRY_AFTER: Final = 30  # seconds; a client that was told 503 comes back after this long
CLOSE_GRACE: Final = 5.0  # seconds in which a client that was cut off has to take the last bytes


@dataclass(frozen=True, kw_only=True)
class HttpLimits:
    """The deadlines, in seconds, and sizes of one listener.

    Args:
        head: for a whole request head, from the first byte; for the first one from the connection's beginning.
        idle: between two pieces of a body.
        body: for a whole body. Neither clock of a body runs while we ourselves are not reading.
        min_rate: bytes a second that a body keeps up on average, once it has taken `rate_grace` seconds; 0 asks for none.
        write: for a client to take something of a reply that fills our buffer.
        keep_alive: for a connection without a request.
        drain: for requests in progress when the process stops.
        max_head: bytes of a request head.
        connections: open at once; the next ones are answered with 503 `busy`.
        new_of_peer: of one address, open at once, whose first head is not whole; the next ones likewise.
    """

    head: float = NEW_TIMEOUT
    idle: float = IDLE_TIMEOUT
    body: float = BODY_TIMEOUT
    write: float = WRITE_TIMEOUT
    keep_alive: float = KEEP_ALIVE
    drain: float = DRAIN_TIMEOUT
    min_rate: int = 0
    rate_grace: float = RATE_GRACE
    max_head: int = MAX_HEAD
    connections: int = MAX_CONNECTIONS
    new_of_peer: int = MAX_NEW_OF_PEER
