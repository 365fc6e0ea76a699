"""What hosts send, and what visitors ask, is shown as text, refused with its code, and never more than that."""

import re
from html import escape
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import NOW
from shelf import event
from test_pages_and_twins_answer import Page

from lae_monitor.query.parser import MAX_QUERY
from lae_monitor.store import Store, StoreError

NASTY = [
    "<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "javascript:alert(1)", "{{ 7*191 }}", "../../etc/passwd",
    "a/b?c=d&e#f", "%2e%2e%2f", "\u202egnp.exe", "\x1b[2J", "\x00", "&lt;b&gt;", "x" * 5000, "🦊 größe", "</title>", "]]>", "-",
]  # fmt: skip


@pytest.mark.parametrize("nasty", NASTY)
def test_whatever_a_host_sends_is_shown_as_text(site, place, nasty):
    site.put(
        event(
            place, f"h{nasty}", time=NOW - 5, title=nasty, text=nasty, group=nasty, id=f"{place}{nasty}", attrs={nasty: nasty, "a": nasty},
            kind=nasty[:20] or "k",
        )
    )  # fmt: skip
    host = quote(f"h{nasty}", safe="")
    report = quote(f"{place}{nasty}", safe="")
    targets = [
        f"/?cluster={place}",
        f"/search?q=cluster:{place}",
        f"/report/{report}",
        f"/report/{report}?cluster={place}&host={host}",
    ]
    if "/" not in nasty:
        targets.append(f"/host/{place}/{host}")
    for target in targets:
        answer = site.ask(target)
        if answer.status == 400 and len(host) > 600:
            continue  # a host's name that is longer than any
        assert answer.status == 200, (target[:80], answer.text[:500])
        read = Page(answer.text)
        assert not {tag for tag, _ in read.tags} & {"script", "img", "b-nasty"}
        assert not [attrs for _, attrs in read.tags if set(attrs) & {"onerror", "onload"}]
        assert not [link for link in read.links() if link.startswith("javascript")]
        assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", answer.text)
        assert "1337" not in re.sub(r"\d\d:\d\d", "", read.text) or nasty != "{{ 7*191 }}"


def test_a_query_is_shown_as_text_where_it_is_wrong(site):
    answer = site.ask("/search?q=" + quote('<b>x</b> levle:"<script>"'))
    assert answer.status == 400
    assert "<script>" not in answer.text
    assert "<mark>levle</mark>" in answer.text
    assert escape("<b>x</b>") in answer.text


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/nowhere", 404, "not_found"),
        ("/api/nowhere", 404, "not_found"),
        ("/report/none", 404, "no_such_report"),
        ("/report/none.json", 404, "no_such_report"),
        ("/api/reports/none", 404, "no_such_report"),
        ("/report/none/original", 404, "no_such_report"),
        ("/host/lae/nobody", 404, "no_such_host"),
        ("/host/lae/nobody.json", 404, "no_such_host"),
        ("/search?q=levle:x", 400, "bad_query"),
        ("/search.json?q=levle:x", 400, "bad_query"),
        ("/host/lae/desk-ada?q=levle:x", 400, "bad_query"),
        ("/search?x=1", 400, "bad_parameters"),
        ("/search?q=a&q=b", 400, "bad_parameters"),
        ("/api/search?limit=ten", 400, "bad_parameters"),
        ("/api/search?limit=" + "9" * 50, 400, "bad_parameters"),
        ("/api/events?after=soon", 400, "bad_time"),
        ("/api/events?before=x", 400, "bad_parameters"),
        ("/host/lae/desk-ada?level=eror", 400, "bad_parameters"),
        ("/host/lae/desk-ada?span=2d", 400, "bad_parameters"),
        ("/host/lae/desk-ada?routine=yes", 400, "bad_parameters"),
        ("/host/lae/desk-ada?" + "&".join(["kind=x"] * 60), 400, "bad_parameters"),
        ("/?cluster=" + "x" * 300, 400, "bad_parameters"),
    ],
)
def test_what_cannot_be_answered_says_why_in_the_form_that_was_asked_for(site, target, status, code):
    answer = site.ask(target)
    assert answer.status == status
    if target.startswith("/api/") or ".json" in target:
        assert answer.json()["error"] == code
        assert answer.json()["message"]
    else:
        assert code in Page(answer.text).text


def test_a_mistake_in_a_query_is_pointed_at_in_json(site):
    said = site.ask("/api/search?q=" + quote("disk levle:error")).json()
    assert (said["error"], said["start"], said["end"]) == ("bad_query", 5, 10)
    assert 'did you mean "level:"' in said["problem"]


@pytest.mark.parametrize(
    ("method", "target"), [("POST", "/"), ("DELETE", "/api/hosts"), ("PUT", "/report/x"), ("POST", "/api/search")]
)
def test_other_methods_are_refused_with_those_that_are_taken(site, method, target):
    answer = site.ask(target, method)
    assert answer.status == 405
    assert "GET" in answer.headers["allow"]


def test_a_store_that_does_not_answer_is_said_to_and_the_page_still_stands(site):
    class Broken(Store):
        async def query(self, sql, parameters=None, *, seconds=30.0):
            raise StoreError("Code: 210. the engine <is> gone", 210)

    app = site.make_app(Broken(site.store.driver))
    for target in ("/", "/search?q=x", "/report/x", "/host/a/b", "/api/hosts", "/api/search?q=x"):
        answer = site.ask(target, app=app)
        assert answer.status == 503
        assert answer.headers["retry-after"]
        assert "store_unavailable" in answer.text
        assert "<is>" not in answer.text or target.startswith("/api")


def test_a_monitor_of_other_kinds_in_the_same_process_changes_no_page(site):
    site.make_app(Store(site.store.driver))
    assert (
        "runs of Sonar with nothing wrong"
        in site.ask("/search?q=" + quote("host:ml3.hpc.uio.no kind:sonar level:info")).text
    )


def test_limits_are_kept_whatever_is_asked_for(site):
    assert len(site.get("/api/search", q="kind:sonar", limit=10**9)["rows"]) <= 10_000
    assert len(site.get("/api/search", q="kind:sonar", limit=-5)["rows"]) == 1


@settings(max_examples=60)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.sampled_from(["/search?q=", "/api/events?q=", "/report/", "/host/x/", "/?cluster=", "/api/search?limit="]),
)
def test_no_request_breaks_anything(site, text, start):
    answer = site.ask(start + quote(text, safe=""))
    assert answer.status in {200, 307, 400, 404}


def test_a_query_longer_than_the_limit_is_refused(site):
    assert site.ask("/api/search?q=" + "x" * (MAX_QUERY + 1)).json()["error"] == "bad_query"
