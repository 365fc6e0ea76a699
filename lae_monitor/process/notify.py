"""Tells whoever started us how we are: systemd's sd_notify protocol, which our own supervisor speaks too."""

import asyncio
import os
import socket
from contextlib import suppress
from typing import Final

VARIABLE: Final = "NOTIFY_SOCKET"


def notify(*lines: str) -> None:
    """Sends `READY=1`, `STATUS=...` and the like; nothing happens when nobody listens."""
    address = os.environ.get(VARIABLE)
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(address)
        sender.sendall("\n".join(lines).encode())


async def keep_watchdog_fed() -> None:
    """Says that the event loop still turns, twice as often as systemd asks for."""
    microseconds = os.environ.get("WATCHDOG_USEC")
    if not microseconds or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(int(microseconds) / 2e6)
