"""Groups on pages and over the API: listed, shown, decided; and a crash that came twice says so."""

import csv
import io
from itertools import count
from urllib.parse import quote, urlencode

import pytest
from running import NOW
from shelf import event
from test_pages_and_twins_answer import Page

from lae_monitor.archive import Journal
from lae_monitor.core.time import DAY, HOUR
from lae_monitor.query.decisions import Decisions, group_id
from lae_monitor.web import create_app

_serial = count()


class Desk:
    """The application with somebody who decides."""

    def __init__(self, site) -> None:
        self.site = site
        clock = lambda: site.now  # noqa: E731
        decisions = Decisions(site.store, site.archive, Journal(site.archive, clock), clock)

        async def retry(_id):
            return False

        self.app = create_app(
            site.store, site.archive, fleet="lae", retry=retry, status=dict, clock=clock, decisions=decisions
        )

    def ask(self, target, method="GET", *, body=b"", **given):
        async def with_body(scope, receive, send):
            sent = iter([{"type": "http.request", "body": body, "more_body": False}])

            async def receive_body():
                return next(sent, None) or await receive()

            await self.app(scope, receive_body, send)

        return self.site.ask(target, method, app=with_body, **given)

    def json(self, target, method="GET"):
        answer = self.ask(target, method)
        assert answer.status == 200, answer.text
        return answer.json()

    def page(self, target):
        answer = self.ask(target)
        assert answer.status == 200, answer.text[:2000]
        return Page(answer.text)


@pytest.fixture
def desk(site):
    return Desk(site)


@pytest.fixture
def name() -> str:
    return f"Lemmings | SIGSEGV | libweb.so+0x{next(_serial):x}"


def crash(place, group, host="h1", **fields):
    attrs = {"ProductName": "Lemmings", "Version": "1.0"} | fields.pop("attrs", {})
    fields = {"time": NOW - 2 * HOUR, **fields}
    return event(place, host, group=group, attrs=attrs, **fields)


def test_the_list_of_groups_and_its_twins_say_the_same(desk, place, name):
    desk.site.put(crash(place, name), crash(place, name, "h2"), crash(place, name + "x"))
    query = f"q=cluster:{place}&sort=count"
    page = desk.page(f"/groups?{query}")
    assert page.text.startswith("Groups · lae-monitor")
    assert "2 groups" in page.text
    assert f"/group/{group_id('crash', name)}" in page.links()
    twins = [desk.json(f"{address}?{query}") for address in ("/groups.json", "/api/groups")]
    assert twins[0] == twins[1]
    assert [group["group"] for group in twins[0]["groups"]] == [name, name + "x"]
    table = csv.DictReader(io.StringIO(desk.ask(f"/api/groups.csv?{query}").text))
    assert [(row["group"], row["events"], row["places"]) for row in table] == [(name, "2", "2"), (name + "x", "1", "1")]


def test_filters_of_the_list_narrow_it_and_wrong_ones_are_said(desk, place, name):
    desk.site.put(crash(place, name), event(place, group="weird thing", kind="incident", time=NOW - 3 * DAY))
    for given, groups in (
        ("kind=crash", [name]),
        ("kind=incident", ["weird thing"]),
        ("kind=crash&kind=incident&sort=first", [name, "weird thing"]),
        ("product=Lemmings", [name]),
        ("product=Lem", []),
        ("since=1d", [name]),
        ("state=closed", []),
        ("limit=1", [name]),
        ("limit=1&offset=1", ["weird thing"]),
    ):
        assert [group["group"] for group in desk.json(f"/api/groups?q=cluster:{place}&{given}")["groups"]] == groups, (
            given
        )
        assert desk.page(f"/groups?q=cluster:{place}&{given}")
    for wrong in ("state=gone", "sort=size", "since=never", "kind=a:b", "limit=x", "unknown=1"):
        assert desk.ask(f"/api/groups?{wrong}").status == 400, wrong
        assert desk.ask(f"/groups?{wrong}").status == 400, wrong


