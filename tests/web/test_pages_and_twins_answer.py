"""Every page, its .json twin and the API: what they say, and that they say the same."""

import csv
import hashlib
import io
import re
from html import unescape
from html.parser import HTMLParser

import pytest
from running import NOW
from shelf import event

from lae_monitor.core.rows import LEVELS, Span
from lae_monitor.core.time import DAY, format_time, parse_time

SICK, SILENT = "storage03.lae.example", "ml5.hpc.uio.no"
ROW = ["kind", "cluster", "host", "time", "received", "id", "level", "title", "text", "group", "attrs"]


class Page(HTMLParser):
    """A page, checked while it is read: every element is closed in its turn."""

    EMPTY = frozenset({"meta", "link", "input", "br", "path", "circle", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def links(self) -> list[str]:
        return [attrs["href"] for tag, attrs in self.tags if tag == "a" and "href" in attrs]


def page(site, target):
    answer = site.ask(target)
    assert answer.status == 200, answer.text[:2000]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Page(answer.text)


def of(site, query):
    """The newest of the fleet's own events that `query` finds."""
    return site.get("/api/search", q=f"cluster:lae,hpc.uio.no {query}", limit=1)["rows"][0]


def pages(site) -> list[str]:
    crash, incident, run = of(site, "kind:crash"), of(site, "kind:incident"), of(site, "kind:sonar")
    return [
        "/", "/?cluster=lae&refresh=60", "/search", "/search?q=", "/search?q=disk", "/search?q=nothing-like-it", f"/host/lae/{SICK}",
        f"/host/hpc.uio.no/{SILENT}?routine=1&span=1d", "/host/hpc.uio.no/ml3.hpc.uio.no?span=1y", "/host/lae/desk-ada?q=Firefox&level=error&kind=crash&span=30d",
        "/incidents", "/incidents?since=7d&level=error&category=-", f"/incidents?host={SICK}&q=disk", "/groups?kind=incident",
        f"/report/{crash['id']}", f"/report/{incident['id']}", f"/report/{run['id'].replace('/', '%2F')}", "/report/" + run["id"],
    ]  # fmt: skip


def test_every_page_is_well_formed_without_script_or_style_of_its_own_and_loads_nothing_from_elsewhere(site):
    for target in pages(site):
        read = page(site, target)
        for tag, attrs in read.tags:
            assert tag not in {"script", "style", "iframe", "object", "embed", "base", "img"}, (target, tag)
            assert not {name for name in attrs if name.startswith("on") or name == "style"}, (target, tag, attrs)
            for name in ("href", "src", "action"):
                assert attrs.get(name, "/").startswith(("/", "?", "#")), (target, tag, attrs)
                assert not attrs.get(name, "/").startswith("//"), (target, tag, attrs)


def test_every_link_of_every_page_leads_somewhere(site):
    seen = {link for target in pages(site) for link in page(site, target).links() if link.startswith(("/", "?"))}
    seen = {link for link in seen if "/w" not in link and "=w" not in link}  # those are other tests' hosts
    kinds: dict[str, list[str]] = {}
    for link in sorted(seen):
        kinds.setdefault(re.sub(r"%?[0-9a-f.-]+", "", link)[:12], []).append(link)
    assert len(kinds) > 8
    for alike in kinds.values():
        for link in alike[:5]:
            assert site.ask(link).status == 200, link


def test_the_fleet_shows_the_worst_first_the_silent_and_the_alarms(site):
    text = page(site, "/").text
    assert text.index(SICK) < text.index("ml6.hpc.uio.no")
    assert re.search(rf"{re.escape(SILENT)} hpc\.uio\.no .*? silent ", text)
    assert "Incidents say that the disk is full critical" in text
    assert "malformed_no_boundary" in text
    twin = site.get("/.json")
    assert site.get("/index.json")["hosts"] == twin["hosts"] == site.get("/api/hosts")["hosts"]
    assert {host["host"] for host in twin["hosts"] if host["silent"]} == {SILENT}
    ranks = [LEVELS.index(host["worst"]) if host["worst"] else -1 for host in twin["hosts"]]
    assert ranks[0] == LEVELS.index("critical")
    assert twin["alarms"][0]["title"] == "Incidents say that the disk is full"


def test_what_is_wrong_with_the_monitor_stands_on_top(site):
    site.status = {
        "archive": [{"root": "/a", "health": "ok"}, {"root": "/b", "health": "hanging", "error": "no answer"}],
        "mover": {"error": "", "oldest_seconds": 3700.0, "waiting": 12},
        "quarantine": [{"id": "known", "path": "sonar/x.csv", "start": 1, "end": 9, "reason": "unreadable: why"}],
    }
    try:
        read = page(site, "/")
        assert "Archive root /b is hanging no answer" in read.text
        assert "12 files are still to come, the oldest waits for 1h 1m" in read.text
        assert "Not understood: sonar/x.csv, bytes 1 to 9 unreadable: why" in read.text
        assert ("form", {"method": "post", "action": "/report/known/retry"}) in read.tags
        assert [item["title"] for item in site.get("/.json")["trouble"]] == [
            "Archive root /b is hanging", "The store is behind the archive", "Not understood: sonar/x.csv, bytes 1 to 9"
        ]  # fmt: skip
        site.status = {"mover": {"error": "disk on fire"}}
        assert "Nothing is moved into the store disk on fire" in page(site, "/").text
    finally:
        site.status = {}


def test_a_host_page_groups_by_day_and_shows_load_gaps_and_filters(site):
    text = page(site, f"/host/lae/{SICK}").text
    assert "Sunday, 22 November 2026" in text
    assert text.index("Sunday, 22 November") < text.index("Saturday, 21 November")
    hpc = page(site, "/host/hpc.uio.no/ml2.hpc.uio.no?routine=1")
    assert "cores of 56" in hpc.text
    assert "runs of Sonar with nothing wrong" in hpc.text
    twin = site.get("/host/hpc.uio.no/ml2.hpc.uio.no.json")
    assert twin["node"]["cores"] == 56
    assert [round(gap["seconds"] / 3600) for gap in twin["gaps"]] == [7]
    assert any(twin["load"]["cores"])
    silent = page(site, f"/host/hpc.uio.no/{SILENT}").text
    assert "Silent since" in silent
    assert len(site.get(f"/host/lae/{SICK}.json", level="critical")["events"]) < len(
        site.get(f"/host/lae/{SICK}.json")["events"]
    )
    assert {row["kind"] for row in site.get(f"/host/lae/{SICK}.json", kind="alarm")["events"]} == {"alarm"}


def test_following_older_shows_every_event_of_a_host_once(site):
    target, seen = f"/host/lae/{SICK}?limit=5", []
    for _ in range(10):
        read = page(site, target)
        seen += [link for link in read.links() if link.startswith("/report/")]
        older = re.search(r'href="([^"]*)">Older', site.ask(target).text)
        if older is None:
            break
        target = unescape(older[1]) + "&limit=5"
    found = site.get("/api/search", q=f"host:{SICK}", limit=1000)["rows"]
    assert len(seen) == len(set(seen)) == len(found)


def test_a_search_answers_in_exactly_the_promised_shape(site):
    answer = site.get("/api/search", q="kind:incident", limit=3)
    assert list(answer) == ["matched", "scanned", "seconds", "complete", "rows"]
    assert [list(row) for row in answer["rows"]] == [ROW] * 3
    assert answer["matched"] > 3
    assert answer["rows"] == sorted(answer["rows"], key=lambda row: row["time"], reverse=True)
    assert site.get("/search.json", q="kind:incident", limit=3)["rows"] == answer["rows"]
    text = page(site, "/search?q=kind:incident&limit=3").text
    assert f"{answer['matched']} events" in text
    assert answer["rows"][0]["title"] in text


def test_events_come_page_by_page_and_after_a_time(site):
    first = site.get("/api/events", limit=10)
    second = site.get("/api/events", limit=10, before=first["older"])
    assert len({row["id"] for row in first["rows"] + second["rows"]}) == 20
    assert first["complete"] is False
    assert first["next"] == format_time(NOW, digits=6)
    late = site.get("/api/events", after=format_time(NOW - DAY), q="kind:crash")
    assert [row["received"] for row in late["rows"]] == sorted(row["received"] for row in late["rows"])
    assert all(parse_time(row["received"]) > NOW - DAY for row in late["rows"])
    assert late["next"] == late["rows"][-1]["received"]
    assert {row["host"] for row in site.get("/api/events", cluster="lae", host=SICK)["rows"]} == {SICK}


def test_tables_come_as_csv_without_formulas(site, place):
    site.put(event(place, title="=HYPERLINK(1)", text='a "b", c\nd', time=NOW, attrs={"k": "v"}))
    answer = site.ask(f"/api/search.csv?q=cluster:{place}")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    [row] = csv.DictReader(io.StringIO(answer.text))
    assert list(row) == ROW
    assert (row["title"], row["text"], row["attrs"]) == ("'=HYPERLINK(1)", 'a "b", c\nd', '{"k":"v"}')
    assert len(list(csv.DictReader(io.StringIO(site.ask("/api/events.csv?limit=7").text)))) == 7
    hosts = list(csv.DictReader(io.StringIO(site.ask("/api/hosts.csv").text)))
    assert SICK in {host["host"] for host in hosts}


def test_a_crash_is_taken_apart_with_sizes_and_checksums(site):
    row = of(site, "kind:crash")
    report = site.get(f"/report/{row['id']}.json")
    assert report == site.get(f"/api/reports/{row['id']}")
    [part] = report["parts"]
    assert (part["name"], part["size"], part["note"]) == (
        "upload_file_minidump",
        int(row["attrs"]["upload_file_minidump.size"]),
        "",
    )
    assert part["sha256"] == row["attrs"]["upload_file_minidump.sha256"]
    fields = {name: value for section in report["sections"] for name, value in section["fields"].items()}
    assert fields["ProductName"] == row["attrs"]["ProductName"]
    assert fields["user_agent"] == "Crashpad/0.8.0"
    text = page(site, f"/report/{row['id']}").text
    assert part["sha256"] in text


def test_an_incident_is_shown_as_text_with_its_trigger_and_samples_as_lines(site):
    row = of(site, "kind:incident full")
    [section] = site.get(f"/api/reports/{row['id']}")["sections"]
    assert (
        section["text"]
        .splitlines()[-5]
        .endswith("disk full: no space left on device (/var/tahoe/storage) [INCIDENT-TRIGGER]")
    )
    assert "No space left on device" in page(site, f"/report/{row['id']}").text
    run = of(site, "kind:sonar")
    [section] = site.get("/report/" + run["id"] + ".json")["sections"]
    assert section["text"].count("\n") == 4
    assert section["text"].startswith("v=0.12.1,time=")


def test_secrets_and_what_is_private_are_hidden(site):
    for row in site.get("/api/search", q="cluster:lae kind:crash", limit=30)["rows"]:
        text = site.ask(f"/report/{row['id']}").text
        assert "eeeeeeeeeeee" not in text
        assert "ada@example.org" not in text
        assert "ada@example.org" not in site.ask(f"/api/reports/{row['id']}").text


def test_the_original_is_what_the_archive_has(site):
    for query in ("kind:crash", "kind:incident", "kind:sonar", "kind:alarm"):
        row = of(site, query)
        report = site.get("/report/" + row["id"] + ".json")
        data = site.run(site.archive.read(Span(report["file"], report["offset"], report["offset"] + report["length"])))
        for target in (f"/report/{row['id']}/original", f"/api/reports/{row['id']}/original"):
            answer = site.ask(target)
            assert answer.status == 200
            assert answer.body == data
            assert answer.headers["content-disposition"].startswith("attachment;")
            assert answer.headers["content-length"] == str(len(data))
            assert answer.headers["content-type"] == "application/octet-stream"


def test_an_original_of_many_pieces_comes_whole(site, place):
    data = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(80_000))
    span = site.run(site.archive.store(f"crashes/{place}/large.bin", [data]))
    site.put(event(place, id=f"{place}-large", file=span.path, offset=5, length=len(data) - 5))
    assert site.ask(f"/api/reports/{place}-large/original").body == data[5:]


def test_a_report_whose_bytes_are_gone_or_broken_is_shown_with_the_reason(site, place):
    site.put(
        event(place, id=f"{place}-gone", file="crashes/20200101/gone.zip", length=10, title="still here"),
        event(place, id=f"{place}-large", file="crashes/20200101/gone.zip", length=10**9),
        event(place, id=f"{place}-none", title="no bytes at all", text="only this"),
    )
    assert "does not hand out" in site.get(f"/api/reports/{place}-gone")["note"]
    assert "still here" in page(site, f"/report/{place}-gone").text
    assert site.ask(f"/report/{place}-gone/original").status == 404
    assert "save it" in site.get(f"/api/reports/{place}-large")["note"]
    assert "only this" in page(site, f"/report/{place}-none").text
    assert site.ask(f"/api/reports/{place}-none/original").status == 404
    span = site.run(site.archive.store(f"crashes/{place}/broken.zip", [b"PK no zip"]))
    site.put(event(place, id=f"{place}-broken", file=span.path, length=9))
    assert "unreadable" in site.get(f"/api/reports/{place}-broken")["note"]
    span = site.run(site.archive.store(f"incidents/{place}/incidents/h/incident-x.flog.bz2", [b"BZ no bzip"]))
    site.put(event(place, id=f"{place}-flog", file=span.path, length=10))
    assert "Not readable" in site.get(f"/api/reports/{place}-flog")["sections"][0]["note"]


def test_two_hosts_with_one_id_do_not_hide_each_other(site, place):
    site.put(
        event(place, "one", id=f"{place}-twin", title="of one", time=NOW - 1),
        event(place, "two", id=f"{place}-twin", title="of two", time=NOW - 2),
    )
    assert site.get(f"/api/reports/{place}-twin")["event"]["title"] == "of one"
    assert site.get(f"/api/reports/{place}-twin")["others"] == [
        {"cluster": place, "host": "two", "time": format_time(NOW - 2)}
    ]
    links = page(site, f"/search?q=cluster:{place}").links()
    assert [link for link in links if "twin" in link and "host=two" in link]
    assert "of two" in page(site, f"/report/{place}-twin?cluster={place}&host=two").text


def test_what_is_in_quarantine_is_read_again_from_page_and_api(site):
    answer = site.ask("/api/reports/known/retry", "POST")
    assert (answer.status, answer.json()) == (200, {"retried": True})
    assert site.ask("/report/known/retry", "POST").status == 200
    assert site.retried[-2:] == ["known", "known"]
    assert site.ask("/api/reports/unknown/retry", "POST").json()["error"] == "no_such_report"
    assert site.ask("/api/reports/known/retry").status == 404  # GET shows a report of that id, and there is none


@pytest.mark.parametrize("name", ["style.css", "icon.svg"])
def test_static_files_are_there_and_name_nothing_from_elsewhere(site, name):
    answer = site.ask(f"/static/{name}")
    assert answer.status == 200
    assert not re.search(r"@import|url\(|https?://(?!www\.w3\.org)", answer.text)
    assert site.ask("/static/../app.py").status == 404
    assert site.ask("/static/%2e%2e/app.py").status == 404
