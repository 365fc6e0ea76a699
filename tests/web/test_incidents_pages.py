"""Incidents on pages, over the API and in a feed reader: listed, counted, narrowed, shown; whatever they hold."""

import re
from html import unescape
from itertools import count
from urllib.parse import quote
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest
from running import NOW
from shelf import event
from test_pages_and_twins_answer import Page

from lae_monitor.core.names import row_key
from lae_monitor.core.time import DAY, HOUR, format_time, parse_time
from lae_monitor.kinds import KINDS
from lae_monitor.kinds.incidents.tables import Categories
from lae_monitor.kinds.incidents.wire.flog import pack
from lae_monitor.query.decisions import group_id

ATOM = "{http://www.w3.org/2005/Atom}"
HOSTILE = "<script>alert(1)</script> ]]> &amp; \"'\x1b[2J\x00 \ufffe\uffff \u202e \U0001f600"
_serial = count()


def incident(place, host="node1", *, ago=HOUR, **fields):
    name = fields.pop("id", f"incident-{next(_serial):07}")
    key = row_key("incident", place, host, name)
    return event(
        place, host, kind="incident", id=name, key=key, time=NOW - ago, level=fields.pop("level", "warning"), **fields
    )


def classified(row, *categories, ago=60.0):
    return Categories(
        cluster=row.cluster, host=row.host, id=row.id, key=row.key, time=NOW - ago, categories=list(categories), rules="mine"
    )  # fmt: skip


def page(site, target):
    answer = site.ask(target)
    assert answer.status == 200, answer.text[:2000]
    return Page(answer.text)


def feed(site, target, **given):
    answer = site.ask(target, **given)
    assert answer.status == 200, answer.text[:2000]
    assert answer.headers["content-type"] == "application/atom+xml; charset=utf-8"
    return ET.fromstring(answer.body)


@pytest.fixture
def three(site, place):
    rows = [
        incident(place, "node1", ago=10, title="the newest", group="UmidA", attrs={"umid": "UmidA"}, level="critical"),
        incident(place, "node2", ago=2.5 * DAY, title="the second", group="UmidA", attrs={"umid": "UmidA"}),
        incident(place, "node2", ago=40 * DAY, title="the oldest", group="another"),
    ]
    site.put(*rows, classified(rows[0], "disk-full", "slow"), classified(rows[1], "slow"))
    return rows


def test_the_list_has_time_host_level_category_trigger_and_group(site, place, three):
    read = page(site, f"/incidents?cluster={place}")
    text = read.text
    assert text.index("the newest") < text.index("the second") < text.index("the oldest")
    assert "3 incidents" in text
    assert "node1" in text
    assert "critical" in text
    assert f"/group/{group_id('incident', 'UmidA')}" in read.links()
    assert any("category=disk-full" in link for link in read.links())
    assert any(link.startswith(f"/report/{three[0].id}?") for link in read.links())
    assert "not yet" in text
    twin = site.get("/incidents.json", cluster=place)
    assert twin == site.get("/api/incidents", cluster=place)
    assert [one["title"] for one in twin["incidents"]] == ["the newest", "the second", "the oldest"]
    assert [one["categories"] for one in twin["incidents"]] == [["disk-full", "slow"], ["slow"], []]
    assert twin["matched"] == 3


def test_each_category_is_drawn_day_by_day_and_follows_a_new_classification(site, place, three):
    counted = {one["category"]: one for one in site.get("/api/incidents", cluster=place)["categories"]}
    assert {name: one["incidents"] for name, one in counted.items()} == {"slow": 2, "disk-full": 1, "": 1}
    assert (sum(counted["slow"]["days"]), counted["slow"]["days"][-1], counted["slow"]["days"][-3]) == (2, 1, 1)
    shown = page(site, f"/incidents?cluster={place}")
    assert ("svg", "slow: incidents on each of the last 30 days; 2 in all") in [
        (tag, attrs.get("aria-label")) for tag, attrs in shown.tags
    ]
    site.put(classified(three[1], "renamed", ago=5), classified(three[0], "renamed", ago=5))
    counted = {one["category"]: one["incidents"] for one in site.get("/api/incidents", cluster=place)["categories"]}
    assert counted == {"renamed": 2, "": 1}
    assert "renamed" in page(site, f"/incidents?cluster={place}").text