def test_one_group_shows_hosts_versions_reports_and_why(desk, place, name):
    desk.site.put(
        crash(place, name, "h1", title="Lemmings crashed", attrs={"signature.why": "12 frames of thread 3"}),
        crash(place, name, "h2", attrs={"Version": "1.1"}, time=NOW - 3 * HOUR),
    )
    id_ = group_id("crash", name)
    text = desk.page(f"/group/{id_}").text
    for said in ("12 frames of thread 3", "2 on 2 hosts", "1.1", "Lemmings crashed", name, "24 hours 2", "30 days 2"):
        assert said in text, said
    twin = desk.json(f"/group/{id_[:11]}.json")
    assert twin == desk.json(f"/api/groups/{id_}")
    assert [(host["host"], host["events"]) for host in twin["hosts"]] == [("h1", 1), ("h2", 1)]
    assert len(twin["reports"]) == 2
    for missing in ("0" * 12, "zz"):
        assert desk.ask(f"/api/groups/{missing}").status == 404
        assert desk.ask(f"/group/{missing}").status == 404


def test_decisions_are_taken_by_form_and_by_api_and_seen_at_once(desk, place, name):
    desk.site.put(crash(place, name), crash(place, name + "x"))
    id_, other = group_id("crash", name), group_id("crash", name + "x")
    answer = desk.ask(f"/group/{id_}/close?" + urlencode({"note": "mended"}), "POST")
    assert (answer.status, answer.headers["location"]) == (303, f"/group/{id_}")
    text = desk.page(f"/group/{id_}").text
    assert "closed" in text
    assert "mended" in text
    assert "Reopen" in text
    assert desk.json(f"/api/groups?q=cluster:{place}")["total"] == 1
    changed = desk.json(f"/api/groups/{other}/merge?into={id_[:11]}&by=grace", "POST")
    assert (changed["id"], changed["decided"]["into"], changed["decided"]["steps"][0]["by"]) == (other, id_, "grace")
    assert desk.json(f"/api/groups?q=cluster:{place}&state=all")["groups"][0]["events"] == 2
    assert f"/group/{id_}" in desk.page(f"/group/{other}").links()
    assert name + "x" in desk.page(f"/group/{id_}").text
    desk.json(f"/api/groups/{other}/unmerge", "POST")
    desk.json(f"/api/groups/{id_}/reopen", "POST")
    assert desk.json(f"/api/groups?q=cluster:{place}")["total"] == 2


def test_a_form_of_a_browser_is_understood(desk, place, name):
    desk.site.put(crash(place, name))
    id_ = group_id("crash", name)
    form = ("content-type", "application/x-www-form-urlencoded")
    answer = desk.ask(f"/group/{id_}/note", "POST", body=b"note=caf%C3%A9+time", headers=[form])
    assert answer.status == 303
    assert desk.json(f"/api/groups/{id_}")["group"]["note"] == "café time"
    for body, headers, status in (
        (b"note=x&note=y", [form], 400),
        (b"what=x", [form], 400),
        (b"&".join([b"a=b"] * 50), [form], 400),
        (b"note=" + b"x" * 20_000, [form], 413),
        (b"note=\xff", [form], 400),
        (b"{}", [("content-type", "application/json")], 400),
    ):
        assert desk.ask(f"/group/{id_}/note", "POST", body=body, headers=headers).status == status, body[:20]


def test_no_other_site_and_no_look_changes_anything(desk, place, name):
    desk.site.put(crash(place, name))
    id_ = group_id("crash", name)
    for target in (f"/group/{id_}/close", f"/api/groups/{id_}/close"):
        assert desk.ask(target, "POST", headers=[("origin", "http://evil.example")]).status == 403
        assert desk.ask(target, "POST", headers=[("sec-fetch-site", "cross-site")]).status == 403
        assert desk.ask(target, "POST", client="203.0.113.9").status == 403
        assert desk.ask(target).status in {404, 405}
        assert desk.site.ask(target, "POST").status == 405, "an application without decisions only shows"
        assert desk.ask(target.replace("close", "explode"), "POST").status == 404
        assert desk.ask(target.replace("close", f"merge?into={id_}"), "POST").status == 400
        assert desk.ask(target.replace("close", "merge"), "POST").status == 400
    assert desk.json(f"/api/groups/{id_}")["group"]["state"] == "open"


