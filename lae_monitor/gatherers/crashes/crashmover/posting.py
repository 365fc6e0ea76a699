"""One POST over HTTP or HTTPS, without proxies and without following anybody elsewhere. Blocking."""

import http.client
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from lae_monitor.gatherers.crashes.crashmover.destination import Unavailable

MAX_REPLY: Final = 10_000  # bytes; the reply to a crash is a line
MAX_WAIT: Final = 3600.0  # seconds of Retry-After that are believed


class Reply(NamedTuple):
    """What came back. `retry_after` in seconds, or None."""

    status: int
    text: str
    retry_after: float | None


def check_url(url: str) -> str:
    """`url` when it can be posted to.

    Raises:
        ValueError
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError(f"{url!r} is no URL such as http://collector.example:8000/submit")
    return url


def post(url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Reply:
    """
    Raises:
        Unavailable: there was no reply.
    """
    parts = urlsplit(check_url(url))
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(parts.hostname), parts.port, timeout=timeout)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.connect()
        with suppress(BrokenPipeError, ConnectionResetError):  # it may not want the rest; why is in its reply
            connection.request("POST", target, body, dict(headers))
        reply = connection.getresponse()
        text = reply.read(MAX_REPLY).decode("utf-8", "replace")
        return Reply(reply.status, text, _seconds(reply.getheader("Retry-After", "")))
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{parts.scheme}://{parts.hostname}: {error or type(error).__name__}") from error
    finally:
        connection.close()


def _seconds(text: str) -> float | None:
    return min(float(text), MAX_WAIT) if text.isdecimal() and len(text) < 10 else None
