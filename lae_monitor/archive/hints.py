"""Hints: "this file has something new", from gatherers to the mover, by datagram. They may be lost.

The kernel queues as few as 10 datagrams (net.unix.max_dgram_qlen), less than comes while the mover is busy for a moment;
what does not fit waits here until it does.
"""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from lae_monitor.archive.small_files import short

MAX_WAITING: Final = 10_000  # hints kept while the mover does not read; beyond, its sweep finds what they were about


def listen(path: Path) -> socket.socket:
    """The mover's end, bound at `path`; one that an earlier mover left is replaced."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.setblocking(False)
    with short(path) as name:
        listening.bind(name)
    path.chmod(0o600)
    return listening


class Hints:
    """The gatherers' end. Connects when it can, and again after the mover was restarted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._dead: tuple[int, int] | None = None  # the socket at which nobody listened; a mover makes a new one
        self._waiting: dict[bytes, None] = {}  # in order, each once
        self._loop: asyncio.AbstractEventLoop | None = None  # set while it watches for room

    def send(self, text: str) -> None:
        """Never waits and never fails. Called in the event loop, which sends later what cannot be sent now."""
        data = text.encode()
        for _ in range(2):
            try:
                self._socket = connected = self._socket or self._connect()
                if self._waiting:
                    self._wait(connected, data)
                    return
                connected.send(data)
            except BlockingIOError:  # the kernel's queue is full
                if self._socket is not None:
                    self._wait(self._socket, data)
                return
            except OSError:
                self.close()
            else:
                return

    def _wait(self, connected: socket.socket, data: bytes) -> None:
        if len(self._waiting) < MAX_WAITING:
            self._waiting[data] = None
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_writer(connected, self._send_waiting, connected)

    def _send_waiting(self, connected: socket.socket) -> None:
        """There is room for at least one."""
        try:
            while self._waiting:
                data = next(iter(self._waiting))
                connected.send(data)
                del self._waiting[data]
        except BlockingIOError:
            return
        except OSError:  # the mover was restarted, and sweeps
            self.close()
            return
        self._stop_watching()

    def _stop_watching(self) -> None:
        if self._loop is not None and self._socket is not None:
            self._loop.remove_writer(self._socket)
        self._loop = None

    def _connect(self) -> socket.socket:
        status = self._path.stat()
        identity = status.st_ino, status.st_mtime_ns
        if identity == self._dead:
            raise ConnectionRefusedError
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.setblocking(False)
        try:
            with short(self._path) as name:
                sender.connect(name)
        except BaseException as error:
            if isinstance(error, ConnectionRefusedError):
                self._dead = identity
            sender.close()
            raise
        return sender

    def close(self) -> None:
        self._stop_watching()
        self._waiting.clear()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None
