"""Serves an ASGI application: deadlines, sockets from systemd, and an end that finishes what has begun."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import uvicorn

from lae_monitor.archive.small_files import short
from lae_monitor.net.connections import BACKLOG, HttpLimits
from lae_monitor.net.http_deadlines import Explain, with_limits
from lae_monitor.net.http_request import parse_networks

FIRST_ACTIVATED: Final = 3  # the first descriptor that systemd passes
LAST_WORDS: Final = 1.0  # seconds for requests that were given up to say so to their clients

App = Callable[[Any, Any, Any], Awaitable[None]]


async def serve(
    app: App,
    host: str,
    port: int,
    *,
    stop: asyncio.Event,
    ready: Callable[[str], None],
    limits: HttpLimits | None = None,
    sockets: Sequence[socket.socket] | None = None,
    explain: Explain | None = None,
    trusted_proxies: Iterable[str] = (),
    socket_path: Path | None = None,
) -> None:
    """Serves `app` until `stop` is set, then finishes the requests in progress, and returns.

    Args:
        app: an ASGI 3 application; it gets no lifespan events.
        host: the address to listen on; sockets that systemd passed to this process come first.
        port: 0 takes a free one.
        stop: ends it. No signal is captured here.
        ready: called once, when it listens, with its URL.
        limits: deadlines and sizes.
        sockets: listening sockets to use instead; they are closed at the end.
        explain: body and Content-Type for a connection that is cut off, by the reason's code; by default the code.
        trusted_proxies: addresses or networks that have no limit of their own.
        socket_path: where to make a Unix socket of mode 0600 that is served, too; it is removed at the end.

    Raises:
        OSError: the address cannot be listened on.
    """
    limits = limits or HttpLimits()
    listening = list(sockets) if sockets else activated_sockets() or listen_on(host, port)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what clients do wrong is counted, not logged
    config = uvicorn.Config(
        app,
        http=with_limits(limits, explain, parse_networks(trusted_proxies)),
        ws="none",
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=limits.keep_alive,  # type: ignore[arg-type]  # it goes to call_later
        timeout_graceful_shutdown=limits.drain,  # type: ignore[arg-type]  # it goes to wait_for
    )
    local = listen_at(socket_path) if socket_path is not None else None
    server = _Server(config, stop, lambda: ready(url_of(listening[0])), local)
    try:
        await server.serve(sockets=listening)
    finally:
        server.abort()
        for listener in listening:
            listener.close()
        if local is not None and socket_path is not None:
            local.close()
            remove(socket_path)


class _Server(uvicorn.Server):
    """Ends when `stop` is set, and leaves signals to the process (process/running.py)."""

    def __init__(
        self, config: uvicorn.Config, stop: asyncio.Event, on_start: Callable[[], None], local: socket.socket | None
    ) -> None:
        super().__init__(config)
        self._local = local
        self._stop = stop
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._local is not None:
            self.servers.append(
                await asyncio.get_running_loop().create_unix_server(self._protocol, sock=self._local, backlog=BACKLOG)
            )
        self._on_start()

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg] # a class of HTTP's
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    async def main_loop(self) -> None:
        while not self._stop.is_set():
            await self.on_tick(0)  # the Date header
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if cancelled := set(self.server_state.tasks):
            await asyncio.wait(cancelled, timeout=LAST_WORDS)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    def abort(self) -> None:
        """Lets go of whatever is still open."""
        for server in getattr(self, "servers", ()):
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def listen_on(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for every address of `host`.

    Raises:
        OSError: an address cannot be listened on.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listener = socket.socket(family, kind, protocol)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setblocking(False)
            listener.bind(address)
            if port == 0:  # the other addresses take the same one
                return sockets
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    return sockets


def listen_at(path: Path) -> socket.socket:
    """A Unix socket at `path` for our own account; one that an earlier process left is replaced.

    Raises:
        OSError: it cannot be made there.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        remove(path)
        with short(path) as name:
            listener.bind(name)
        path.chmod(0o600)  # nobody can connect before listen()
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen at {path}: {error.strerror}") from error
    return listener


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def activated_sockets() -> list[socket.socket]:
    """The sockets that systemd passed to this process, once; see sd_listen_fds(3)."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    sockets = [socket.socket(fileno=FIRST_ACTIVATED + number) for number in range(count)]
    for activated in sockets:
        activated.set_inheritable(False)
        activated.setblocking(False)
    return sockets


def url_of(listener: socket.socket) -> str:
    """`http://127.0.0.1:8000`; an address that means all becomes the loopback address."""
    address = listener.getsockname()
    if not isinstance(address, tuple):
        return f"unix:{address}"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address[0], str(address[0]))  # noqa: S104
    return f"http://[{host}]:{address[1]}" if ":" in host else f"http://{host}:{address[1]}"
