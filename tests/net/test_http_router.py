"""Whatever a handler does, the client gets an answer with an exact length, and the process goes on."""

import asyncio
import json
import logging

import pytest

from lae_monitor.core.reasons import REASONS
from lae_monitor.core.refusals import Refused
from lae_monitor.net.http import Request, Route, Router, operations, reply


async def hello(request: Request) -> None:
    await reply(request.send, 200, f"{request.method} {request.path}\n")


async def refusing(request: Request) -> None:
    raise Refused(request.query["code"], "secret detail")


async def failing(request: Request) -> None:
    raise RuntimeError("a bug")


async def whoami(request: Request) -> None:
    await reply(request.send, 200, request.peer)


async def parameters(request: Request) -> None:
    await reply(request.send, 200, json.dumps(request.query), "application/json")


async def echo(request: Request) -> None:
    await reply(request.send, 200, await request.body(1000))


APP = Router(
    [
        Route(path="/hello", methods={"GET": hello}),
        Route(path="/refuse", methods={"GET": refusing}),
        Route(path="/fail", methods={"GET": failing}),
        Route(path="/whoami", methods={"GET": whoami}),
        Route(path="/parameters", methods={"GET": parameters}),
        Route(path="/echo", methods={"POST": echo}),
        Route(path="/tree/", methods={"GET": hello}, prefix=True),
        Route(path="/strange", methods={"POST": echo}, wrong_method="sonar_bad_method"),
    ],
    trusted_proxies=["127.0.0.1", "10.1.0.0/16"],
)


def ask(serving, exchange, *requests: str) -> list[tuple[int, dict[str, str], str]]:
    """Status, headers and body of the answer to each request, given as its first lines."""

    async def run():
        async with serving(APP) as port:
            answers = []
            for request in requests:
                head, _, body = request.partition("\n\n")
                lines = [*head.split("\n"), "Host: x", "Connection: close"]
                if body:
                    lines.append(f"Content-Length: {len(body)}")
                answers.append(parse(await exchange(port, ("\r\n".join(lines) + "\r\n\r\n" + body).encode())))
            return answers

    return asyncio.run(run())


