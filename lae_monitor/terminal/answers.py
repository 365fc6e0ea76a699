"""How commands get answers: from the `serve` that runs on the state folder, or else from the store itself.

Both ways the same addresses are asked and the same JSON comes back: over HTTP, or from the same application in this process.
Root and the account of `serve` come by its Unix socket. Other accounts set LAE_MONITOR_TOKEN_FILE to a file with a token,
and use the address of pages and API.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import quote, urlencode, urlsplit

from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_TRY_AGAIN, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation
from lae_monitor.terminal.owner import as_owner

if TYPE_CHECKING:
    from asyncio import Runner

    from starlette.applications import Starlette

    from lae_monitor.config import Settings

PROCESS: Final = "command"  # whose file in the journal it is, when nothing runs
SOCKET: Final = "serve.sock"  # in the state folder: where `serve` answers root and its own account
NODE_URL: Final = "node.url"  # in the state folder: where `serve` says how it is reached
TOKEN_FILE: Final = "LAE_MONITOR_TOKEN_FILE"  # noqa: S105 - the environment variable
MAX_TOKEN: Final = 500  # bytes of the file
A_TOKEN: Final = (
    "with sudo; or let root make a token (lae-monitor token new web), put it into a file of mode 0600, "
    f"and set {TOKEN_FILE} to that file"
)
TIMEOUT: Final = 60.0  # seconds without a byte; a search stops by itself after 10
MAX_ANSWER: Final = 512 * 1024 * 1024  # bytes of one JSON answer; the largest search has 10,000 rows
STEP: Final = 256 * 1024  # bytes handed on at a time
HEADER: Final = "X-Lae-Monitor"  # says that no other site's page asks

Sink = Callable[[bytes], object]


class NotServed(Exception):
    """Nothing of ours answers there."""


class _BySocket(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        from lae_monitor.archive.small_files import short

        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with short(self._path) as name:
            self.sock.connect(name)


class Served:
    """A `serve` process.

    Args:
        place: its address, `http://...`, or the path of its socket.
        token: shown with each request; "" for none.
        seconds: without a byte.
    """

    running = True  # new events come in meanwhile
    decides = True  # it takes what changes something

    def __init__(self, place: str | Path, token: str = "", seconds: float = TIMEOUT) -> None:
        self._seconds = seconds
        self._place = place if isinstance(place, Path) else _host_and_port(place)
        self._headers = {HEADER: "1", **({"Authorization": f"Bearer {token}"} if token else {})}

    def _connection(self) -> http.client.HTTPConnection:
        if isinstance(self._place, Path):
            return _BySocket(self._place, self._seconds)
        return http.client.HTTPConnection(*self._place, timeout=self._seconds)  # knows of no proxies

    def exchange(self, method: str, target: str, sink: Callable[[int], Sink]) -> int:
        """Asks, and hands the body piece by piece to what `sink(status)` returns. Returns the status.

        Raises:
            NotServed
            TimeoutError: it takes too long.
            ConnectionError: the answer was cut short.
        """
        connection = self._connection()
        try:
            try:
                connection.request(method, target, headers=self._headers)
            except PermissionError:
                raise
            except OSError as error:
                raise NotServed(str(error)) from error
            response = connection.getresponse()
            expected, got = response.length, 0
            take = sink(response.status)
            while piece := response.read(STEP):
                take(piece)
                got += len(piece)
            if expected is not None and got != expected:
                raise ConnectionError(f"the answer was cut short after {got} of {expected} bytes")
        except http.client.HTTPException as error:
            raise ConnectionError(f"not an answer in HTTP: {error!r}") from error
        finally:
            connection.close()
        return response.status


def _host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise NotServed(f"{url!r} is no address of ours")
    return parts.hostname, parts.port or 80


class Opened:
    """The application in this process, on a store that nobody else has open."""

    running = False

    def __init__(self, runner: Runner, app: Starlette, *, decides: bool) -> None:
        self._runner = runner
        self._app = app
        self.decides = decides

    def exchange(self, method: str, target: str, sink: Callable[[int], Sink]) -> int:
        """As `Served.exchange`."""
        path, _, query = target.partition("?")
        status = 0
        take: Sink = len
        waiting = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> dict[str, Any]:
            for message in waiting:
                return message
            return await self._runner.get_loop().create_future()  # type: ignore[no-any-return] # the client stays

        async def send(message: Any) -> None:
            nonlocal status, take
            if message["type"] == "http.response.start":
                status = message["status"]
                take = sink(status)
            elif message.get("body"):
                take(message["body"])

        self._runner.run(self._app(_scope(method, path, query), receive, send))
        return status


def _scope(method: str, path: str, query: str) -> dict[str, Any]:
    from urllib.parse import unquote

    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 0), "server": ("127.0.0.1", 0),
    }  # fmt: skip


class Answers:
    """Asks for one command, and ends it when there is no answer: with what is wrong, and what to do next."""

    def __init__(self, invocation: Invocation, source: Served | Opened) -> None:
        self._invocation = invocation
        self._source = source

    @property
    def running(self) -> bool:
        return self._source.running

    def get(self, path: str, **parameters: object) -> Any:
        """The JSON at `path`, made with `address()`; parameters that are None or "" are left out."""
        return self._json("GET", path, parameters)

    def post(self, path: str) -> Any:
        if not self._source.decides:
            self._invocation.fail(
                "only a running lae-monitor can do that", EXIT_UNAVAILABLE, following="lae-monitor run, or serve"
            )
        return self._json("POST", path, {})

    def save(self, path: str, write: Sink, **parameters: object) -> None:
        """Hands the bytes at `path` to `write`."""
        failed = bytearray()
        status = self._exchange("GET", path, parameters, lambda status: write if status == 200 else failed.extend)
        if status != 200:
            self._refused(status, bytes(failed))

    def _json(self, method: str, path: str, parameters: dict[str, object]) -> Any:
        body = bytearray()

        def take(piece: bytes) -> None:
            if len(body) + len(piece) > MAX_ANSWER:
                self._invocation.fail("the answer is too large", EXIT_UNAVAILABLE, following="ask with a --limit")
            body.extend(piece)

        status = self._exchange(method, path, parameters, lambda _status: take)
        if status not in {200, 202}:
            self._refused(status, bytes(body))
        try:
            return json.loads(body)
        except ValueError:
            self._not_ours()

    def _exchange(self, method: str, path: str, parameters: dict[str, object], sink: Callable[[int], Sink]) -> int:
        given = {name: value for name, value in parameters.items() if value not in (None, "")}
        try:
            return self._source.exchange(method, path + (f"?{urlencode(given)}" if given else ""), sink)
        except TimeoutError:
            self._invocation.fail("no answer in time", EXIT_TRY_AGAIN, following="try again, or narrow it with since:")
        except (NotServed, ConnectionError) as error:
            self._invocation.fail(f"lae-monitor went away: {error}", EXIT_TRY_AGAIN, following="try again")

    def _not_ours(self) -> NoReturn:
        self._invocation.fail(
            f"what answers at the address in {NODE_URL} is not lae-monitor",
            EXIT_UNAVAILABLE,
            following="start it: lae-monitor run",
        )

    def _refused(self, status: int, body: bytes) -> NoReturn:
        """Ends the command with what the answer says."""
        from lae_monitor.core.printable import one_line

        try:
            said = json.loads(body)
            message, detail = one_line(said["message"]), one_line(said.get("problem") or said["detail"])
        except (ValueError, KeyError, TypeError):
            self._not_ours()
        code, following = {
            401: (EXIT_UNAVAILABLE, f"run it {A_TOKEN}"),
            403: (EXIT_UNAVAILABLE, "as root: lae-monitor token new web --role operator"),
            400: (EXIT_USAGE, "lae-monitor search --help" if said.get("error") == "bad_query" else ""),
            404: (EXIT_FINDINGS, "lae-monitor search, or host list"),
            503: (EXIT_TRY_AGAIN, "lae-monitor store status"),
        }.get(status, (EXIT_UNAVAILABLE, ""))
        self._invocation.fail(f"{message}: {detail}", code, following=following)


def address(*parts: str) -> str:
    """A path, its parts quoted: `address("api", "reports", id)`."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