def test_what_hosts_send_stays_text_in_groups(desk, place):
    group = "<script>alert(1)</script>\u202e | x"
    desk.site.put(crash(place, group, title="<b>bold\x1b[31m", host="<h>"))
    for target in (f"/groups?q=cluster:{place}", f"/group/{group_id('crash', group)}"):
        page = desk.page(target)
        assert {tag for tag, _ in page.tags} & {"script", "b"} <= {"b"}
        assert "<script>alert(1)</script>" in page.text
        assert "\u202e" not in page.text


def test_a_crash_that_came_twice_says_so_and_where_the_other_is(desk, place, name):
    twice = {"upload_file_minidump.sha256": f"{next(_serial):064x}", "guid": "g-1"}
    ids = [f"{place}-{letter}" for letter in "ab"]
    desk.site.put(*[crash(place, name, id=id_, attrs=twice, time=NOW - 60 + at) for at, id_ in enumerate(ids)])
    desk.site.put(crash(place, name, id=f"{place}-c", attrs=twice | {"guid": "g-2"}))
    assert [other["id"] for other in desk.json(f"/api/reports/{ids[0]}")["duplicates"]] == [ids[1]]
    assert desk.json(f"/api/reports/{place}-c")["duplicates"] == []
    page = desk.page(f"/report/{ids[1]}")
    assert "came 1 more time" in page.text
    assert f"/report/{quote(ids[0])}" in page.links()
    assert f"/group/{group_id('crash', name)}" in page.links()
    group = desk.json(f"/api/groups/{group_id('crash', name)}")
    assert (group["group"]["events"], group["group"]["separate"], group["twice"]) == (3, 2, [ids[1]])
    assert ids[1] in desk.page(f"/group/{group_id('crash', name)}").text


def test_every_page_leads_to_the_groups_and_links_of_theirs_lead_somewhere(desk, place, name):
    desk.site.put(crash(place, name))
    assert "/groups" in desk.page("/").links()
    for target in (f"/groups?q=cluster:{place}", f"/group/{group_id('crash', name)}"):
        for link in desk.page(target).links():
            assert link.startswith(("/", "#")), link
            if link.startswith("/"):
                assert desk.ask(link).status in {200, 404 if f"/{place}/" in link else 200}, link


def test_the_believable_fleet_has_groups_of_its_crashes_and_incidents(desk):
    found = desk.json("/api/groups?q=cluster:lae&limit=1000")["groups"]
    assert {group["kind"] for group in found} == {"crash", "incident"}
    lemmings = [group for group in found if group["group"].startswith("Lemmings | ")]
    assert [group["group"] for group in lemmings] == ["Lemmings | SIGSEGV | lemmings+0x1234"]
    assert "reason and module" in lemmings[0]["why"]


def test_what_is_asked_for_beside_a_search_holds_for_all_of_it(desk, place):
    for kind, name, ago in (("crash", "new", 60), ("incident", "other", 60), ("crash", "old", 7200)):
        desk.site.put(event(place, kind=kind, group=f"{place} {name}", title=name, ago=ago))
    either = quote(f"title:new OR cluster:{place}")
    assert {one["group"] for one in desk.json(f"/groups.json?q={either}&kind=crash")["groups"]} == {
        f"{place} new",
        f"{place} old",
    }
    either = quote(f"cluster:{place} OR title:new")
    found = desk.json(f"/groups.json?q={either}&kind=crash&since=1h")["groups"]
    assert [one["group"] for one in found] == [f"{place} new"]