@pytest.mark.parametrize(
    ("filters", "titles"),
    [
        ("host=node2", ["the second", "the oldest"]),
        ("category=slow", ["the newest", "the second"]),
        ("category=disk-full", ["the newest"]),
        ("category=-", ["the oldest"]),
        ("category=no-such", []),
        ("level=error", ["the newest"]),
        ("since=7d", ["the newest", "the second"]),
        ("since=7d&host=node2&category=slow", ["the second"]),
        ("q=oldest", ["the oldest"]),
        ("q=umid:UmidA+-newest", ["the second"]),
        ("q=kind:crash", []),
    ],
)
def test_filters_narrow_page_twin_and_feed_alike(site, place, three, filters, titles):
    assert [one["title"] for one in site.get(f"/api/incidents?cluster={place}&{filters}")["incidents"]] == titles
    text = page(site, f"/incidents?cluster={place}&{filters}").text
    assert [title for title in ("the newest", "the second", "the oldest") if title in text] == titles
    entries = feed(site, f"/incidents.atom?cluster={place}&{filters}").findall(f"{ATOM}entry")
    assert sorted(entry.findtext(f"{ATOM}title").partition(": ")[2] for entry in entries) == sorted(titles)


@pytest.mark.parametrize(
    "wrong",
    ["level=bad", "since=soon", "q=%22", "limit=x", "before=1", "colour=red", "host=a&host=b", "cluster=" + "x" * 300],
)
def test_what_cannot_be_asked_is_refused(site, wrong):
    for address in ("/incidents", "/incidents.json", "/api/incidents", "/incidents.atom"):
        assert site.ask(f"{address}?{wrong}").status == 400


def test_following_older_shows_every_incident_once(site, place):
    site.put(*[incident(place, ago=60 + number, title=f"t{number}") for number in range(12)])
    target, seen = f"/incidents?cluster={place}&limit=5", []
    for _ in range(4):
        read = page(site, target)
        seen += [link for link in dict.fromkeys(read.links()) if link.startswith("/report/incident-")]
        older = re.search(r'href="([^"]*)">Older', site.ask(target).text)
        if older is None:
            break
        assert f"cluster={place}" in older[1]
        target = unescape(older[1]) + "&limit=5"
    # The newest is linked once more, as the last one of its category.
    assert len(set(seen)) == 12


def test_the_navigation_and_the_head_of_the_page_lead_to_the_incidents_and_their_feed(site, place, three):
    assert "/incidents" in page(site, "/").links()
    read = page(site, f"/incidents?cluster={place}&category=slow")
    [link] = [attrs for tag, attrs in read.tags if tag == "link" and attrs.get("rel") == "alternate"]
    assert link["type"] == "application/atom+xml"
    assert len(feed(site, link["href"]).findall(f"{ATOM}entry")) == 2


