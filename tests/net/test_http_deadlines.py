"""A slow client is cut off, and costs nobody else anything."""

import asyncio
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lae_monitor.core.refusals import Refused
from lae_monitor.net.countdown import Countdown
from lae_monitor.net.http import HttpLimits, Request, Route, Router, operations, reply

FOREVER = 3600.0
ROOT = Path(__file__).parents[2]


class NoArchive:
    def health(self):
        return []


class Listener:
    """An application that reads bodies and remembers why it could not."""

    def __init__(self):
        self.refusals = []
        self.pause = None

    async def submit(self, request: Request) -> None:
        size = 0
        try:
            async for piece in request.stream(10**9):
                size += len(piece)
                if self.pause is not None:
                    await self.pause()
        except Refused as refused:
            self.refusals.append(refused.code)
            raise
        await reply(request.send, 200, str(size))

    async def limited(self, request: Request) -> None:
        await reply(request.send, 200, str(len(await request.body(1000))))

    def app(self):
        routes = [
            Route(path="/submit", methods={"POST": self.submit}),
            Route(path="/limited", methods={"POST": self.limited}),
        ]
        return Router([*routes, *operations(NoArchive(), "1")])


HEAD = b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"


async def drip(port: int, first: bytes, piece: bytes) -> bytes:
    """Sends `piece` again and again until the server closes; returns what it said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)
    answer = asyncio.create_task(reader.read())
    try:
        while not answer.done():
            writer.write(piece)
            await asyncio.wait({answer}, timeout=0.02)
    finally:
        writer.close()
    return await answer


@pytest.mark.parametrize(
    ("limits", "first", "piece"),
    [
        (HttpLimits(head=0.5, idle=FOREVER, body=FOREVER), b"", b""),
        (HttpLimits(head=0.5, idle=FOREVER, body=FOREVER), b"GET / HTTP/1.1\r\nX: ", b"x"),
        (HttpLimits(head=0.5, idle=FOREVER, body=FOREVER), b"", b"\r\n"),
        (HttpLimits(head=FOREVER, idle=0.5, body=FOREVER), HEAD + b"x", b""),
        (HttpLimits(head=FOREVER, idle=FOREVER, body=0.5), HEAD, b"x"),
    ],
    ids=["silent", "dripped head", "dripped blank lines", "stalled body", "dripped body"],
)
def test_a_slow_client_is_told_408_and_cut_off_while_others_are_answered(serving, exchange, limits, first, piece):
    listener = Listener()

    async def run():
        async with serving(listener.app(), limits) as port:
            slow = asyncio.create_task(drip(port, first, piece))
            while not slow.done():
                answer = await exchange(port, b"GET /__lbheartbeat__ HTTP/1.0\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 200")
            return await slow

    answer = asyncio.run(run())
    assert answer.startswith(b"HTTP/1.1 408")
    assert answer.endswith(b"\r\n\r\ntoo_slow\n")
    assert listener.refusals == (["too_slow"] if first.startswith(b"POST") else [])


def test_a_client_that_goes_on_sending_after_it_was_cut_off_is_not_reset(serving):
    """A reset could overtake the answer."""

    def client(port):
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            connection.sendall(HEAD)
            connection.recv(1, socket.MSG_PEEK)  # the answer is here
            for _ in range(5):
                connection.sendall(b"x" * 1000)
                time.sleep(0.02)  # a reset needs a moment to come back
            return b"".join(iter(lambda: connection.recv(65536), b""))

    async def run():
        async with serving(Listener().app(), HttpLimits(idle=0.3)) as port:
            return await in_thread(lambda: client(port))

    assert asyncio.run(run()).startswith(b"HTTP/1.1 408")


def test_a_second_request_on_a_kept_connection_has_a_deadline_too(serving):
    async def run():
        async with serving(Listener().app(), HttpLimits(head=0.5, keep_alive=FOREVER)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            first = await reader.readuntil(b"pong\n")
            writer.write(b"GET /pi")
            rest = await reader.read()
            writer.close()
            return first, rest

    first, rest = asyncio.run(run())
    assert first.startswith(b"HTTP/1.1 200")
    assert rest.startswith(b"HTTP/1.1 408")


def test_a_connection_without_requests_is_closed(serving):
    async def run():
        async with serving(Listener().app(), HttpLimits(head=FOREVER, keep_alive=0.2)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await reader.read()
            writer.close()
            return answer

    assert asyncio.run(run()).endswith(b"pong\n")


def test_the_clocks_of_a_body_stand_still_while_we_do_not_read(serving, exchange):
    """The application thinks longer than body and idle allow; the client waits for us and must not be blamed."""
    listener = Listener()
    thinking = []

    async def think():
        if not thinking:
            thinking.append(True)
            await asyncio.sleep(4)

    listener.pause = think
    size = 4_000_000

    async def run():
        async with serving(listener.app(), HttpLimits(idle=3, body=3)) as port:
            head = f"POST /submit HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
            return await exchange(port, head.encode(), b"x" * size)

    answer = asyncio.run(run())
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(str(size).encode())


async def paced(port: int, pieces: int, piece: bytes, pause: float) -> bytes:
    """Sends a body of `pieces` that come `pause` seconds apart, as long as the server takes them; returns its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /submit HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {pieces * len(piece)}\r\n\r\n"
    writer.write(head.encode())
    answer = asyncio.create_task(reader.read())
    for _ in range(pieces):
        if answer.done():
            break
        writer.write(piece)
        await asyncio.wait({answer}, timeout=pause)
    try:
        return await asyncio.wait_for(answer, 60)
    finally:
        writer.close()


