"""One POST over HTTP or HTTPS, without proxies and without following anybody elsewhere; and what is done by it: ids are
published, crashes go to another collector. Blocking.
"""

import gzip
import http.client
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from lae_monitor.core.names import CrashId
from lae_monitor.core.refusals import shorten
from lae_monitor.kinds.crashes.crashmover import config
from lae_monitor.kinds.crashes.crashmover.crash import Crash
from lae_monitor.kinds.crashes.crashmover.destination import Never, Unavailable
from lae_monitor.kinds.crashes.crashmover.objects import client, telling
from lae_monitor.kinds.crashes.form import File, form
from lae_monitor.kinds.crashes.report import annotations_in

DEADLINE: Final = (
    900.0  # seconds for all of it: a large crash over a slow line takes its time, who drips bytes has no end
)
MAX_REPLY: Final = 10_000  # bytes; the reply to a crash is a line
MAX_WAIT: Final = 3600.0  # seconds of Retry-After that are believed
SQS: Final = "sqs://"
PUBLISHED_WITHIN: Final = 5.0  # seconds, as Antenna's
MENDED: Final = frozenset({401, 403, 404, 405, 408, 409, 425, 429})  # by somebody, or by time: not the crash's fault
MAX_TOKEN: Final = 1000  # bytes of a file that holds one
_CRASH_ID: Final = re.compile(r"^CrashID=(\S{1,200})\s*$", re.MULTILINE)


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


def post(url: str, headers: Mapping[str, str], body: bytes, timeout: float, deadline: float | None = None) -> Reply:
    """
    Args:
        timeout: seconds without a byte.
        deadline: seconds for all of it, once there is a connection; None: DEADLINE.

    Raises:
        Unavailable: there was no reply.
    """
    parts = urlsplit(check_url(url))
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(parts.hostname), parts.port, timeout=timeout)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    late = threading.Event()
    timer = None
    try:
        connection.connect()
        timer = threading.Timer(DEADLINE if deadline is None else deadline, _cut, (connection.sock, late))
        timer.daemon = True
        timer.start()
        with suppress(BrokenPipeError, ConnectionResetError):  # it may not want the rest; why is in its reply
            connection.request("POST", target, body, dict(headers))
        reply = connection.getresponse()
        text = reply.read(MAX_REPLY).decode("utf-8", "replace")
        if late.is_set():  # what came may be a part only
            raise TimeoutError
        return Reply(reply.status, text, _seconds(reply.getheader("Retry-After", "")))
    except (OSError, http.client.HTTPException) as error:
        why = "took too long" if late.is_set() else str(error) or type(error).__name__
        raise Unavailable(f"{parts.scheme}://{parts.hostname}: {why}") from error
    finally:
        if timer is not None:
            timer.cancel()
        connection.close()


def _cut(connected: socket.socket, late: threading.Event) -> None:
    """Ends what waits for the other side, in whichever thread; not as TLS would, which would wait for it too."""
    late.set()
    with suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _seconds(text: str) -> float | None:
    return min(float(text), MAX_WAIT) if text.isdecimal() and len(text) < 10 else None


def check_target(target: str) -> str:
    """`target` when an id can be published to it.

    Raises:
        ValueError
    """
    if target.startswith(SQS):
        if not target.removeprefix(SQS).strip("/"):
            raise ValueError(f"{target!r} names no queue")
        return target
    return check_url(target)


class Publisher:
    """Publishes ids to `sqs://QUEUE` (credentials and region as boto3 finds them) or to an HTTP(S) address: bare, as the
    body of a message. Blocking.
    """

    def __init__(self) -> None:
        self._sqs: Any = None
        self._queues: dict[str, str] = {}
        self._making = threading.Lock()

    def publish(self, target: str, crash_id: CrashId) -> None:
        """Returns when the queue, or the server of the URL, has the id. It may get one twice, after a kill.

        Raises:
            Unavailable
        """
        if target.startswith(SQS):
            with telling():
                self._client().send_message(QueueUrl=self._queue(target.removeprefix(SQS)), MessageBody=str(crash_id))
            return
        reply = post(target, {"Content-Type": "text/plain"}, crash_id.encode(), PUBLISHED_WITHIN)
        if not 200 <= reply.status < 300:
            said = shorten(reply.text.strip(), 200)
            raise Unavailable(f"{target}: status {reply.status}: {said}", reply.retry_after)

    def _client(self) -> Any:
        with self._making:
            if self._sqs is None:
                self._sqs = client("sqs", "", "")
            return self._sqs

    def _queue(self, name: str) -> str:
        """The queue's URL; it is asked for once."""
        if name not in self._queues:
            self._queues[name] = str(self._client().get_queue_url(QueueName=name)["QueueUrl"])
        return self._queues[name]

    def close(self) -> None:
        if self._sqs is not None:
            self._sqs.close()


def form_of(crash: Crash, *, keeps_id: bool, compress: bool) -> tuple[dict[str, str], bytes]:
    """Headers and body of the POST: the crash as a form, the way its client sent it.

    Args:
        keeps_id: sends the crash id along, as `uuid`.
        compress: the whole body by gzip.
    """
    told = annotations_in(crash.document)
    told.pop("uuid", None)
    if keeps_id:
        told["uuid"] = str(crash.crash_id)
    filenames = crash.metadata.get("filenames")
    known = filenames if isinstance(filenames, dict) else {}
    files = [File(name, str(known.get(name, f"{name}.dmp")), data) for name, data in crash.dumps.items()]
    headers, body = form(told, files)
    if compress:
        headers["Content-Encoding"], body = "gzip", gzip.compress(body, 6)
    return headers, body


class Submitter:
    """The destination that is another collector: POSTs crashes as their clients sent them; success is 200 with a `CrashID`.

    With the token of a submitter the crash keeps its id, and a collector of ours does not store it twice. Without one the
    other collector gives it an id of its own, which the ledger notes; a reply that gets lost then means a second copy there.
    """

    def __init__(self, settings: config.Http) -> None:
        self._settings = settings

    def save(self, crash: Crash) -> str:
        """
        Raises:
            Unavailable, Never
        """
        own = self._settings
        token = read_token(own.token_file) if own.token_file is not None else ""
        headers, body = form_of(crash, keeps_id=bool(token), compress=own.gzip)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        reply = post(own.url, headers, body, own.timeout)
        said = shorten(reply.text.strip(), 200)
        if reply.status == 200:
            found = _CRASH_ID.search(reply.text)
            if found is None:
                raise Never(f"{own.url} did not keep it: {said}")
            if token and not found[1].endswith(crash.crash_id):
                raise Never(f"{own.url} gave it another id: {said}")
            return f"{own.url}: {found[1]}"
        text = f"{own.url}: status {reply.status}: {said}"
        if 400 <= reply.status < 500 and reply.status not in MENDED:
            raise Never(text)
        raise Unavailable(text, reply.retry_after)

    def close(self) -> None:
        pass


def read_token(path: Path) -> str:
    """The token in the file; read each time, so that it can be changed without a restart.

    Raises:
        Unavailable
    """
    try:
        with path.open("rb") as file:
            token = file.read(MAX_TOKEN).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"{path}: {error}") from error
    if not token or not token.isprintable():
        raise Unavailable(f"{path}: holds no token")
    return token