@contextmanager
def answers(invocation: Invocation, *, decides: bool = False) -> Iterator[Answers]:
    """Who answers now. Ends the command (69) when nobody does.

    Args:
        decides: decisions about groups are taken also when nothing runs; else nothing is changed then.
    """
    settings = invocation.settings
    running = served(invocation)
    if running is not None:
        yield running
        return
    with as_owner(settings.state.path), _opened(invocation, settings, decides=decides) as opened:
        yield Answers(invocation, opened)


def served(invocation: Invocation, *, seconds: float = TIMEOUT) -> Answers | None:
    """The running `serve`, if one answers. Ends the command when this account may not ask it."""
    state = invocation.settings.state.path
    token = _token(invocation)
    try:
        for place in _places(invocation.settings, by_socket=not token):
            found = Served(place, token, seconds)
            with suppress(NotServed, ConnectionError):
                found.exchange("GET", "/ping", lambda _status: len)
                return Answers(invocation, found)
    except PermissionError:
        invocation.fail(
            f"{state}: only root and the account of the monitor may ask without a token",
            EXIT_UNAVAILABLE,
            following=f"run it {A_TOKEN}",
        )
    except (NotServed, UnicodeDecodeError, ValueError):
        return None
    except TimeoutError:
        invocation.fail("lae-monitor runs, and does not answer", EXIT_TRY_AGAIN, following="look at its log")
    if token:
        invocation.fail(
            f"nothing answers at http://{invocation.settings.web.listen}/",
            EXIT_UNAVAILABLE,
            following="start it: lae-monitor run",
        )
    return None


