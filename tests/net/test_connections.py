"""No address keeps others out: new connections have a limit and a deadline before any protocol code sees them."""

import asyncio
import socket
from contextlib import ExitStack

import pytest

from lae_monitor.net import connections
from lae_monitor.net.connections import RESERVED, Connections, peer_of
from lae_monitor.net.http import HttpLimits, Request, Route, Router, reply

PATIENCE = 60.0
FOREVER = 3600.0
HEAD = b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"


def answer_length(limit):
    async def answer(request: Request) -> None:
        await reply(request.send, 200, str(len(await request.body(limit))))

    return answer


async def ping(request: Request) -> None:
    await reply(request.send, 200, "pong\n")


APP = Router(
    [
        Route(path="/submit", methods={"POST": answer_length(10**9)}),
        Route(path="/limited", methods={"POST": answer_length(1000)}),
        Route(path="/ping", methods={"GET": ping}),
    ]
)


def connect(port, source="127.0.0.1", first=b""):
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=(source, 0))
    connection.sendall(first)
    if first == HEAD:
        assert connection.recv(65536).startswith(b"HTTP/1.1 100")  # its head was read
    return connection


def ask(port, source="127.0.0.1"):
    with connect(port, source, b"GET /ping HTTP/1.0\r\n\r\n") as connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def kept(port, stack):
    """A connection that has had its answer, and stays open."""
    connection = stack.enter_context(connect(port, first=b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"))
    answer = b""
    while not answer.endswith(b"pong\n"):
        answer += connection.recv(65536)
    return connection


def refused(limit):
    return connections.REFUSED.labels("http", limit)._value.get()


def with_server(serving, limits, client, **more):
    async def run():
        async with serving(APP, limits, **more) as port:
            return await asyncio.to_thread(client, port)

    return asyncio.run(run())


@pytest.mark.parametrize("limit", ["listener", "peer"])
def test_connections_beyond_a_limit_are_told_so_and_the_next_after_them_served(serving, limit, caplog):
    limits = HttpLimits(head=FOREVER, **{"listener": {"connections": 8}, "peer": {"new_of_peer": 8}}[limit])
    first = HEAD if limit == "listener" else b"POST /sub"  # a whole head, and half a one

    def client(port):
        with ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(connect(port, first=first))
            beyond, other = ask(port), ask(port, "127.0.0.2")
        while not (last := ask(port)).endswith(b"pong\n"):
            assert last.endswith(b"busy\n")
        return beyond, other

    before = refused(limit)
    beyond, other = with_server(serving, limits, client)
    assert beyond.startswith(b"HTTP/1.1 503")
    assert b"Retry-After" in beyond
    assert other.endswith(b"busy\n" if limit == "listener" else b"pong\n")
    assert refused(limit) > before
    assert sum("http: connection from 127.0.0.1 closed" in line for line in caplog.messages) == 1, "a line a minute"


def test_a_connection_whose_head_is_whole_no_longer_counts_for_its_address(serving):
    def client(port):
        with ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(connect(port, first=HEAD))
            return [ask(port) for _ in range(10)]

    answers = with_server(serving, HttpLimits(new_of_peer=2), client)
    assert all(answer.endswith(b"pong\n") for answer in answers)


def test_a_trusted_proxy_has_no_limit_of_its_own(serving):
    def client(port):
        with ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(connect(port))
                stack.enter_context(connect(port, "127.0.0.2"))
            return ask(port), ask(port, "127.0.0.2")

    limits = HttpLimits(head=FOREVER, new_of_peer=3)
    proxy, other = with_server(serving, limits, client, trusted_proxies=["127.0.0.1"])
    assert proxy.endswith(b"pong\n")
    assert other.endswith(b"busy\n")


def test_kept_connections_without_a_request_make_room_the_oldest_first(serving):
    def client(port):
        with ExitStack() as stack:
            first, *others = [kept(port, stack) for _ in range(5)]
            answer, ended = ask(port), first.recv(1)
            others[-1].sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            return answer, ended, others[-1].recv(65536)

    answer, ended, last = with_server(serving, HttpLimits(keep_alive=FOREVER, connections=5), client)
    assert answer.endswith(b"pong\n")
    assert ended == b""
    assert last.endswith(b"pong\n")


def test_idle_connections_are_gone_at_the_deadline_and_others_are_served_meanwhile(serving):
    def client(port):
        with ExitStack() as stack:
            idle = [stack.enter_context(connect(port)) for _ in range(100)]
            meanwhile = ask(port)
            return meanwhile, [connection.recv(65536) for connection in idle]

    before = refused("deadline")
    meanwhile, ends = with_server(serving, HttpLimits(head=1.0), client)
    assert meanwhile.endswith(b"pong\n")
    assert all(end.startswith(b"HTTP/1.1 408") for end in ends)
    assert refused("deadline") == before + 100


CHUNKED = b"POST /limited HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "piece", "status"),
    [
        (b"", b"1;" + b"x" * 40_000 + b"\r\na\r\n", 413),
        (b"1;", b"x" * 40_000, 413),
        (b"", b"0" * 40_000, 413),
        (b"1\r\na\r\n0\r\n", b"a: " + b"x" * 10_000 + b"\r\n", 431),
        (b"1\r\na\r\n0\r\na: ", b"x" * 40_000, 413),
    ],
    ids=["extensions", "one extension", "zeros", "trailers", "one trailer"],
)
def test_what_stands_around_chunks_counts_towards_the_body(serving, first, piece, status):
    async def run():
        async with serving(APP, HttpLimits(idle=FOREVER, body=FOREVER)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(CHUNKED + first)
            answer = asyncio.create_task(reader.read())
            while not answer.done():
                writer.write(piece)
                await asyncio.wait({answer}, timeout=0.01)
            writer.close()
            return await answer

    assert asyncio.run(run()).startswith(b"HTTP/1.1 %d" % status)


def test_small_chunks_are_no_reason_to_refuse(serving, exchange):
    async def run():
        async with serving(APP) as port:
            return await exchange(
                port, CHUNKED.replace(b"limited", b"submit"), *[b"1\r\na\r\n" * 500] * 60, b"0\r\n\r\n", half_close=True
            )

    assert asyncio.run(run()).endswith(b"30000")


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("", ""),
    ],
)
def test_a_peer_is_an_ipv4_address_or_a_network_of_64_bits(address, peer):
    assert peer_of(address) == peer


def test_limits_stay_below_the_descriptors_that_there_are(monkeypatch):
    monkeypatch.setattr(connections, "descriptors", lambda: 1024)
    found = Connections("x")
    assert found.most == 1024 - RESERVED
    assert found.new_of_peer == found.most // connections.SHARE_OF_PEER
    monkeypatch.setattr(connections, "descriptors", lambda: 100)
    assert Connections("x").most == 50


def test_the_deadline_stands_still_while_we_are_too_busy_to_look():
    cut = []

    async def run():
        found = Connections("x", timeout=1.0)
        found.begin("10.0.0.1", lambda: cut.append(1))
        loop = asyncio.get_running_loop()
        now = loop.time
        for _ in range(5):  # each look comes three seconds late
            loop.time = lambda: now() + 3.0
            found._tick()
            loop.time = now
            found._looked = now()
        assert cut == []
        for _ in range(20):
            found._looked = now() - 0.1
            found._tick()
        assert cut == [1]
        found._timer = None

    asyncio.run(run())
