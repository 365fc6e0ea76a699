"""The crash collector as a WSGI application, for people who run gunicorn or the like:

    LAE_MONITOR_CONFIG=/etc/lae-monitor/lae-monitor.toml gunicorn lae_monitor.gatherers.crashes.wsgi:application

The same core as `lae-monitor gather crashes`, with the same promise. What the server in front decides is the server's:
deadlines, connections, HTTP versions. See docs/crashes.md#wsgi for what that means.
"""

import asyncio
import atexit
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import closing, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from lae_monitor.archive import Journal
from lae_monitor.archive.archive import archive_of
from lae_monitor.archive.small_files import hold, make_folder
from lae_monitor.config import load
from lae_monitor.config.load import PATH_VARIABLE
from lae_monitor.core.kind import Kinds
from lae_monitor.core.limits import KiB
from lae_monitor.kinds.context import Context
from lae_monitor.kinds.crashes.gather import application as addresses
from lae_monitor.kinds.crashes.gather import make_collector
from lae_monitor.net.http_router import RETRY_AFTER

READ: Final = 64 * KiB  # bytes of a body that are asked for at a time
SLOTS: Final = 256  # workers of one state folder at the same time
START_WITHIN: Final = 60.0  # seconds for opening the archive
AGAIN_AFTER: Final = 5.0  # seconds until opening is tried again after it failed
STOP_WITHIN: Final = 8.0  # seconds for what is left to write at the end

log = logging.getLogger(__name__)

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


