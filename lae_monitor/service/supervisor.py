"""`lae-monitor run`: all processes under one parent, for laptops, the demo, tests and small hosts.

Each is restarted when it ends, later and later while it keeps ending; their logs come out as one stream; TERM or INT stops
them all, gatherers first, so that nothing is accepted that nobody will move.
"""

import asyncio
import ctypes
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from lae_monitor.config import Settings
from lae_monitor.process.logs import set_up_log
from lae_monitor.process.running import VARIABLE, log_settings, only_one, run_until_stopped

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.5  # seconds before the first restart
LONGEST_PAUSE: Final = 30.0
STABLE_AFTER: Final = 60.0  # seconds of life after which the next end counts as the first
GRACE: Final = 20.0  # seconds between TERM and KILL
SLOW_START: Final = 60.0  # seconds after which it is said who is not ready
MAX_LINE: Final = 1 << 20
_SET_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG
_libc = ctypes.CDLL(None)


def _end_with_parent(parent: int) -> Callable[[], None]:
    """For a child, before it becomes what it is to be: it is sent TERM when `parent` dies, even by kill -9."""

    def ask() -> None:
        _libc.prctl(_SET_DEATH_SIGNAL, int(signal.SIGTERM))
        if os.getppid() != parent:  # it has died already
            os._exit(os.EX_TEMPFAIL)

    return ask


class Child:
    """One process that has to be there."""

    def __init__(self, name: str, arguments: list[str], notify_socket: str) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self.status = ""
        self.restarts = 0
        self.gone_for_good = False
        self._arguments = arguments
        self._environment = os.environ | {VARIABLE: notify_socket, "PYTHONUNBUFFERED": "1"}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    async def keep_alive(self, stop: asyncio.Event) -> None:
        """Starts it, and starts it again when it ends, until `stop` is set; exit codes that mean "never" end it."""
        pause = FIRST_PAUSE
        while not stop.is_set():
            began = time.monotonic()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "lae_monitor", *self._arguments,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
                env=self._environment, limit=MAX_LINE, start_new_session=True,
                preexec_fn=_end_with_parent(os.getpid()),
            )  # fmt: skip
            if stop.is_set():  # while it was being started
                self._process.send_signal(signal.SIGTERM)
            await self._pass_on_log(self._process)
            code = await self._process.wait()
            self.ready.clear()
            if stop.is_set():
                return
            if code in {os.EX_USAGE, os.EX_CONFIG, 2}:
                log.error("%s ended with code %d, which another start would not change: see above", self.name, code)
                self.gone_for_good = True
                return
            if time.monotonic() - began > STABLE_AFTER:
                pause = FIRST_PAUSE
            log.error("%s ended with code %d; starting it again in %.1f s", self.name, code, pause)
            self.restarts += 1
            try:
                await asyncio.wait_for(stop.wait(), pause)
            except TimeoutError:
                pause = min(LONGEST_PAUSE, pause * 2)

    async def _pass_on_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than any line should be: it is dropped, the next ones are not
                continue
            if not line:
                return
            with suppress(OSError):  # the reader of our log is gone; that is no reason to end
                sys.stderr.buffer.write(line)
                sys.stderr.buffer.flush()

    async def end(self) -> None:
        """TERM, and KILL when that is not heard."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), GRACE)
        except TimeoutError:
            log.warning("%s did not stop within %.0f s: killed", self.name, GRACE)
            process.kill()
            await process.wait()


class Supervisor:
    """Runs `commands` (name -> arguments of lae-monitor), gatherers stopping before `serve`.

    Args:
        on_ready: called once all are ready, with what each said of itself.
    """

    def __init__(self, commands: dict[str, list[str]], on_ready: Callable[[dict[str, str]], None]) -> None:
        self._address = f"@lae-monitor-{os.getpid()}"  # abstract: no file, and no limit of a deep folder's length
        self.children = {name: Child(name, arguments, self._address) for name, arguments in commands.items()}
        self._on_ready = on_ready

    async def run(self, stop: asyncio.Event) -> int:
        """Until `stop` is set, or until a child can never start; returns the exit code."""
        listening = self._listen()
        tasks = [asyncio.create_task(child.keep_alive(stop)) for child in self.children.values()]
        announcing = asyncio.create_task(self._announce())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
            hopeless = [child.name for child in self.children.values() if child.gone_for_good]
            stop.set()
            await asyncio.gather(*(child.end() for name, child in self.children.items() if name != "serve"))
            await asyncio.gather(*(child.end() for name, child in self.children.items() if name == "serve"))
            await asyncio.gather(*tasks)
            return os.EX_CONFIG if hopeless else 0
        finally:
            announcing.cancel()
            stopping.cancel()
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()

    async def _announce(self) -> None:
        waiting = {asyncio.create_task(child.ready.wait(), name=name) for name, child in self.children.items()}
        while waiting:
            _, waiting = await asyncio.wait(waiting, timeout=SLOW_START)
            for task in waiting:
                log.warning("%s is not ready yet", task.get_name())
        self._on_ready({name: child.status for name, child in self.children.items()})

    def _listen(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        listening.bind("\0" + self._address[1:])
        asyncio.get_running_loop().add_reader(listening, self._hear, listening)
        return listening

    def _hear(self, listening: socket.socket) -> None:
        """A child says how it is; the kernel says which child."""
        while True:
            try:
                data, credentials, _, _ = listening.recvmsg(4096, 256)
            except BlockingIOError:
                return
            pid = int.from_bytes(credentials[0][2][:4], sys.byteorder) if credentials else 0
            child = next((child for child in self.children.values() if child.pid == pid), None)
            if child is None:
                continue
            for line in data.decode("utf-8", "replace").splitlines():
                name, _, value = line.partition("=")
                if name == "STATUS":
                    child.status = value
                elif name == "READY":
                    child.ready.set()


# `lae-monitor run`: everything on one host, under the supervisor.
def run_all(
    settings: Settings,
    names: tuple[str, ...],
    config: Path | None,
    on_ready: Callable[[dict[str, str]], None],
    companions: dict[str, list[str]] | None = None,
) -> int:
    """Runs `serve` and the gatherers among `names`, until stopped.

    Args:
        settings: as read from `config`.
        names: kinds, and `serve`.
        config: the file that the children read too; None for the default one.
        on_ready: called once all are ready, with what each said of itself.
        companions: further commands to keep running, by name.

    Raises:
        AlreadyRunning
    """
    set_up_log("run", settings.log.format)
    log_settings(settings)
    options = ["--config", str(config)] if config is not None else []
    commands = {name: [*options, *(["serve"] if name == "serve" else ["gather", name])] for name in names}
    commands |= {name: [*options, *arguments] for name, arguments in (companions or {}).items()}

    async def main(stop: asyncio.Event) -> int:
        return await Supervisor(commands, on_ready).run(stop)

    with only_one(settings.state.path, "run"):
        return run_until_stopped(main, grace=3 * GRACE)
