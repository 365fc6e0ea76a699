"""Sends measurements to a statsd server over UDP, with the tags of dogstatsd. What cannot be sent is lost, never waited for.

Format: `NAME:VALUE|TYPE|#TAG:VALUE,...`, a datagram each.
"""

import logging
import re
import socket
import threading
from typing import Final

log = logging.getLogger(__name__)

ASK_AGAIN: Final = 30.0  # seconds until a name that is not known is asked for again
MAX_TAG: Final = 100  # characters of a tag's value
_BAD: Final = re.compile(r"[^A-Za-z0-9_./-]")


class Statsd:
    """
    Args:
        address: `host:port` of the server; empty sends nothing. A name is asked for until it is known.
        prefix: what every name begins with.
        tags: `name:value`, on every measurement.

    Raises:
        ValueError: `address` is none.
    """

    def __init__(self, address: str, prefix: str = "", tags: tuple[str, ...] = ()) -> None:
        self._prefix = prefix
        self._tags = tags
        self._address = address
        self._socket: socket.socket | None = None
        self._closed = threading.Event()
        if not address:
            return
        try:
            self._connect(socket.AI_NUMERICHOST)
        except OSError:  # a name, and asking for it may take long
            threading.Thread(target=self._keep_asking, name="statsd", daemon=True).start()

    def _keep_asking(self) -> None:
        told = False
        while not self._closed.is_set():
            try:
                self._connect(0)
            except OSError as error:
                if not told:
                    log.warning("statsd at %s: %s; it is asked for again", self._address, error.strerror or error)
                told = True
                self._closed.wait(ASK_AGAIN)
            else:
                return

    def _connect(self, flags: int) -> None:
        host, port = parse_address(self._address)
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=flags)[0]
        connected = socket.socket(family, kind, protocol)
        connected.setblocking(False)
        try:
            connected.connect(place)
        except BaseException:
            connected.close()
            raise
        self._socket = connected
        if self._closed.is_set():
            self.close()

    @property
    def sends(self) -> bool:
        return self._socket is not None

    def count(self, name: str, *tags: str, by: int = 1) -> None:
        self._send(name, f"{by}|c", tags)

    def time(self, name: str, seconds: float, *tags: str) -> None:
        self._send(name, f"{seconds * 1000:.3f}|ms", tags)

    def spread(self, name: str, value: float, *tags: str) -> None:
        """A value of a histogram."""
        self._send(name, f"{value:g}|h", tags)

    def close(self) -> None:
        self._closed.set()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, name: str, value: str, tags: tuple[str, ...]) -> None:
        sender = self._socket
        if sender is None:
            return
        all_tags = ",".join((*self._tags, *tags))
        line = f"{self._prefix}{name}:{value}" + (f"|#{all_tags}" if all_tags else "")
        try:
            sender.send(line.encode())
        except OSError:  # nobody listens now, or its buffer is full
            return


def tag(name: str, value: str) -> str:
    """`name:value` with nothing in the value that would end it."""
    return f"{name}:{_BAD.sub('_', value)[:MAX_TAG]}"


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8125` or `[::1]:8125`.

    Raises:
        ValueError
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is not of the form host:port")
    return host.strip("[]"), int(port)