def answer(kinds: Kinds, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answers one request. What it needs is opened at the first request of each process, after any fork.

    Args:
        kinds: those that the configuration may have.
    """
    try:
        status, headers, body = _Worker.of_this_process(kinds).answer(environ)
    except NotReady:
        body = b"Discarded=archive_failed"
        status, headers = 503, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
        headers.append(("Retry-After", str(RETRY_AFTER)))
    start_response(f"{status} {HTTPStatus(status).phrase}", headers)
    return [body]


class NotReady(Exception):
    """The archive or the settings do not allow to begin; the log says why."""


class _Worker:
    """The collector in this process: an event loop in a thread of its own, which requests hand their work to."""

    _current: "_Worker | None" = None
    _lock = threading.Lock()
    _not_before = 0.0  # by time.monotonic(): when it is tried again after it failed

    @classmethod
    def of_this_process(cls, kinds: Kinds) -> "_Worker":
        """
        Raises:
            NotReady: it could not be opened, now or a moment ago.
        """
        with cls._lock:
            if cls._current is not None and cls._current.pid == os.getpid():
                return cls._current
            if time.monotonic() < cls._not_before:
                raise NotReady
            try:
                cls._current = cls(kinds)
            except Exception as error:
                cls._not_before = time.monotonic() + AGAIN_AFTER
                log.exception("the crash collector cannot begin; again in %.0f s", AGAIN_AFTER)
                raise NotReady from error
            return cls._current

    def __init__(self, kinds: Kinds) -> None:
        self.pid = os.getpid()
        path = os.environ.get(PATH_VARIABLE)
        self._settings = load(Path(path) if path else None, kinds)
        self._process, self._slot = _take_slot(self._settings.state.path)
        self._loop = asyncio.new_event_loop()
        self._app: Any = None
        self._stop = asyncio.Event()
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="crash collector", daemon=True)
        self._thread.start()
        try:
            self._ready.result(START_WITHIN)
        except BaseException:
            os.close(self._slot)
            raise
        atexit.register(self._end)

    # ---- the loop --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            if self._ready.done():
                log.exception("the crash collector ended")
            else:
                self._ready.set_exception(error)
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        archive = await archive_of(self._settings, self._process).open()
        try:
            context = Context(settings=self._settings, archive=archive, journal=Journal(archive))
            collector = make_collector(context)
            self._app = addresses(collector, context, self._settings.gatherers["crashes"])
            with closing(collector.measures):
                async with collector.receipts:
                    self._ready.set_result(None)
                    await self._stop.wait()
        finally:
            await archive.close()

    def _end(self) -> None:
        if self.pid == os.getpid() and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(STOP_WITHIN)

    # ---- one request -----------------------------------------------------------------------------------------------

    def answer(self, environ: Environ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body. The body of the request is read here, in the server's own thread, as it is needed."""
        body = _Body(environ)
        wanted: queue.SimpleQueue[asyncio.Future[bytes] | None] = queue.SimpleQueue()
        reply: dict[str, Any] = {"status": 500, "headers": [], "body": b""}

        async def receive() -> dict[str, Any]:
            if body.over:
                return {"type": "http.request", "body": b"", "more_body": False}
            piece: asyncio.Future[bytes] = self._loop.create_future()
            wanted.put(piece)
            try:
                data = await piece
            except OSError:
                return {"type": "http.disconnect"}
            if body.broken:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": data, "more_body": not body.over}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                reply["status"] = message["status"]
                reply["headers"] = [
                    (name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]
                ]
            else:
                reply["body"] += message.get("body", b"")

        done = asyncio.run_coroutine_threadsafe(self._app(_scope(environ), receive, send), self._loop)
        done.add_done_callback(lambda _done: wanted.put(None))
        while (piece := wanted.get()) is not None:
            self._hand_over(piece, body)
        done.result()
        headers = [(name.title(), value) for name, value in reply["headers"] if name != "connection"]
        return reply["status"], headers, reply["body"]

    def _hand_over(self, piece: "asyncio.Future[bytes]", body: "_Body") -> None:
        try:
            data = body.read()
        except OSError as error:
            self._loop.call_soon_threadsafe(_unless_done, piece.set_exception, piece, error)
        else:
            self._loop.call_soon_threadsafe(_unless_done, piece.set_result, piece, data)


def _unless_done(act: Callable[[Any], None], piece: "asyncio.Future[bytes]", value: Any) -> None:
    if not piece.done():
        act(value)


class _Body:
    """The body of a request: up to its Content-Length, or to its end where the server marks that."""

    def __init__(self, environ: Environ) -> None:
        self._input = environ["wsgi.input"]
        length = environ.get("CONTENT_LENGTH") or ""
        self._left = int(length) if length.isdecimal() else None
        self.over = self._left == 0 or (self._left is None and not environ.get("wsgi.input_terminated"))
        self.broken = False  # it ended before its length

    def read(self) -> bytes:
        data: bytes = self._input.read(READ if self._left is None else min(READ, self._left))
        if self._left is not None:
            self._left -= len(data)
            self.broken = not data and self._left > 0
        self.over = not data or self._left == 0
        return data


def _scope(environ: Environ) -> dict[str, Any]:
    """What ASGI calls the request."""
    headers = [
        (name[5:].lower().replace("_", "-").encode(), value.encode("latin-1"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    headers += [
        (name.lower().replace("_", "-").encode(), environ[name].encode("latin-1"))
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH")
        if environ.get(name)
    ]
    if environ.get("wsgi.input_terminated") and not environ.get("CONTENT_LENGTH"):
        headers = [*(pair for pair in headers if pair[0] != b"transfer-encoding"), (b"transfer-encoding", b"chunked")]
    path = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")) or "/"
    peer = environ.get("REMOTE_ADDR")
    return {
        "type": "http",
        "method": environ["REQUEST_METHOD"],
        "path": path.encode("latin-1").decode("utf-8", "replace"),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "headers": headers,
        "client": (peer, 0) if peer else None,
        "state": {},
    }


def _take_slot(state: Path) -> tuple[str, int]:
    """A process's name that no other living worker has, and the lock that says so: `wsgi-0`, `wsgi-1`, ...

    Names come again, so that the next worker clears what a killed one left half done.
    """
    make_folder(state)
    for number in range(SLOTS):
        with suppress(BlockingIOError):
            return f"wsgi-{number}", hold(state / f"wsgi-{number}.lock", within=0)
    raise RuntimeError(f"{state}: {SLOTS} workers are running already")
