"""Sends measurements to a statsd server over UDP, with the tags of dogstatsd. What cannot be sent is lost, never waited for.

Format: `NAME:VALUE|TYPE|#TAG:VALUE,...`, a datagram each.
"""

import re
import socket
from typing import Final

MAX_TAG: Final = 100  # characters of a tag's value
_BAD: Final = re.compile(r"[^A-Za-z0-9_./-]")


class Statsd:
    """
    Args:
        address: `host:port` of the server; empty sends nothing. Resolved once.
        prefix: what every name begins with.
        tags: `name:value`, on every measurement.

    Raises:
        OSError: the host is not known.
        ValueError: `address` is none.
    """

    def __init__(self, address: str, prefix: str = "", tags: tuple[str, ...] = ()) -> None:
        self._prefix = prefix
        self._tags = tags
        self._socket: socket.socket | None = None
        if address:
            host, port = parse_address(address)
            family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.setblocking(False)
            self._socket.connect(place)

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
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, name: str, value: str, tags: tuple[str, ...]) -> None:
        if self._socket is None:
            return
        all_tags = ",".join((*self._tags, *tags))
        line = f"{self._prefix}{name}:{value}" + (f"|#{all_tags}" if all_tags else "")
        try:
            self._socket.send(line.encode())
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
