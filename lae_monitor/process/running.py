"""One of our processes: its lock, its log, its signals, its end."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

import uvloop

from lae_monitor import __version__
from lae_monitor.archive import Archive
from lae_monitor.archive.archive import archive_of
from lae_monitor.archive.small_files import hold
from lae_monitor.config import Settings
from lae_monitor.config.describe import describe
from lae_monitor.net.connections import use_all_descriptors

log = logging.getLogger(__name__)

SOCKET: Final = (
    "serve.sock"  # in the state folder: pages and API for root and our own account, such as the command line
)
LOCK_WAIT: Final = 0.5  # seconds; who only asks whether we run has the lock for a moment
STOP_WITHIN: Final = 8.0  # seconds from the signal; systemd and our supervisor kill after 20


class AlreadyRunning(Exception):
    """Another process of that name works on the same state folder."""


def log_settings(settings: Settings, *, gatherer: str | None = None) -> None:
    log.info("lae-monitor %s, settings from %s", __version__, settings.source or "defaults")
    for line in describe(settings, gatherer=gatherer):
        log.info("setting %s", line)
    for warning in settings.warnings:
        log.warning("%s", warning)


@contextmanager
def only_one(state: Path, process: str) -> Iterator[None]:
    """Holds the lock `state/<process>.lock`.

    Raises:
        AlreadyRunning
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        fd = hold(state / f"{process}.lock", within=LOCK_WAIT)
    except BlockingIOError:
        raise AlreadyRunning(f"{process} is already running on {state}") from None
    try:
        yield
    finally:
        os.close(fd)


def run_until_stopped(main: Callable[[asyncio.Event], Awaitable[int | None]], *, grace: float = STOP_WITHIN) -> int:
    """Runs `main(stop)` on uvloop; TERM, INT and HUP set `stop`. Returns the exit code.

    All file descriptors that the hard limit allows are used. What has not ended `grace` seconds later is cancelled,
    wherever it is: that is no worse than a kill.
    """

    async def guarded() -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def end(number: signal.Signals) -> None:
            if not stop.is_set():
                log.info("%s: stopping", number.name)
                notify("STOPPING=1", "STATUS=stopping")
                stop.set()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, end, number)
        feeding = asyncio.create_task(keep_watchdog_fed())
        stopping = asyncio.create_task(stop.wait())
        working = asyncio.ensure_future(main(stop))
        try:
            await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([working], timeout=grace)
            if not working.done():
                log.warning("still busy %.0f s after the signal: stopping anyway", grace)
                working.cancel()
            return await working or 0
        except asyncio.CancelledError:
            return 0
        finally:
            feeding.cancel()
            stopping.cancel()

    use_all_descriptors()
    return uvloop.run(guarded())


@asynccontextmanager
async def opened_archive(settings: Settings, process: str) -> AsyncIterator[Archive]:
    """The archive as `process` uses it, closed at the end."""
    archive = await archive_of(settings, process).open()
    log.info("archive: %s", archive.describe())
    try:
        yield archive
    finally:
        await archive.close()


# Tells the process that started us how we are: systemd's sd_notify protocol, which our own supervisor speaks too.
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