def _places(settings: Settings, *, by_socket: bool) -> Iterator[str | Path]:
    """Where `serve` may be; an earlier release has no socket."""
    state = settings.state.path
    if by_socket and (state / SOCKET).exists():
        yield state / SOCKET
    try:
        yield (state / NODE_URL).read_text("ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        return
    except PermissionError:
        if by_socket:
            raise
        yield f"http://{settings.web.listen}"


def _token(invocation: Invocation) -> str:
    """The token of this account; "" when it has none."""
    name = os.environ.get(TOKEN_FILE)
    if not name:
        return ""
    try:
        with Path(name).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(MAX_TOKEN).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        invocation.fail(f"{TOKEN_FILE}: {name}: {error}", EXIT_UNAVAILABLE, following="lae-monitor token new web")
    if mode & 0o077:
        invocation.fail(
            f"{TOKEN_FILE}: {name} is open to other accounts", EXIT_UNAVAILABLE, following=f"chmod 600 {name}"
        )
    if not text or not text.isprintable() or " " in text:
        invocation.fail(f"{TOKEN_FILE}: {name} holds no token", EXIT_UNAVAILABLE, following="lae-monitor token new web")
    return text


@contextmanager
def _opened(invocation: Invocation, settings: Settings, *, decides: bool) -> Iterator[Opened]:
    """The store, opened here, and for decisions the journal; no other process has the store meanwhile."""
    import asyncio

    from lae_monitor.archive import Archive, ArchiveError, Journal
    from lae_monitor.archive.archive import archive_of
    from lae_monitor.archive.identity import NotOurs
    from lae_monitor.archive.installation import installation
    from lae_monitor.query.decisions import Decisions
    from lae_monitor.store import Store, StoreError
    from lae_monitor.store.chdb_driver import ChdbDriver
    from lae_monitor.web import create_app

    async def retry(_id: str) -> bool:
        return False

    following = "start it: lae-monitor run"
    try:
        path = settings.store_path
        if not path.is_dir():
            invocation.fail(
                f"nothing runs on {settings.state.path}, and nothing is stored yet",
                EXIT_UNAVAILABLE,
                following=following,
            )
        installation(settings).check_store(path)
        driver = ChdbDriver(path, memory=settings.store.memory, readers=settings.store.readers)
    except (StoreError, NotOurs, OSError, ValueError) as error:
        is_busy = decides and isinstance(error, StoreError) and error.in_use
        invocation.fail(
            f"nothing answers, and the store cannot be opened: {error}",
            EXIT_TRY_AGAIN if is_busy else EXIT_UNAVAILABLE,
            following="try again" if is_busy else following,
        )
    with asyncio.Runner() as runner:
        archive = archive_of(settings, PROCESS) if decides else Archive(settings.archive_roots, PROCESS)
        store = Store(driver, kinds=settings.kinds)
        decisions = Decisions(store, archive, Journal(archive)) if decides else None
        try:
            if decides:
                runner.run(archive.open())
            runner.run(store.open())
            app = create_app(store, archive, fleet=settings.fleet.name, retry=retry, status=dict, decisions=decisions)
            yield Opened(runner, app, decides=decides)
        except ArchiveError as error:
            invocation.fail(str(error), EXIT_UNAVAILABLE, following="lae-monitor archive status")
        except StoreError as error:
            invocation.fail(f"the store cannot be read: {error}", EXIT_UNAVAILABLE, following=following)
        finally:
            runner.run(store.close())
            runner.run(archive.close())