SLOWER = HttpLimits(head=FOREVER, idle=FOREVER, body=FOREVER, rate_grace=0.3, min_rate=1000)


def test_a_body_below_the_least_rate_is_cut_though_every_piece_comes_in_time(serving, exchange):
    listener = Listener()

    async def run():
        async with serving(listener.app(), SLOWER) as port:
            slow = asyncio.create_task(paced(port, 1_500, b"x", 0.02))  # 50 bytes a second at most
            while not slow.done():
                assert (await exchange(port, b"GET /__lbheartbeat__ HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200")
            return await slow

    answer = asyncio.run(run())
    assert answer.startswith(b"HTTP/1.1 408")
    assert answer.endswith(b"\r\n\r\ntoo_slow\n")
    assert listener.refusals == ["too_slow"]


@pytest.mark.parametrize(
    ("limits", "pieces", "piece", "pause"),
    [
        (SLOWER, 40, b"x" * 100_000, 0.02),  # far above the rate, even if the machine hangs for half a minute
        (HttpLimits(rate_grace=FOREVER, min_rate=10**6), 40, b"x", 0.02),  # its beginning may be as slow as it likes
        (HttpLimits(rate_grace=0.1, min_rate=0), 40, b"x", 0.02),
    ],
    ids=["keeps the rate", "within the grace", "no rate is asked for"],
)
def test_a_body_that_is_fast_enough_is_taken(serving, limits, pieces, piece, pause):
    async def run():
        async with serving(Listener().app(), limits) as port:
            return await paced(port, pieces, piece, pause)

    answer = asyncio.run(run())
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(str(pieces * len(piece)).encode())


def test_a_body_is_not_too_slow_while_it_waits_for_us(serving, exchange):
    """We read nothing for three seconds: by the clock on the wall the body is far below the rate, by ours it is not."""
    listener = Listener()
    thinking = []

    async def think():
        if not thinking:
            thinking.append(True)
            await asyncio.sleep(3)

    listener.pause = think
    size = 4_000_000
    limits = HttpLimits(rate_grace=2, min_rate=400_000)

    async def run():
        async with serving(listener.app(), limits) as port:
            head = f"POST /submit HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
            return await exchange(port, head.encode(), b"x" * size)

    answer = asyncio.run(run())
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(str(size).encode())


class FakeLoop:
    """A loop whose time is ours."""

    def __init__(self):
        self.now = 0.0
        self.timers = []

    def time(self):
        return self.now

    def call_later(self, delay, callback):
        timer = FakeTimer(self.now + delay, callback)
        self.timers.append(timer)
        return timer

    def advance(self, seconds):
        self.now += seconds
        for timer in [timer for timer in self.timers if timer.due <= self.now]:
            self.timers.remove(timer)
            timer.run()


class FakeTimer:
    def __init__(self, due, callback):
        self.due, self.callback = due, callback

    def cancel(self):
        self.callback = lambda: None

    def run(self):
        self.callback()


def test_a_countdown_counts_only_while_it_runs():
    loop, rung = FakeLoop(), []
    clock = Countdown(loop, lambda: rung.append(loop.now))
    clock.begin(10)
    loop.advance(6)
    clock.pause()
    loop.advance(1000)
    clock.resume()
    clock.resume()
    loop.advance(3.9)
    assert not rung
    loop.advance(0.2)
    assert len(rung) == 1
    assert not clock.armed
    clock.resume()
    loop.advance(1000)
    assert len(rung) == 1
    clock.begin(5)
    clock.end()
    loop.advance(1000)
    assert len(rung) == 1


@pytest.mark.parametrize(
    "head",
    [
        b"GET /ping HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"GET /ping HTTP/1.1\r\nX: " + b"y" * 100_000,
        b"GET /" + b"p" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /submit HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 20_000,
    ],
    ids=["many headers", "endless header", "long path", "endless trailers"],
)
def test_a_head_beyond_the_limit_is_refused(serving, exchange, head):
    async def run():
        async with serving(Listener().app()) as port:
            return await exchange(port, head)

    assert asyncio.run(run()).startswith(b"HTTP/1.1 431")


def test_http_1_0_may_send_chunks_and_is_closed_after_the_answer(serving, exchange):
    async def run():
        async with serving(Listener().app()) as port:
            head = b"POST /submit HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"
            return await exchange(port, head, b"3\r\nabc\r\n", b"4\r\ndefg\r\n0\r\n\r\n")

    answer = asyncio.run(run())
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n7")
    assert b"chunked" not in answer.lower()


def test_a_client_that_ends_its_side_after_the_request_still_gets_the_answer(serving, exchange):
    async def run():
        async with serving(Listener().app()) as port:
            head = b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Length: "
            whole = await exchange(port, head + b"3\r\n\r\nabc", half_close=True)
            cut = await exchange(port, head + b"4\r\n\r\nabc", half_close=True)
            return whole, cut

    whole, cut = asyncio.run(run())
    assert whole.startswith(b"HTTP/1.1 200")
    assert cut.startswith(b"HTTP/1.1 400")
    assert cut.endswith(b"body_incomplete\n")


def test_an_upload_that_ends_early_is_incomplete_for_the_application(serving):
    listener = Listener()

    async def run():
        async with serving(listener.app()) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + b"x" * 1000)
            await writer.drain()
            writer.transport.abort()
            while not listener.refusals:
                await asyncio.sleep(0.01)

    asyncio.run(run())
    assert listener.refusals == ["body_incomplete"]