def parse(answer: bytes) -> tuple[int, dict[str, str], str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert "transfer-encoding" not in headers
    if not first.startswith("HTTP/1.1 200") or body:
        assert int(headers["content-length"]) == len(body)
    return int(first.split()[1]), headers, body.decode()


def test_exact_paths_prefixes_and_head(serving, exchange):
    found, deep, head = ask(serving, exchange, "GET /hello HTTP/1.1", "GET /tree/a/b HTTP/1.1", "HEAD /hello HTTP/1.1")
    assert found[0] == 200
    assert found[2] == "GET /hello\n"
    assert deep[2] == "GET /tree/a/b\n"
    assert (head[0], head[1]["content-length"], head[2]) == (200, str(len("HEAD /hello\n")), "")


def test_unknown_addresses_and_methods_are_refused_with_their_code(serving, exchange):
    missing, method, strange = ask(
        serving, exchange, "GET /hello/ HTTP/1.1", "DELETE /hello HTTP/1.1", "GET /strange HTTP/1.1"
    )
    assert (missing[0], missing[2]) == (404, "not_found\n")
    assert (method[0], method[2], method[1]["allow"]) == (405, "bad_method\n", "GET")
    assert (strange[0], strange[2]) == (403, "sonar_bad_method\n")


@pytest.mark.parametrize("code", ["no_space", "body_too_large", "malformed_no_boundary"])
def test_a_refusal_is_answered_with_its_status_and_code_and_no_detail(serving, exchange, code):
    ((status, headers, body),) = ask(serving, exchange, f"GET /refuse?code={code} HTTP/1.1")
    assert (status, body) == (REASONS[code].status, f"{code}\n")
    assert ("retry-after" in headers) == (status == 503)


def test_a_bug_is_answered_with_500_logged_and_survived(serving, exchange, caplog):
    with caplog.at_level(logging.ERROR, "lae_monitor.http"):
        broken, after = ask(serving, exchange, "GET /fail HTTP/1.1", "GET /hello HTTP/1.1")
    assert (broken[0], broken[2]) == (500, "internal_error\n")
    assert after[0] == 200
    assert "a bug" in caplog.text


def test_forwarded_addresses_count_only_along_trusted_proxies(serving, exchange):
    def request(*forwarded):
        return "\n".join(["GET /whoami HTTP/1.1", *(f"X-Forwarded-For: {value}" for value in forwarded)])

    answers = ask(
        serving,
        exchange,
        request(),
        request("192.0.2.7"),
        request("192.0.2.7, 10.1.2.3"),
        request("192.0.2.66", "192.0.2.7"),
        request("6.6.6.6, 192.0.2.7, 10.1.2.3"),
        request("nonsense"),
        request("::ffff:192.0.2.9"),
        request("192.0.2.10:4711"),
        request("[2001:DB8::7]:443"),
        request("[2001:db8::8%eth0]"),
        request("2001:db8::9"),
        request("192.0.2.11:x"),
        request("[192.0.2.12"),
    )
    assert [body for _, _, body in answers] == [
        "127.0.0.1", "192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.7", "127.0.0.1", "192.0.2.9",
        "192.0.2.10", "2001:db8::7", "2001:db8::8", "2001:db8::9", "127.0.0.1", "127.0.0.1",
    ]  # fmt: skip


@pytest.mark.parametrize("written", ["127.0.0.0/8", "::ffff:127.0.0.1", "::ffff:7f00:0/104", "::ffff:127.0.0.1/128"])
def test_a_proxy_is_trusted_however_its_address_is_written(serving, exchange, written):
    async def run():
        async with serving(Router([Route(path="/whoami", methods={"GET": whoami})], trusted_proxies=[written])) as port:
            return await exchange(port, b"GET /whoami HTTP/1.0\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n")

    assert asyncio.run(run()).endswith(b"192.0.2.7")


def test_without_trusted_proxies_nobody_is_believed(serving, exchange):
    async def run():
        async with serving(Router([Route(path="/whoami", methods={"GET": whoami})])) as port:
            return await exchange(port, b"GET /whoami HTTP/1.0\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")

    assert asyncio.run(run()).endswith(b"127.0.0.1")


def test_query_strings_are_parsed_strictly(serving, exchange):
    good, repeated, broken, empty = ask(
        serving,
        exchange,
        "GET /parameters?a=1&b=%C3%A9&c= HTTP/1.1",
        "GET /parameters?a=1&a=2 HTTP/1.1",
        "GET /parameters?a=%FF HTTP/1.1",
        "GET /parameters HTTP/1.1",
    )
    assert json.loads(good[2]) == {"a": "1", "b": "é", "c": ""}
    assert (repeated[0], repeated[2]) == (400, "bad_parameters\n")
    assert broken[0] == 400
    assert json.loads(empty[2]) == {}


def test_a_body_beyond_the_limit_is_refused_by_its_length_and_by_its_bytes(serving, exchange):
    announced, fits = ask(serving, exchange, "POST /echo HTTP/1.1\n\n" + "x" * 1001, "POST /echo HTTP/1.1\n\nxyz")
    assert (announced[0], announced[2]) == (413, "body_too_large\n")
    assert (fits[0], fits[2]) == (200, "xyz")

    async def run():
        async with serving(APP) as port:
            head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            return await exchange(port, head, (b"3e8\r\n" + b"x" * 1000 + b"\r\n") * 2 + b"0\r\n\r\n")

    status, _, body = parse(asyncio.run(run()))
    assert (status, body) == (413, "body_too_large\n")


class SickArchive:
    def __init__(self, *ages):
        self.ages = ages

    def health(self):
        return [
            {"root": f"/r{n}", "health": "failing", "error": "EIO", "probe_age": age} for n, age in enumerate(self.ages)
        ]


@pytest.mark.parametrize(("ages", "status"), [((0.1,), 200), ((None, 14.0), 200), ((15.5,), 503), ((None, 99), 503)])
def test_the_heartbeat_tells_whether_a_root_was_written_and_synced_lately(serving, exchange, ages, status):
    async def run():
        async with serving(Router(operations(SickArchive(*ages), "1.2.3"))) as port:
            return [
                parse(await exchange(port, f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()))
                for path in ("/__heartbeat__", "/__lbheartbeat__", "/ping", "/__version__", "/metrics")
            ]

    heart, balancer, ping, version, metrics = asyncio.run(run())
    answer = json.loads(heart[2])
    assert heart[0] == status
    assert [root["root"] for root in answer["roots"]] == [f"/r{n}" for n in range(len(ages))]
    assert [error["name"] for error in answer["errors"]] == (["/r0", "/r1"][: len(ages)] if status == 503 else [])
    assert all("EIO" in error["msg"] for error in answer["errors"])
    assert balancer[0] == ping[0] == 200
    assert json.loads(version[2])["version"] == "1.2.3"
    assert "lae_http_requests_total" in metrics[2]
