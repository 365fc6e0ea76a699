"""What a connection may cost before it has said what it wants, on every listener of ours: HTTP and Foolscap alike; and what
an HTTP request may cost.

A connection is new until its first request head is whole (HTTP), or it has named a FURL of ours (Foolscap): the TCP
handshake, TLS and negotiation are part of that. New connections have a deadline and a limit per address. Once a connection
is no longer new, only the limit of its listener counts. Some descriptors are never given to connections: the archive and
the credentials need them.
"""

import asyncio
import ipaddress
import logging
import os
import resource
import time
from collections import Counter as TallyOf
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from prometheus_client import Counter

from lae_monitor.core.limits import KiB, MiB

log = logging.getLogger(__name__)

NEW_TIMEOUT: Final = 10.0  # seconds to be no longer new; an honest client on a bad link needs 3
MAX_CONNECTIONS: Final = 4_000  # of a listener, open at once; a fleet of 2,000 nodes, and room for as many again
MAX_NEW_OF_PEER: Final = 500  # new ones of an address; a site of 2,000 nodes behind one address is through in 30 s
SHARE_OF_PEER: Final = 4  # an address may have at most one part in so many of what the listener takes
RESERVED: Final = 256  # descriptors that no connection gets: archive, journal, credentials, ledgers need some 50
MAX_DESCRIPTORS: Final = 65_536  # to which the soft limit is raised, where the hard limit allows it; more is never used
BACKLOG: Final = 512  # connections that the kernel holds while we are busy: a fleet reconnects all at once
SPARE: Final = 50  # refused HTTP connections that are told why at a time; further ones are just closed
PEER_PREFIX: Final = 64  # bits of an IPv6 address that make a peer: a host may have all addresses of its /64
TICKS: Final = 20  # looks at the clock within the deadline
LOG_EVERY: Final = 60.0  # seconds between two log lines about refused connections of a listener

# What one HTTP request may cost.
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


Network = ipaddress.IPv4Network | ipaddress.IPv6Network

REFUSED = Counter(
    "lae_connections_refused_total",
    "Connections that were closed before they had said what they want, by listener and limit",
    ["listener", "limit"],
)

_WHY: Final = {
    "peer": "{peer} already has {peers} connections that have not said what they want; the limit is {of_peer}",
    "listener": "the listener's limit of {most} connections is reached",
    "descriptors": "the last {reserved} of {descriptors} file descriptors are kept for the archive; raise LimitNOFILE",
    "deadline": "{peer} did not say what it wants within {timeout:.0f} s",
}


def use_all_descriptors() -> None:
    """Raises the soft limit on file descriptors to the hard one, at most to MAX_DESCRIPTORS."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def descriptors() -> int:
    """How many file descriptors this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


@lru_cache(4096)
def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(address.split("%", 1)[0])
    except ValueError:
        return None
    return (isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped) or found


def peer_of(address: str) -> str:
    """Who counts as one peer: an IPv4 address, or the /64 of an IPv6 address; "" for a Unix socket."""
    found = _parsed(address)
    if isinstance(found, ipaddress.IPv6Address) and not found.is_loopback:
        return str(ipaddress.ip_network((found, PEER_PREFIX), strict=False))
    return str(found or address)


class Connection:
    """One connection of a listener. It is new until `welcome()`; `end()` is called once it is closed."""

    __slots__ = ("_cut", "_listener", "peer", "since")

    def __init__(self, listener: "Connections", peer: str, since: float, cut: Callable[[], None]) -> None:
        self._listener = listener
        self._cut = cut
        self.peer = peer
        self.since = since  # on the listener's own clock

    def welcome(self) -> None:
        """It has said what it wants: neither the deadline nor the limit of its address counts any more."""
        self._listener._no_longer_new(self)  # noqa: SLF001

    def end(self) -> None:
        self._listener._end(self)  # noqa: SLF001

    def cut(self) -> None:
        self._cut()