def test_the_feed_is_what_rfc_4287_asks_for(site, place, three):
    root = feed(site, f"/incidents.atom?cluster={place}")
    assert root.tag == f"{ATOM}feed"
    for required in ("id", "title", "updated"):
        assert len(root.findall(ATOM + required)) == 1
    assert root.findtext(f"{ATOM}author/{ATOM}name")
    links = {link.get("rel"): link.get("href") for link in root.findall(f"{ATOM}link")}
    assert links["self"] == f"http://127.0.0.1:8642/incidents.atom?cluster={place}"
    assert links["alternate"] == f"http://127.0.0.1:8642/incidents?cluster={place}"
    entries = root.findall(f"{ATOM}entry")
    assert len(entries) == 3
    for entry, row in zip(entries, three, strict=True):
        for required in ("id", "title", "updated", "published", "content"):
            assert len(entry.findall(ATOM + required)) == 1
        assert UUID(entry.findtext(f"{ATOM}id").removeprefix("urn:uuid:")).bytes == row.key
        assert entry.find(f"{ATOM}link").get("href").startswith(f"http://127.0.0.1:8642/report/{row.id}?")
        for moment in ("updated", "published"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", entry.findtext(ATOM + moment))
    updated = [entry.findtext(f"{ATOM}updated") for entry in entries]
    assert root.findtext(f"{ATOM}updated") == max(updated)
    assert len({entry.findtext(f"{ATOM}id") for entry in entries} | {root.findtext(f"{ATOM}id")}) == 4
    assert {category.get("term") for category in entries[0].findall(f"{ATOM}category")} == {
        "disk-full",
        "slow",
        "level:critical",
    }


def test_an_entry_is_the_same_one_after_it_was_classified_anew(site, place, three):
    before = feed(site, f"/incidents.atom?cluster={place}").findall(f"{ATOM}entry")[1]
    site.put(classified(three[1], "something-else", ago=-30))
    after = feed(site, f"/incidents.atom?cluster={place}").findall(f"{ATOM}entry")[1]
    assert before.findtext(f"{ATOM}id") == after.findtext(f"{ATOM}id")
    assert before.findtext(f"{ATOM}updated") < after.findtext(f"{ATOM}updated") == format_time(NOW + 30)


def test_what_came_late_is_first_in_the_feed(site, place):
    late = incident(place, ago=5 * DAY, received=NOW - 1, title="late")
    site.put(incident(place, ago=HOUR, title="early"), late)
    titles = [
        entry.findtext(f"{ATOM}title")
        for entry in feed(site, f"/incidents.atom?cluster={place}").findall(f"{ATOM}entry")
    ]
    assert titles == ["node1: late", "node1: early"]


def test_a_reader_that_has_the_feed_is_told_so(site, place, three):
    target = f"/incidents.atom?cluster={place}"
    first = site.ask(target)
    etag, modified = first.headers["etag"], first.headers["last-modified"]
    assert first.headers["cache-control"] == "no-cache"
    for headers in (
        [("if-none-match", etag)],
        [("if-none-match", f'"x", W/{etag}')],
        [("if-modified-since", modified)],
    ):
        answer = site.ask(target, headers=headers)
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["etag"] == etag
    for headers in ([("if-none-match", '"x"'), ("if-modified-since", modified)], [("if-modified-since", "soon")],
                    [("if-modified-since", "Mon, 01 Jan 2024 00:00:00 GMT")]):  # fmt: skip
        assert site.ask(target, headers=headers).status == 200
    site.put(incident(place, ago=1))
    assert site.ask(target, headers=[("if-none-match", etag), ("if-modified-since", modified)]).status == 200


def test_a_feed_without_entries_is_a_feed(site, place):
    root = feed(site, f"/incidents.atom?cluster={place}")
    assert root.findall(f"{ATOM}entry") == []
    assert parse_time(root.findtext(f"{ATOM}updated")) == 0


def test_hostile_texts_are_texts(site, place):
    site.put(row := incident(place, title=HOSTILE, text=HOSTILE, group=HOSTILE, attrs={"facility": HOSTILE}))
    site.put(classified(row, "<b>"))
    root = feed(site, f"/incidents.atom?cluster={place}")
    title = root.findtext(f"{ATOM}entry/{ATOM}title")
    assert "<script>alert(1)</script> ]]>" in title
    assert "\U0001f600" in title
    assert not re.search("[\x00-\x08\x0b-\x1f\ufffe\uffff\u202e]", "".join(root.itertext()))
    for target in (
        f"/incidents?cluster={place}",
        f"/report/{row.id}?cluster={place}",
        f"/group/{group_id('incident', HOSTILE)}",
    ):
        read = page(site, target)
        assert "script" not in {tag for tag, _ in read.tags}
        assert "alert(1)" in read.text
    assert (
        site.ask(f"/incidents?cluster={quote(HOSTILE)}&host={quote(HOSTILE)}&category={quote('<script>')}").status
        == 200
    )


def stored(site, place, host, trigger, events):
    """A real incident file in the archive, and its row in the store; its name."""
    name = f"incident-2026-11-22--10-00-00Z-{next(_serial):07}"
    header = {"type": "incident", "trigger": trigger, "versions": {"foolscap": "24.9.0"}, "pid": 7}
    data = b"".join(pack((header, events), "z" * 32, NOW).chunks)
    span = site.run(site.archive.store(f"incidents/{place}/incidents/{host}/{name}.flog.bz2", [data]))
    site.put(*KINDS.reader(span.path).read(span, data))
    return name


def test_the_page_of_an_incident_has_its_events_in_a_table_with_the_trigger_marked(site, place):
    furl = "pb://" + "a" * 32 + "@tcp:h:1/" + "zkafmbtiyvsgtbtkwsykqhmbkdbnklay"
    trigger = {
        "num": 2, "time": NOW - 60, "level": 40, "umid": f"U{place}", "facility": "tahoe.storage", "message": "disk <b>full",
        "incarnation": ["0f", None], "failure": {"traceback": "Traceback (most recent call last):\n  File x\nOSError: no space"},
    }  # fmt: skip
    events = [
        {"num": 1, "time": NOW - 61, "level": 20, "message": f"Tub.connectTo(b'{furl}')"}, trigger,
        {"num": 3, "time": NOW - 59, "level": 23, "message": "two\nlines"}, {"num": 4, "message": "\x1b[2J"},
    ]  # fmt: skip
    name = stored(site, place, "node1", trigger, events)
    other = stored(site, place, "node2", trigger, events)
    target = f"/report/{name}?cluster={place}&host=node1"
    read, raw = page(site, target), site.ask(target).text
    assert "disk <b>full" in read.text
    assert "zkafmbti" not in raw + site.ask(target.replace("?", ".json?")).text
    assert "It may hold secrets" in read.text
    rows = [attrs for tag, attrs in read.tags if tag == "tr" and "event" in attrs.get("class", "")]
    assert [attrs["class"] for attrs in rows] == [
        "event is-info",
        "event is-critical trigger",
        "event is-info",
        "event is-info",
    ]
    assert rows[1]["id"] == "trigger"
    assert "#trigger" in read.links()
    assert "Traceback: OSError: no space" in read.text
    assert [tag for tag, _ in read.tags].count("details") >= 1
    assert "not classified yet" in read.text
    assert f"/report/{other}?cluster={place}&host=node2" in read.links()
    assert f"/group/{group_id('incident', f'U{place}')}" in read.links()
    twin = site.get(f"/api/reports/{name}", cluster=place, host="node1")
    assert [one["trigger"] for one in twin["events"]] == [False, True, False, False]
    assert twin["events"][1]["failure"].endswith("OSError: no space")
    assert (twin["about"]["answer"], twin["about"]["hosts"], twin["about"]["incidents"]) == (None, 1, 2)
    site.put(
        Categories(
            cluster=place, host="node1", id=name, key=row_key("incident", place, "node1", name), time=NOW, categories=["disk-full"],
            rules="disk_full_in_upload",
        )
    )  # fmt: skip
    read = page(site, target)
    assert "/incidents?category=disk-full" in read.links()
    assert "by disk_full_in_upload" in read.text


def test_the_original_of_an_incident_is_its_file_as_it_came(site, place):
    trigger = {"num": 1, "time": NOW, "level": 30, "message": "pb://" + "a" * 32 + "@h:1/" + "s" * 32}
    name = stored(site, place, "node1", trigger, [trigger])
    answer = site.ask(f"/report/{name}/original?cluster={place}&host=node1")
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}.flog.bz2"'
    path = site.folder / f"archive/incidents/{place}/incidents/node1/{name}.flog.bz2"
    assert answer.body == path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
