"""A request as a handler sees it, and how it is answered."""

import asyncio
import ipaddress
import re
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from typing import Any, Final

from lae_monitor.core.names import usual_address
from lae_monitor.core.refusals import Refused
from lae_monitor.net.connections import LINGER_TIMEOUT, MAX_LINGER, Network
from lae_monitor.net.http_deadlines import CUT_STATE, LIMIT_STATE

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_ADDRESS: Final = 100  # characters; IPv6 with a zone has some 60
MAX_PARAMETERS: Final = 100  # of a query string
IPV4_MAPPED: Final = 96  # bits of ::ffff:0:0/96, below which IPv4 addresses stand within IPv6
_FORWARDED: Final = re.compile(r"\[([^\[\]]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}|([^\[\]]+)")
PLAIN_TEXT: Final = "text/plain; charset=utf-8"


async def reply(
    send: Send,
    status: int,
    body: bytes | str = b"",
    content_type: str = PLAIN_TEXT,
    headers: Iterable[tuple[str, str]] = (),
) -> None:
    """Answers with an exact Content-Length, never chunked: some clients of crash reports cannot read chunks."""
    data = body.encode() if isinstance(body, str) else body
    lines = [("content-type", content_type), ("content-length", str(len(data))), *headers]
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in lines]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": data, "more_body": False})


async def read_body(receive: Receive, limit: int) -> AsyncIterator[bytes]:
    """The pieces of the body, none empty.

    Raises:
        Refused: `body_too_large` beyond `limit` bytes, `body_incomplete` when the connection ends before the body.
    """
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused("body_incomplete", f"after {size} bytes")
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise Refused("body_too_large", f"limit {limit} bytes")
        if piece:
            yield piece
        if not message.get("more_body", False):
            return


class Headers:
    """A request's headers; names in any letter case."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._raw = [(name.decode("latin-1").lower(), value.decode("latin-1").strip()) for name, value in raw]
        self._first = dict(reversed(self._raw))

    def get(self, name: str, default: str = "") -> str:
        """The first of that name."""
        return self._first.get(name.lower(), default)

    def all(self, name: str) -> list[str]:
        wanted = name.lower()
        return [value for found, value in self._raw if found == wanted]

    @property
    def names(self) -> list[str]:
        """In small letters."""
        return list(self._first)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._first


class Request:
    """One request and its answer.

    A handler answers with `await reply(request.send, ...)`. When it does so before the body has come to its end, the
    answer is sent at once, and the rest of the body is read and dropped, within limits, before the connection closes: a
    client that is still sending would otherwise see a reset instead of the answer.
    """

    def __init__(self, scope: Message, receive: Receive, send: Send, trusted: Sequence[Network] = ()) -> None:
        self._receive = receive
        self._send = send
        self._trusted = trusted
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers = Headers(scope["headers"])
        self.query_string: str = scope.get("query_string", b"").decode("latin-1")
        self.started = False  # the answer's head is out
        self.received = 0  # bytes of the body so far, as they came
        self._asked = False
        length = self.headers.get("content-length")
        self.content_length = int(length) if length.isdecimal() else None
        self._complete = not self.content_length and "transfer-encoding" not in self.headers

    @property
    def has_body(self) -> bool:
        """Whether the head announces a body."""
        return bool(self.content_length) or "transfer-encoding" in self.headers

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query string.

        Raises:
            Refused: `bad_parameters` when it is malformed, or one is repeated.
        """
        if not self.query_string:
            return {}
        try:
            pairs = urllib.parse.parse_qsl(
                self.query_string,
                keep_blank_values=True,
                strict_parsing=True,
                errors="strict",
                max_num_fields=MAX_PARAMETERS,
            )
        except ValueError as error:
            raise Refused("bad_parameters", str(error), raw=self.query_string) from None
        parameters = dict(pairs)
        if len(parameters) != len(pairs):
            raise Refused("bad_parameters", "repeated", raw=self.query_string)
        return parameters

    @cached_property
    def peer(self) -> str:
        """The client's address, empty for a Unix socket; what a proxy says of it counts only when it is trusted."""
        client = self.scope.get("client")
        address = _plain(client[0]) if client else ""
        if "x-forwarded-for" not in self.headers or not self._trusted:
            return address
        for forwarded in reversed(",".join(self.headers.all("x-forwarded-for")).split(",")):
            hop = _plain(forwarded)
            if not hop or not _is_in(address, self._trusted):
                break
            address = hop
        return address

    async def receive(self) -> Message:
        self._asked = True
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        return message

    async def stream(self, limit: int) -> AsyncIterator[bytes]:
        """The pieces of the body.

        Raises:
            Refused: `body_too_large`, `body_incomplete`, `too_slow`.
        """
        if self.content_length is not None and self.content_length > limit:
            raise Refused("body_too_large", f"{self.content_length} bytes announced, limit {limit}")
        state = self.scope.setdefault("state", {})
        state[LIMIT_STATE] = limit  # the sizes and extensions of chunks count towards it
        try:
            async for piece in read_body(self.receive, limit):
                yield piece
        except Refused as refused:
            cut = state.get(CUT_STATE)
            if refused.code == "body_incomplete" and cut is not None:
                raise Refused(cut, refused.detail) from None
            raise

    async def body(self, limit: int) -> bytes:
        """The whole body; raises as `stream` does."""
        return b"".join([piece async for piece in self.stream(limit)])

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            if not self._complete:
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        elif not message.get("more_body", False) and not self._complete:
            await self._send({**message, "more_body": True})
            await self._drop_rest()
            message = {**message, "body": b""}
        await self._send(message)

    async def _drop_rest(self) -> None:
        if not self._asked and self.headers.get("expect").lower() == "100-continue":
            return  # it waits for our word before it sends anything
        end = self.received + MAX_LINGER
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_TIMEOUT):
                while not self._complete and self.received < end:
                    if (await self.receive())["type"] == "http.disconnect":
                        return


def parse_networks(texts: Iterable[str]) -> list[Network]:
    """Addresses and networks, such as `10.0.0.1` and `10.1.0.0/16`.

    Raises:
        ValueError: one is neither.
    """
    return [_network(text) for text in texts]


def _network(text: str) -> Network:
    """Of IPv4 within IPv6 the one of IPv4: requests have their addresses in that form."""
    network = ipaddress.ip_network(text, strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < IPV4_MAPPED:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - IPV4_MAPPED), strict=False)


@lru_cache(4096)
def _usual(address: str) -> str:
    """Proxies may put an IPv6 address into brackets, and add the port: Azure's Application Gateway does."""
    found = _FORWARDED.fullmatch(address.strip())
    try:
        return usual_address(next(filter(None, found.groups()))) if found else ""
    except ValueError:
        return ""


def _plain(address: str) -> str:
    """An address in its usual form, an IPv4 address inside an IPv6 one as itself; empty when it is none."""
    return _usual(address) if len(address) <= MAX_ADDRESS else ""


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    if not address:
        return False
    parsed = ipaddress.ip_address(address)
    return any(parsed in network for network in networks)