class Connections:
    """The connections of one listener.

    The deadline runs on a clock of its own, which stands still while this process is too busy to look at it: when a fleet
    reconnects, connections wait for us, and cutting them off would only make them come again.

    Args:
        listener: its name in logs and metrics.
        timeout: seconds to be no longer new.
        most: connections at once, where descriptors allow as many.
        new_of_peer: new ones of one address.
        exempt: addresses without the limit per address, such as trusted proxies.
    """

    def __init__(
        self,
        listener: str,
        *,
        timeout: float | None = None,
        most: int | None = None,
        new_of_peer: int | None = None,
        exempt: Iterable[Network] = (),
    ) -> None:
        self.name = listener
        self.timeout = NEW_TIMEOUT if timeout is None else timeout
        self.descriptors = descriptors()
        room = max(self.descriptors - RESERVED, self.descriptors // 2)
        self.most = min(MAX_CONNECTIONS if most is None else most, room)
        self.new_of_peer = min(
            MAX_NEW_OF_PEER if new_of_peer is None else new_of_peer, max(self.most // SHARE_OF_PEER, 1)
        )
        self.telling = 0  # refused connections that are being told so
        self.resting: dict[Callable[[], None], None] = {}  # closes a connection between two requests; the oldest first
        self._exempt = tuple(exempt)
        self._open: set[Connection] = set()
        self._new: dict[Connection, None] = {}  # in the order in which they came
        self._peers: TallyOf[str] = TallyOf()  # new ones, by peer
        self._clock = 0.0
        self._looked = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._logged = -LOG_EVERY
        self._unlogged = 0

    def admits(self, address: str) -> bool:
        """Whether a connection from `address` may come in; if not, that is counted and logged."""
        limit = self._limit(address)
        if limit:
            self._refused(limit, peer_of(address))
        return not limit

    def _limit(self, address: str) -> str:
        """Which limit stands against a connection from `address`; "" for none."""
        if self._peers[peer_of(address)] >= self.new_of_peer and not self._is_exempt(address):
            return "peer"
        if len(self._open) >= self.most and not self._close_resting():
            return "listener"
        return "descriptors" if _are_descriptors_short(self.descriptors) else ""

    def _is_exempt(self, address: str) -> bool:
        found = _parsed(address)
        return found is not None and any(found in network for network in self._exempt)

    def _close_resting(self) -> bool:
        """Makes room: closes the connection that has been without a request for longest."""
        close = next(iter(self.resting), None)
        if close is None:
            return False
        del self.resting[close]
        close()
        return True

    def begin(self, address: str, cut: Callable[[], None]) -> Connection:
        """Counts a connection that was admitted; `cut` is called when it is still new at its deadline."""
        connection = Connection(self, peer_of(address), self._clock, cut)
        self._open.add(connection)
        self._new[connection] = None
        self._peers[connection.peer] += 1
        if self._timer is None:
            self._looked = asyncio.get_running_loop().time()
            self._tick_later()
        return connection

    def _no_longer_new(self, connection: Connection) -> None:
        if connection in self._new:
            del self._new[connection]
            self._peers[connection.peer] -= 1
            if not self._peers[connection.peer]:
                del self._peers[connection.peer]

    def _end(self, connection: Connection) -> None:
        self._no_longer_new(connection)
        self._open.discard(connection)

    def _tick_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.timeout / TICKS, self._tick)

    def _tick(self) -> None:
        now = asyncio.get_running_loop().time()
        self._clock += min(now - self._looked, 2 * self.timeout / TICKS)
        self._looked = now
        for connection in list(self._new):
            if connection.since + self.timeout > self._clock:
                break
            self._no_longer_new(connection)
            self._refused("deadline", connection.peer)
            connection.cut()
        self._timer = None
        if self._new:
            self._tick_later()

    def _refused(self, limit: str, peer: str) -> None:
        REFUSED.labels(self.name, limit).inc()
        now = time.monotonic()
        if now - self._logged < LOG_EVERY:
            self._unlogged += 1
            return
        why = _WHY[limit].format(
            peer=peer or "a local program",
            peers=self._peers[peer],
            of_peer=self.new_of_peer,
            most=self.most,
            reserved=RESERVED,
            descriptors=self.descriptors,
            timeout=self.timeout,
        )
        more = f" ({self._unlogged} more since the last such line)" if self._unlogged else ""
        log.warning("%s: connection from %s closed: %s%s", self.name, peer or "a local program", why, more)
        self._logged, self._unlogged = now, 0


def _are_descriptors_short(limit: int) -> bool:
    """Whether only the reserved ones are free: the kernel gives the lowest free number."""
    try:
        lowest = os.open("/", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return True
    os.close(lowest)
    return lowest >= max(limit - RESERVED, limit // 2)
