"""Which account of this machine is at the other end of a connection. The kernel says it; nothing that was sent counts.

Over a Unix socket it is SO_PEERCRED. Over loopback it is the row of the client's socket in /proc/self/net/tcp or tcp6: its
local address is the one we see as the client's, its remote address is ours. The answer is None, and a token is needed, when

- there is no such row: the client is in another network namespace, or /proc is closed to us
- the client's socket is closed or half closed: its row then says user 0, whatever account it was
- the kernel says 65534: the account does not exist in our user namespace, so it may be anybody

Source of the format: Linux, Documentation/networking/proc_net_tcp.rst.
"""

import asyncio
import os
import pwd
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

PEER_STATE: Final = "lae_peer"  # in the ASGI scope's state: the Peer of the connection
ROOT: Final = 0
OVERFLOW: Final = 65534  # what the kernel calls accounts that our user namespace does not know
TRIES: Final = 3  # a table changes while it is read, and then a row may be left out

_TABLES: Final = Path("/proc/self/net")  # not /proc/net: units with ProcSubset=pid have only this one
_ESTABLISHED: Final = 1
_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: process, user, group


class Peer:
    """The other end of one connection. The kernel is asked once, when somebody first wants to know."""

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._asked: asyncio.Future[int | None] | None = None
        connection = transport.get_extra_info("socket")
        self.is_unix = connection is not None and connection.family == socket.AF_UNIX

    async def account(self) -> int | None:
        """The user id; None when the kernel does not say."""
        if self._asked is None:
            self._asked = asyncio.ensure_future(self._ask())
        return await asyncio.shield(self._asked)

    async def _ask(self) -> int | None:
        if self._transport.is_closing():  # its descriptor may be another connection's already
            return None
        try:
            ours: socket.socket = self._transport.get_extra_info("socket").dup()
        except OSError:
            return None
        with ours:  # a long table takes milliseconds
            return account_of(ours) if self.is_unix else await asyncio.to_thread(account_of, ours)


def account_of(connection: socket.socket) -> int | None:
    """The user id of the process that made the other end of `connection`; None when the kernel does not say."""
    try:
        found = _of_unix(connection) if connection.family == socket.AF_UNIX else _of_tcp(connection)
    except (OSError, ValueError):  # the connection is gone, or there is no such table
        return None
    return None if found == OVERFLOW else found


def name_of(account: int) -> str:
    """How people call an account."""
    with suppress(KeyError):
        return pwd.getpwuid(account).pw_name
    return f"user {account}"


def is_ours(account: int | None) -> bool:
    """Whether it is root, or the account of this process."""
    return account is not None and account in {ROOT, os.geteuid()}


def _of_unix(connection: socket.socket) -> int:
    _, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(user)


def _of_tcp(connection: socket.socket) -> int | None:
    client, server = connection.getpeername()[:2], connection.getsockname()[:2]
    for _ in range(TRIES):
        for table, row in _rows(client, server):
            found = _user(_tables.read(table), row)
            # As long as our end is established, no other connection can have these two addresses: the row is its other end.
            if found is not None:
                return found if _is_established(connection) else None
        if not _is_established(connection):
            return None
    return None


def _rows(client: tuple[str, int], server: tuple[str, int]) -> list[tuple[str, bytes]]:
    """The tables in which the client's socket may be, each with how its row begins there."""
    here, there = ip_address(client[0]), ip_address(server[0])
    if isinstance(here, IPv6Address) and here.ipv4_mapped and isinstance(there, IPv6Address) and there.ipv4_mapped:
        here, there = here.ipv4_mapped, there.ipv4_mapped
    found = []
    if isinstance(here, IPv4Address):
        found.append(("tcp", _row(here.packed, client[1], there.packed, server[1])))
        mapped = bytes(10) + b"\xff\xff"
        here, there = IPv6Address(mapped + here.packed), IPv6Address(mapped + there.packed)
    return [*found, ("tcp6", _row(here.packed, client[1], there.packed, server[1]))]


def _row(here: bytes, port: int, there: bytes, other: int) -> bytes:
    return f": {_hex(here)}:{port:04X} {_hex(there)}:{other:04X} {_ESTABLISHED:02X} ".encode()


def _hex(packed: bytes) -> str:
    """An address as the tables have it: words of 32 bits, in the byte order of the machine."""
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


def _user(table: bytes, row: bytes) -> int | None:
    """The user in the row that begins with `row`, if it belongs to a socket that a process holds."""
    at = table.find(row)
    if at < 0:
        return None
    fields = table[at + len(row) : at + len(row) + 200].split(b"\n", 1)[0].split()
    user, inode = int(fields[3]), int(fields[5])
    return user if inode else None


def _is_established(connection: socket.socket) -> bool:
    state: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    return state[0] == _ESTABLISHED


class _Tables:
    """Reads a table once for all who wait for it: what was read after somebody asked is good enough for him."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: dict[str, tuple[float, bytes]] = {}

    def read(self, name: str) -> bytes:
        asked = time.monotonic()
        with self._lock:
            began, data = self._read.get(name, (-1.0, b""))
            if began <= asked:
                began = time.monotonic()
                data = (_TABLES / name).read_bytes()
                self._read[name] = began, data
            return data


_tables: Final = _Tables()
