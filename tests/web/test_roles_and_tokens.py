"""Whom the kernel does not name as root or us needs a token: a viewer reads, an operator changes, a feed's token reads feeds."""

import asyncio
import base64
import itertools

import pytest

from lae_monitor.net.http import Access, Router
from lae_monitor.net.passwords import hash_password
from lae_monitor.service.control import control
from lae_monitor.web import Guard
from lae_monitor.web.api import api_routes
from lae_monitor.web.pages import page_routes

TOKENS = {"feed": "feed-token", "viewer": "viewer-token", "operator": "operator-token"}
OUTSIDE = {"/static/style.css"}


@pytest.fixture
def credentials(tmp_path):
    folder = tmp_path / "credentials"
    (folder / "web").mkdir(parents=True)
    lines = [f"{role}:{hash_password(token)}\n" for role, token in TOKENS.items()]
    (folder / "web" / "tokens.txt").write_text("# made\n" + "".join(lines))
    return folder


@pytest.fixture
def app(site, credentials):
    """The application as `serve` runs it; these requests come by no connection, so that the kernel says nothing of them."""
    return site.make_app(site.store, Access(credentials))


def bearer(role: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {TOKENS[role]}")]


def addresses() -> list[tuple[str, str]]:
    """Every address with its method; what stands in braces is something."""
    found = []
    for route in (*api_routes(None), *page_routes(None)):
        path = route.path.replace("{id:path}", "x").replace("{id}", "x").replace("{act}", "note")
        path = path.replace("{cluster}", "lae").replace("{host}", "h")
        found.append((path, "POST" if "POST" in route.methods else "GET"))
    return found


def test_every_address_is_closed_to_strangers_and_says_what_to_do(site, app):
    for path, method in addresses():
        answer = site.ask(path, method, app=app)
        assert answer.status == 401, path
        assert answer.headers["www-authenticate"].endswith('realm="lae-monitor"')
        if path.startswith("/api/") or path.endswith((".json", ".atom")):
            assert answer.json()["error"] == "needs_token", path
        else:
            assert "lae-monitor token new web" in answer.text, path
    assert site.ask("/static/style.css", app=app).status == 200


def test_reading_takes_a_viewer_and_changing_an_operator(site, app):
    for path, method in addresses():
        answers = {role: site.ask(path, method, app=app, headers=bearer(role)) for role in TOKENS}
        allowed = {role for role, answer in answers.items() if answer.status not in {401, 403}}
        wanted = {"operator"} if method == "POST" else {"viewer", "operator"}
        if path.endswith(".atom"):
            wanted = set(TOKENS)
        assert allowed == wanted, path
        assert {answers[role].status for role in set(TOKENS) - wanted} <= {403}, path
    answer = site.ask("/api/reports/known/retry", "POST", app=app, headers=bearer("viewer"))
    assert (answer.status, answer.json()["error"]) == (403, "role_too_low")
    assert "--role operator" in site.ask("/report/known/retry", "POST", app=app, headers=bearer("viewer")).text


def test_control_takes_an_operator(site, credentials):
    commands = Guard(Router(control(None, None, asyncio.Event())), "lae", Access(credentials))
    ours = [("x-lae-monitor", "1")]
    for headers, status in ((ours, 401), ([*ours, *bearer("feed")], 403), ([*ours, *bearer("viewer")], 403)):
        assert site.ask("/api/store/rebuild", "POST", app=commands, headers=headers).status == status
    assert site.ask("/api/store/rebuild", app=commands, headers=bearer("viewer")).status == 200
    assert site.ask("/api/store/rebuild", app=commands).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", "Bearer viewer-token")], [("authorization", "bearer  viewer-token")],
        [("auth-token", "viewer-token")],
        [("authorization", "Basic " + base64.b64encode(b"anybody:viewer-token").decode())],
        [("auth-token", "viewer-token"), ("authorization", "Negotiate of-the-proxy")],
    ],
)  # fmt: skip
def test_ways_to_show_a_token(site, app, headers):
    assert site.ask("/api/hosts", app=app, headers=headers).status == 200
    crash = site.get("/api/search", q="kind:crash cluster:lae")["rows"][0]["id"]
    assert site.ask(f"/api/RawCrash/?crash_id={crash}", app=app, headers=headers).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", "Bearer viewer-toke")], [("authorization", "Bearer ")], [("authorization", "Bearer")],
        [("authorization", "Bearer viewer:viewer-token")], [("authorization", "viewer-token")],
        [("authorization", "Basic viewer-token")], [("authorization", "Basic " + "A" * 9000)],
        [("authorization", "Bearer viewer-token"), ("authorization", "Bearer viewer-token")],
        [("auth-token", "")], [("auth-token", "x"), ("auth-token", "viewer-token")], [("auth-token", "x" * 10_000)],
        [("authorization", "Bearer caf\xe9")],
    ],
)  # fmt: skip
def test_what_is_no_token_of_ours(site, app, headers):
    answer = site.ask("/api/hosts", app=app, headers=headers)
    assert (answer.status, answer.json()["error"]) == (401, "bad_token")


def test_a_token_in_the_url_is_for_feeds_only_and_is_seen_by_nothing_else(site, app):
    for role, token in TOKENS.items():
        plain = site.ask("/incidents.atom?cluster=lae&level=error", app=app, headers=bearer(role))
        for query in (f"cluster=lae&token={token}&level=error", f"token={token}&cluster=lae&level=error"):
            answer = site.ask(f"/incidents.atom?{query}", app=app)
            assert answer.status == 200
            assert answer.body == plain.body
            assert token not in answer.text
            assert answer.headers["referrer-policy"] == "no-referrer"
        for path in ("/incidents.json", "/api/incidents", "/incidents", "/", "/search"):
            answer = site.ask(f"{path}?token={token}", app=app)
            assert answer.status == 401, path
            assert token not in answer.text
    assert site.ask("/incidents.atom?token=wrong", app=app).json()["error"] == "bad_token"
    assert site.ask(f"/incidents.atom?token=x&token={TOKENS['feed']}", app=app).status == 401
    assert site.ask("/incidents.atom?token=", app=app).json()["error"] == "needs_token"


def test_tokens_are_changed_while_it_runs(site, app, credentials):
    file = credentials / "web" / "tokens.txt"
    assert site.ask("/api/hosts", app=app, headers=bearer("viewer")).status == 200
    others = itertools.chain.from_iterable([f"viewer:{hash_password('second')}\n"] for _ in range(2))
    file.write_text("".join(others))
    assert site.ask("/api/hosts", app=app, headers=bearer("viewer")).status == 401
    assert site.ask("/api/hosts", app=app, headers=[("authorization", "Bearer second")]).status == 200
    file.write_text("no line of ours")
    answer = site.ask("/api/hosts", app=app, headers=[("authorization", "Bearer second")])
    assert (answer.status, answer.json()["error"]) == (503, "credentials_unreadable")
    assert str(credentials) not in answer.text
    file.write_text("")
    assert site.ask("/api/hosts", app=app, headers=[("authorization", "Bearer second")]).status == 401


def test_a_token_opens_nothing_from_elsewhere_nor_for_another_site(site, app):
    assert site.ask("/api/hosts", app=app, client="10.0.0.7", headers=bearer("operator")).status == 403
    assert site.ask("/api/hosts", app=app, host="evil.example", headers=bearer("operator")).status == 403
    foreign = [*bearer("operator"), ("origin", "http://evil.example")]
    assert site.ask("/api/reports/known/retry", "POST", app=app, headers=foreign).status == 403