def test_garbage_is_answered_with_400(serving, exchange):
    async def run():
        async with serving(Listener().app()) as port:
            return [
                await exchange(port, b"\x16\x03\x01 is no HTTP\r\n\r\n"),
                await exchange(port, b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n"),
                await exchange(
                    port, b"POST /submit HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                ),
            ]

    for answer in asyncio.run(run()):
        assert answer.startswith(b"HTTP/1.1 400")


def in_thread(blocking):
    """The result of a blocking client, run beside the loop."""
    return asyncio.get_running_loop().run_in_executor(None, blocking)


@pytest.mark.parametrize("size", [2_000, 30_000_000])
def test_a_client_that_writes_its_whole_body_before_it_reads_sees_why_it_was_refused(serving, size):
    def client(port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/limited", body=b"x" * size)
        answer = connection.getresponse()
        result = answer.status, answer.read(), answer.getheader("connection")
        connection.close()
        return result

    async def run():
        async with serving(Listener().app()) as port:
            return await in_thread(lambda: client(port))

    assert asyncio.run(run()) == (413, b"body_too_large\n", "close")


def test_a_client_that_asks_first_is_refused_before_it_sends(serving, exchange):
    async def run():
        async with serving(Listener().app()) as port:
            head = b"POST /limited HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
            refused = await exchange(port, head % 10**7)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head % 3)
            first = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"abc")
            second = await reader.readuntil(b"\r\n\r\n3")
            writer.close()
            return refused, first, second

    refused, first, second = asyncio.run(run())
    assert refused.startswith(b"HTTP/1.1 413")
    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert second.startswith(b"HTTP/1.1 200")


def test_stopping_finishes_what_has_begun_and_takes_nothing_new(serving):
    async def run():
        async with serving(Listener().app()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
            await writer.drain()
            idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
            idle_writer.write(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            await idle_reader.readuntil(b"pong\n")

            async def finish():
                assert await idle_reader.read() == b""  # the server has begun to stop
                writer.write(b"def")
                return await reader.read()

            finishing = asyncio.create_task(finish())
        answer = await finishing
        idle_writer.close()
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        return answer

    answer = asyncio.run(run())
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"6")


def test_what_does_not_finish_in_time_is_told_so_when_the_process_stops(serving):
    async def run():
        async with serving(Listener().app(), HttpLimits(drain=0.3)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /submit HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
            await writer.drain()
            idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
            idle_writer.write(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            await idle_reader.readuntil(b"pong\n")
            answer = asyncio.create_task(reader.read())
        result = await answer
        writer.close()
        idle_writer.close()
        return result

    answer = asyncio.run(run())
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"shutting_down" in answer


ACTIVATED = """
import asyncio, os, signal
from lae_monitor.net.http import Request, Route, Router, reply, serve
async def ping(request): await reply(request.send, 200, "from the passed socket")
async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await serve(Router([Route(path="/", methods={"GET": ping})]), "127.0.0.1", 1, stop=stop, ready=lambda url: print(url, flush=True))
os.environ["LISTEN_PID"] = str(os.getpid())
asyncio.run(main())
"""


def test_a_socket_that_systemd_passed_is_used_and_sigterm_ends_the_process_cleanly():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        environment = {**os.environ, "LISTEN_FDS": "1", "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, "-c", ACTIVATED],
            stdout=subprocess.PIPE,
            env=environment,
            pass_fds=[3],
            preexec_fn=lambda: os.dup2(listener.fileno(), 3, inheritable=True),  # noqa: PLW1509
        )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        assert process.stdout.readline().decode().strip() == f"http://127.0.0.1:{port}"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"from the passed socket"
        connection.close()
        process.terminate()
        assert process.wait(60) == 0
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


def test_an_address_in_use_is_an_error_that_names_it(serving):
    async def run():
        async with serving(Listener().app()) as port:
            from lae_monitor.net.http import serve

            with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
                await serve(Listener().app(), "127.0.0.1", port, stop=asyncio.Event(), ready=print)

    asyncio.run(run())
