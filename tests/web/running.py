"""The believable fleet behind the real application, on a loop that runs beside the tests; asked directly, or over HTTP."""

import asyncio
import json
import threading
from itertools import count
from pathlib import Path
from urllib.parse import quote

import believable

from lae_monitor.core.rows import Row
from lae_monitor.net.http import serve
from lae_monitor.web import create_app

NOW = 1_795_348_000.0  # 2026-11-22T11:46:40Z
_serial = count()


class Answer:
    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self):
        return json.loads(self.body)


class Running:
    """Archive, store and application; `status` is what the machinery is said to be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = NOW
        self.status: dict = {}
        self.retried: list[str] = []
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.archive, self.store = self.run(believable.build(folder, NOW, days=1.5))
        self.app = self.make_app(self.store)
        self.url = ""
        self._stop: asyncio.Event | None = None
        self._serving = None

    def make_app(self, store, access=None):
        async def retry(key: str) -> bool:
            self.retried.append(key)
            return key == "known"

        return create_app(
            store, self.archive, fleet="lae", retry=retry, status=lambda: self.status, clock=lambda: self.now,
            access=access,
        )  # fmt: skip

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(120)

    def put(self, *rows: Row) -> None:
        for row in rows:
            self.run(self.store.insert(row.table, [row], [(row.file, row.offset)], f"put-{next(_serial)}"))

    def ask(self, target: str, method: str = "GET", *, client="127.0.0.1", host="127.0.0.1:8642", app=None, headers=()):
        """One request, as an ASGI server would hand it on."""
        path, _, query = target.partition("?")
        answer = Answer()
        sent = iter([{"type": "http.request", "body": b"", "more_body": False}])
        given = [(b"host", host.encode())] if host is not None else []
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": _unquoted(path), "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": given + [(name.encode(), value.encode("latin-1")) for name, value in headers],
            "client": (client, 40000) if client else None, "server": ("127.0.0.1", 8642),
        }  # fmt: skip

        async def receive():
            for message in sent:
                return message
            return await asyncio.Future()

        async def send(message):
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                answer.body += message.get("body", b"")

        self.run((app or self.app)(scope, receive, send))
        return answer

    def get(self, target: str, **parameters):
        """The JSON at `target`."""
        query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in parameters.items())
        answer = self.ask(target + (f"?{query}" if query else ""))
        assert answer.status == 200, answer.text
        return answer.json()

    def serve(self) -> str:
        """Serves it over HTTP, as `lae-monitor serve` does; returns the URL."""
        if not self.url:
            ready = threading.Event()

            def told(url: str) -> None:
                self.url = url
                ready.set()

            async def start():
                self._stop = asyncio.Event()
                self._serving = asyncio.create_task(serve(self.app, "127.0.0.1", 0, stop=self._stop, ready=told))

            self.run(start())
            assert ready.wait(60)
        return self.url

    def close(self) -> None:
        async def end():
            if self._stop is not None:
                self._stop.set()
                await self._serving
            await self.store.close()
            await self.archive.close()

        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(30)
        self.loop.close()


def _unquoted(path: str) -> str:
    from urllib.parse import unquote

    return unquote(path)
