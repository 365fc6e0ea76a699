"""Until there is a login: nobody but this host gets an answer, no other web site changes anything, and every answer is
fenced in by its headers."""

import asyncio

import pytest

from lae_monitor.net.http import Router
from lae_monitor.service.control import control
from lae_monitor.web import Guard

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
TARGETS = ["/", "/api/search?q=x", "/static/style.css", "/nowhere", "/search.json?q=levle:x"]


@pytest.mark.parametrize(
    "client", ["10.0.0.7", "192.168.1.1", "::ffff:10.0.0.7", "2001:db8::1", "0.0.0.0", "", "testclient", None]
)
def test_a_peer_that_is_not_on_loopback_is_refused(site, client):
    for target in TARGETS:
        answer = site.ask(target, client=client)
        assert answer.status == 403, target
    answer = site.ask("/api/hosts", client=client)
    assert answer.json()["error"] == "not_loopback"
    assert "storage" not in site.ask("/", client=client).text


@pytest.mark.parametrize("client", ["127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1"])
def test_every_loopback_address_is_answered(site, client):
    assert site.ask("/search", client=client).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8642", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "", "127.0.0.1:x", "[::1", "a b", None],
)  # fmt: skip
def test_a_name_that_is_none_of_loopback_is_refused(site, host):
    answer = site.ask("/api/hosts", host=host)
    assert (answer.status, answer.json()["error"]) == (403, "not_loopback")


def test_two_host_headers_are_refused(site):
    assert site.ask("/", headers=[("host", "evil.example")]).status == 403
    assert site.ask("/", headers=[("host", "127.0.0.1")]).status == 403


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:8642", "[::1]:8642", "[::1]", "127.8.8.8"]
)
def test_every_name_of_loopback_is_answered(site, host):
    assert site.ask("/search", host=host).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("origin", "http://evil.example")], [("origin", "null")], [("origin", "https://127.0.0.1:8642")],
        [("origin", "http://127.0.0.1:9999")], [("sec-fetch-site", "cross-site")], [("sec-fetch-site", "same-site")],
    ],
)  # fmt: skip
def test_another_site_cannot_change_anything(site, headers):
    before = len(site.retried)
    for target in ("/report/known/retry", "/api/reports/known/retry"):
        answer = site.ask(target, "POST", headers=headers)
        assert answer.status == 403
    assert answer.json()["error"] == "cross_site"
    assert len(site.retried) == before
    assert site.ask("/search", headers=headers).status == 200  # a link to us is fine


def test_our_own_page_and_programs_can(site):
    for headers in (
        [],
        [("origin", "http://127.0.0.1:8642"), ("sec-fetch-site", "same-origin")],
        [("sec-fetch-site", "none")],
    ):
        assert site.ask("/api/reports/known/retry", "POST", headers=headers).status == 200


def test_every_answer_is_fenced_in(site):
    answers = [site.ask(target) for target in TARGETS] + [site.ask("/", client="10.0.0.7"), site.ask("/", "POST")]
    crash = site.get("/api/search", q="kind:crash cluster:lae")["rows"][0]["id"]
    answers.append(site.ask(f"/report/{crash}/original"))
    assert {answer.status for answer in answers} == {200, 400, 403, 404, 405}
    for answer in answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert answer.headers["cache-control"] in {"no-store", "max-age=300"}
    assert answers[0].headers["cache-control"] == "no-store"


@pytest.mark.parametrize("target", ["/api/store", "/api/store/rebuild"])
def test_what_the_command_line_asks_for_is_kept_from_other_sites_too(site, target):
    """Nothing gets so far that a mover is needed."""
    commands = Guard(Router(control(None, None, asyncio.Event())), "lae")
    ours = [("x-lae-monitor", "1")]
    method = "POST" if target.endswith("rebuild") else "GET"
    assert site.ask(target, method, app=commands, host="evil.example", headers=ours).status == 403
    assert site.ask(target, method, app=commands, client="10.0.0.7", headers=ours).status == 403
    assert site.ask("/api/store/rebuild", "POST", app=commands, headers=[]).status == 401
    foreign = [*ours, ("origin", "http://evil.example")]
    assert site.ask("/api/store/rebuild", "POST", app=commands, headers=foreign).status == 403
