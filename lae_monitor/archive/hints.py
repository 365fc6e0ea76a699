"""Hints: "this file has something new", from gatherers to the mover, by datagram. They may be lost.

A socket's path may have 107 bytes only, and state folders can be deep, so both ends go through the folder's descriptor.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def _short(path: Path) -> Iterator[str]:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: Path) -> socket.socket:
    """The mover's end, bound at `path`; one that an earlier mover left is replaced."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.setblocking(False)
    with _short(path) as short:
        listening.bind(short)
    path.chmod(0o600)
    return listening


class Hints:
    """The gatherers' end. Connects when it can, and again after the mover was restarted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def send(self, text: str) -> None:
        """Never waits and never fails."""
        data = text.encode()
        for _ in range(2):
            try:
                if self._socket is None:
                    self._socket = self._connect()
                self._socket.send(data)
            except BlockingIOError:  # the mover has a queue full of hints already
                return
            except OSError:
                self.close()
            else:
                return

    def _connect(self) -> socket.socket:
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.setblocking(False)
        try:
            with _short(self._path) as short:
                sender.connect(short)
        except BaseException:
            sender.close()
            raise
        return sender

    def close(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None
