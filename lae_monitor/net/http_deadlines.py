"""A connection that is too slow is cut off; uvicorn alone waits for ever for a head or body that drips.

Head, body and the pauses within a body have a clock each. A clock of the body stands still while our own flow control
has paused reading: then it is us who are slow.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, ClassVar, cast

from prometheus_client import Counter
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lae_monitor.core.reasons import REASONS
from lae_monitor.net.connections import (
    CLOSE_GRACE,
    MAX_LINGER,
    RETRY_AFTER,
    SPARE,
    Connection,
    Connections,
    HttpLimits,
    Network,
)
from lae_monitor.net.countdown import Countdown
from lae_monitor.net.peer import PEER_STATE, Peer

log = logging.getLogger("lae_monitor.http")

CUT = Counter("lae_http_cut_connections_total", "Connections that were cut off, by the reason code", ["reason"])

_UPGRADE = re.compile(rb"(\r\n)upgrade(?=[ \t]*:)", re.IGNORECASE)

Explain = Callable[[str], tuple[str, str]]  # a reason's code -> body and Content-Type

CUT_STATE = "lae_cut"  # in the ASGI scope's state: the code for which the connection was cut off
LIMIT_STATE = "lae_limit"  # bytes that the application takes of the body


class _WatchedFlow(FlowControl):
    """Tells when our side stops reading and goes on."""

    def __init__(
        self, transport: asyncio.Transport, on_pause: Callable[[], None], on_resume: Callable[[], None]
    ) -> None:
        super().__init__(transport)
        self._on_pause = on_pause
        self._on_resume = on_resume

    def pause_reading(self) -> None:
        super().pause_reading()
        self._on_pause()

    def resume_reading(self) -> None:
        super().resume_reading()
        self._on_resume()


class _Joined:
    """A transport that sends the head of an answer together with what follows at once: one call into the kernel, not two."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self._begun = False

    def write(self, data: bytes) -> None:
        if self._transport.is_closing():  # we have cut it off, and what is said now comes too late
            return
        if not self._begun:
            self._begun = True
            self._held = data
            self._loop.call_soon(self._flush)
            return
        held, self._held = self._held, b""
        self._transport.write(held + data if held else data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class DeadlineProtocol(HttpToolsProtocol):
    """One connection. `limits` and `listener` belong to a server; see `with_limits`."""

    limits: ClassVar[HttpLimits] = HttpLimits()
    listener: ClassVar[Connections]

    @staticmethod
    def explain(code: str) -> tuple[str, str]:
        """Body and Content-Type for a connection that is cut off for the reason `code`."""
        return f"{code}\n", "text/plain; charset=utf-8"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connection: Connection | None = None  # None: it was refused
        self._phase = Countdown(self.loop, self._phase_expired)  # the whole of a head, after the first, or body
        self._idle = Countdown(self.loop, self._too_slow)  # between pieces of a body
        self._write = Countdown(self.loop, self._abort)
        self._closing: asyncio.TimerHandle | None = None
        self._ended = False  # we have said our last word, and wait for the client to go
        self._deaf = False  # what came last was no HTTP: the answers that are due go out, and nothing is read any more
        self._in_body = False
        self._had_request = False
        self._body_size = 0  # bytes of the body so far
        self._body_raw = 0  # the same as it came, with the sizes and extensions of chunks, and trailers
        self._unparsed = 0  # bytes of a head that the parser may be holding back
        self._head_size = 0  # bytes of it that the parser has handed on, trailers of the body included

    # ---- the connection --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _WatchedFlow(transport, self._pause, self._resume)
        self.app_state = {**self.app_state, PEER_STATE: Peer(transport)}  # every request of the connection gets it
        peer = self.client[0] if self.client else ""
        if self.listener.admits(peer):
            self._connection = self.listener.begin(peer, self._too_slow)
            return
        self.listener.telling += 1
        if self.listener.telling > SPARE:
            self._abort()
        else:
            self._cut("busy")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is None:
            self.listener.telling -= 1
        else:
            self._connection.end()
        self.listener.resting.pop(self.shutdown, None)
        for clock in (self._phase, self._idle, self._write):
            clock.end()
        if self._closing is not None:
            self._closing.cancel()
        super().connection_lost(exc)

    @property
    def _over(self) -> bool:
        return self._ended or self.transport.is_closing()

    def data_received(self, data: bytes) -> None:
        if self._over or self._deaf:
            return
        self.listener.resting.pop(self.shutdown, None)
        if not self._in_body:
            data = _without_upgrade(data)
        if self._in_body:
            self._body_raw += len(data)
            self._idle.begin(self.limits.idle)
            if self.flow.read_paused:
                self._idle.pause()
        else:
            self._unparsed += len(data)
            if not self._phase.armed and self._had_request:  # the first bytes of the next request on a kept connection
                self._phase.begin(self.limits.head)
        super().data_received(data)
        if self._in_body and self._is_dripping():
            self._too_slow()
        if self._in_body and self._is_swollen():
            self._cut("body_too_large")
        if not self._in_body and self._unparsed > self.limits.max_head:
            self._cut("head_too_large")

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keeps the connection for the answer when the client has ended its side after a whole request with a body."""
        cycle = self.cycle
        if self._over or cycle is None or cycle.response_complete or self.scheme == "https":
            return False
        if cycle.more_body:
            self._cut("body_incomplete")
            return True
        if not cycle.scope["state"].get("lae_has_body"):
            return False
        cycle.keep_alive = False
        return True

    def shutdown(self) -> None:
        if self._ended:
            self.transport.close()
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write.begin(self.limits.write)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._write.end()

    # ---- the parser ------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._head_size = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._head_size += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value) + 4
        if self._head_size > self.limits.max_head:
            self._cut("head_too_large")
        else:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._head_size > self.limits.max_head:
            self._cut("head_too_large")
        if self._over:
            return
        if self.parser.should_upgrade():  # the parser stops here, and would take the body for another request
            self.send_400_response("Upgrade is not supported here.")
            return
        self._in_body = True
        self._had_request = True
        if self._connection is not None:
            self._connection.welcome()
        self._body_size = self._body_raw = 0
        self._phase.begin(self.limits.body)
        self._idle.begin(self.limits.idle)
        super().on_headers_complete()
        self.cycle.transport = cast(asyncio.Transport, _Joined(self.transport, self.loop))

    def on_body(self, body: bytes) -> None:
        if not self._over:
            self._body_size += len(body)
            self.cycle.scope["state"]["lae_has_body"] = True
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        self._unparsed = 0
        self._phase.end()
        self._idle.end()
        if self._over:
            return
        super().on_message_complete()
        if self.cycle.response_complete:  # uvicorn has answered before the body's end, and keeps no clock any more
            self._phase.begin(self.limits.keep_alive)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._in_body and not self._unparsed and self.cycle.response_complete and not self._over:
            self.listener.resting[self.shutdown] = None

    # ---- clocks ----------------------------------------------------------------------------------------------------

    def _pause(self) -> None:
        self._phase.pause()
        self._idle.pause()

    def _resume(self) -> None:
        self._phase.resume()
        self._idle.resume()

    def _phase_expired(self) -> None:
        if not self._in_body and self.cycle is not None and not self.cycle.response_complete:
            self._phase.begin(self.limits.head)  # half a pipelined head, and we are not done with the request before it
        else:
            self._too_slow()

    def _is_dripping(self) -> bool:
        """Whether the body comes more slowly than it has to. The time in which we ourselves did not read is not counted."""
        taken = self.limits.body - self._phase.left
        return taken > self.limits.rate_grace and self._body_size < self.limits.min_rate * taken

    def _is_swollen(self) -> bool:
        """Whether a body in chunks is too large with what stands around its data, which the application never sees."""
        framing = self._body_raw - self._body_size
        if framing <= self.limits.max_head:
            return False
        return self._body_raw > int(self.cycle.scope["state"].get(LIMIT_STATE, MAX_LINGER))

    def _too_slow(self) -> None:
        self._cut("too_slow")

    def _cut(self, code: str) -> None:
        """Ends the connection, with an answer where there is still room for one.

        We go on reading for a moment: a client that is still sending would see a reset instead of the answer.
        """
        if self._over:
            return
        CUT.labels(code).inc()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.scope["state"][CUT_STATE] = code
        begun = cycle is not None and cycle.response_started and not cycle.response_complete
        if begun or self.pipeline:
            self.transport.close()
        else:
            self._say_goodbye(_answer(code, self.explain))
        if cycle is not None:
            cycle.disconnected = True  # what the application says now comes too late
            cycle.message_event.set()
        self._closing = self.loop.call_later(CLOSE_GRACE, self._abort)

    def _say_goodbye(self, answer: bytes) -> None:
        for clock in (self._phase, self._idle):
            clock.end()
        self._ended = True
        self.transport.write(answer)
        if self.transport.can_write_eof():
            self.flow.resume_reading()
            self.transport.write_eof()
        else:
            self.transport.close()

    def _abort(self) -> None:
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        if self._over:  # we have cut it off ourselves, and the parser trips over the rest
            return
        CUT.labels("bad_request").inc()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            # What came before the rubbish is whole, and has a right to its answer; then we hang up.
            cycle.keep_alive = False
            self._deaf = True
            return
        super().send_400_response(msg)


def _without_upgrade(data: bytes) -> bytes:
    """`data`, in whose head no Upgrade is asked for: a server may ignore it (RFC 9110, 7.8), and the parser does not.

    Clients such as curl and Java offer HTTP/2 this way, and send their request all the same.
    """
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[:end]
    return _UPGRADE.sub(rb"\1x-grade", head) + data[len(head) :] if _UPGRADE.search(head) else data


def with_limits(
    limits: HttpLimits, explain: Explain | None = None, exempt: Iterable[Network] = ()
) -> type[DeadlineProtocol]:
    """The protocol of one server.

    Args:
        limits: of the server.
        explain: body and Content-Type for a connection that is cut off.
        exempt: addresses without the limit per address.
    """
    listener = Connections(
        "http", timeout=limits.head, most=limits.connections, new_of_peer=limits.new_of_peer, exempt=exempt
    )
    own = {"limits": limits, "listener": listener}
    return type("DeadlineProtocol", (DeadlineProtocol,), own | ({"explain": staticmethod(explain)} if explain else {}))


def _answer(code: str, explain: Explain) -> bytes:
    reason = REASONS[code]
    body, media = explain(code)
    retry = f"Retry-After: {RETRY_AFTER}\r\n" if reason.status == 503 else ""
    head = (
        f"HTTP/1.1 {reason.status} {HTTPStatus(reason.status).phrase}\r\nContent-Type: {media}\r\n"
        f"Content-Length: {len(body)}\r\n{retry}Connection: close\r\n\r\n"
    )
    return (head + body).encode("ascii")
