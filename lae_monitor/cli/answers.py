"""How commands get answers: from the `serve` that runs on the state folder, or else from the store itself.

Both ways the same addresses are asked and the same JSON comes back: over HTTP, or from the same application in this process.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol
from urllib.parse import quote, urlencode, urlsplit

from lae_monitor.cli.options import EXIT_FINDINGS, EXIT_TRY_AGAIN, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation
from lae_monitor.cli.owner import as_owner

if TYPE_CHECKING:
    from asyncio import Runner

    from starlette.applications import Starlette

    from lae_monitor.config import Settings

NODE_URL: Final = "node.url"  # in the state folder: where `serve` says how it is reached
TIMEOUT: Final = 60.0  # seconds without a byte; a search stops by itself after 10
MAX_ANSWER: Final = 512 * 1024 * 1024  # bytes of one JSON answer; the largest search has 10,000 rows
STEP: Final = 256 * 1024  # bytes handed on at a time
HEADER: Final = "X-Lae-Monitor"  # says that no other site's page asks

Sink = Callable[[bytes], object]


class NotServed(Exception):
    """Nothing of ours answers there."""


class Source(Protocol):
    """Who answers."""

    running: bool  # whether new events come in meanwhile

    def exchange(self, method: str, target: str, sink: Callable[[int], Sink]) -> int:
        """Asks, and hands the body piece by piece to what `sink(status)` returns. Returns the status.

        Raises:
            NotServed
            TimeoutError: it takes too long.
            ConnectionError: the answer was cut short.
        """
        ...


class Served:
    """A `serve` process that was found at `url`."""

    running = True

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise NotServed(f"{url!r} is no address of ours")
        self._place = parts.hostname, parts.port or 80

    def exchange(self, method: str, target: str, sink: Callable[[int], Sink]) -> int:
        connection = http.client.HTTPConnection(*self._place, timeout=TIMEOUT)  # knows of no proxies
        try:
            try:
                connection.request(method, target, headers={HEADER: "1"})
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


class Opened:
    """The application in this process, on a store that nobody else has open."""

    running = False

    def __init__(self, runner: Runner, app: Starlette) -> None:
        self._runner = runner
        self._app = app

    def exchange(self, method: str, target: str, sink: Callable[[int], Sink]) -> int:
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
    from urllib.parse import unquote  # noqa: PLC0415

    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 0), "server": ("127.0.0.1", 0),
    }  # fmt: skip


class Answers:
    """Asks for one command, and ends it when there is no answer: with what is wrong, and what to do next."""

    def __init__(self, invocation: Invocation, source: Source) -> None:
        self._invocation = invocation
        self._source = source

    @property
    def running(self) -> bool:
        return self._source.running

    def get(self, path: str, **parameters: object) -> Any:
        """The JSON at `path`, made with `address()`; parameters that are None or "" are left out."""
        return self._json("GET", path, parameters)

    def post(self, path: str) -> Any:
        if not self.running:
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
        if status != 200:
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
            self._invocation.fail(
                f"no answer within {TIMEOUT:.0f} s", EXIT_TRY_AGAIN, following="try again, or narrow it with since:"
            )
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
        from lae_monitor.query.printable import one_line  # noqa: PLC0415

        try:
            said = json.loads(body)
            message, detail = one_line(said["message"]), one_line(said.get("problem") or said["detail"])
        except (ValueError, KeyError, TypeError):
            self._not_ours()
        code, following = {
            400: (EXIT_USAGE, "lae-monitor search --help" if said.get("error") == "bad_query" else ""),
            404: (EXIT_FINDINGS, "lae-monitor search, or host list"),
            503: (EXIT_TRY_AGAIN, "lae-monitor store status"),
        }.get(status, (EXIT_UNAVAILABLE, ""))
        self._invocation.fail(f"{message}: {detail}", code, following=following)


def address(*parts: str) -> str:
    """A path, its parts quoted: `address("api", "reports", id)`."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


@contextmanager
def answers(invocation: Invocation) -> Iterator[Answers]:
    """Who answers now. Ends the command (69) when nobody does."""
    settings = invocation.settings
    served = _served(invocation, settings)
    if served is not None:
        yield Answers(invocation, served)
        return
    with as_owner(settings.state.path), _opened(invocation, settings) as opened:
        yield Answers(invocation, opened)


def _served(invocation: Invocation, settings: Settings) -> Served | None:
    """The running `serve`, if one answers."""
    try:
        served = Served((settings.state.path / NODE_URL).read_text("ascii").strip())
        served.exchange("GET", "/ping", lambda _status: len)
    except PermissionError as error:
        invocation.fail(
            f"{error.filename}: {error.strerror}", EXIT_UNAVAILABLE, following="run it as the monitor's account"
        )
    except (NotServed, ConnectionError, FileNotFoundError, NotADirectoryError, UnicodeDecodeError, ValueError):
        return None
    except TimeoutError:
        invocation.fail("lae-monitor runs, and does not answer", EXIT_TRY_AGAIN, following="look at its log")
    return served


@contextmanager
def _opened(invocation: Invocation, settings: Settings) -> Iterator[Opened]:
    """The store, opened here; read only, as far as commands go."""
    import asyncio  # noqa: PLC0415 - a quarter of a second that commands on a running monitor do not pay

    from lae_monitor.archive import Archive  # noqa: PLC0415
    from lae_monitor.store import Store, StoreError  # noqa: PLC0415
    from lae_monitor.store.chdb_driver import ChdbDriver  # noqa: PLC0415
    from lae_monitor.web import create_app  # noqa: PLC0415

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
        driver = ChdbDriver(path, memory=settings.store.memory, readers=settings.store.readers)
    except (StoreError, OSError, ValueError) as error:
        invocation.fail(
            f"nothing answers, and the store cannot be opened: {error}", EXIT_UNAVAILABLE, following=following
        )
    with asyncio.Runner() as runner:
        archive = Archive(settings.archive_roots, "command")
        store = Store(driver)
        try:
            runner.run(store.open())
            app = create_app(store, archive, fleet=settings.fleet.name, retry=retry, status=dict)
            yield Opened(runner, app)
        except StoreError as error:
            invocation.fail(f"the store cannot be read: {error}", EXIT_UNAVAILABLE, following=following)
        finally:
            runner.run(store.close())
            runner.run(archive.close())
