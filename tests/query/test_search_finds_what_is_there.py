"""Searching the real engine: what each term finds, and what answers say of themselves."""

import pytest
from shelf import NOW, event, receipt, titles

from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import DAY, HOUR, format_time, parse_time
from lae_monitor.query.events import MAX_TEXT
from lae_monitor.query.search import search
from lae_monitor.store import Store, StoreError
from lae_monitor.store.driver import TIMEOUT


@pytest.fixture
def find(shelf, place):
    """Titles of what a search finds among the test's own events, newest first."""
    return lambda query, limit=100: titles(ask(shelf, place, query, limit).rows)


def ask(shelf, place, query, limit=100, **more):
    return shelf.run(search(shelf.store, f"cluster:{place} {query}", limit, NOW, **more))


@pytest.fixture
def zoo(shelf, place):
    """Events that differ in everything that can be searched for."""
    shelf.put(
        event(place, ago=10, title="one", kind="crash", level="critical", text="Disk full on /dev/sda1",
              attrs={"ProductName": "Firefox", "Version": "124.0", "dump.os": "Linux"}, group="g1", id=f"{place}-one"),
        event(place, ago=20, title="two", kind="incident", level="error", host="n1", text="connection refused by ml6.hpc.uio.no:8086",
              attrs={"facility": "tahoe.upload"}, group="g2"),
        event(place, ago=30, title="three", kind="log", level="warning", host="n2", text="09:44:34 refused the connection; größe ΣΑΣ"),
        event(place, ago=3 * HOUR, title="four", kind="sonar", level="info", host="N2", text="100% of C:\\temp_x 'quoted' \"double\""),
        event(place, ago=2 * DAY, title="five", kind="mark", level="debug", host="n22", text="disks fuller"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "one two three four five"),
        ("disk", "one"),
        ("DISK full", "one"),
        ("-disk", "two three four five"),
        ('"connection refused"', "two"),
        ("connection refused", "two three"),
        ('"refused the connection"', "three"),
        ("disk*", "one five"),
        ("dis*", "one five"),
        ("*isk", "one"),
        ("sda1", "one"),
        ("sda", ""),
        ("/dev/sda1", "one"),
        ("/dev/sda", ""),
        ("ml6.hpc.uio.no", "two"),
        ("ml6.hpc.uio.no:8086", "two"),
        ("ml6.hpc.uio", "two"),
        ("l6.hpc.uio.no", ""),
        ("ml6.hpc.ui", ""),
        ("ml6-hpc", ""),
        ("ml*.no", "two"),
        ("09:44:34", "three"),
        ("09:44", "three"),
        ("GRÖSSE", ""),
        ("GRÖßE", "three"),
        ("σασ σας", ""),
        ("ΣΑΣ", "three"),
        ("100%", "four"),
        ("temp_x", "four"),
        ("tempyx", ""),
        ('"C:\\temp_x"', "four"),
        ("'quoted'", "four"),
        ('"\\"double\\""', "four"),
        ("Firefox", "one"),
        ("one", "one"),
        ("kind:crash,incident", "one two"),
        ("-kind:crash,incident", "three four five"),
        ("kind:*", "one two three four five"),
        ("host:n2", "three"),
        ("host:n*", "two three five"),
        ("host:n2,N2", "three four"),
        ("host:n_", ""),
        ("host:n_*", ""),
        ("host:%*", ""),
        ("facility:tah_e*", ""),
        ("facility:%*", ""),
        ("level:error", "two"),
        ("level:>=warning", "one two three"),
        ("level:<warning", "four five"),
        ("level:<debug", ""),
        ("-level:<debug", "one two three four five"),
        ("level:info,debug", "four five"),
        ("group:g1", "one"),
        ('group:""', "three four five"),
        ("title:one", "one"),
        ("title:disk", ""),
        ("title:t*", "two three"),
        ("ProductName:firefox", "one"),
        ("ProductName:Fire", ""),
        ("ProductName:fire*", "one"),
        ("-ProductName:Firefox", "two three four five"),
        ('ProductName:""', "two three four five"),
        ("Version:124.0", "one"),
        ("Version:124", ""),
        ("dump.os:linux,windows", "one"),
        ("facility:tahoe*", "two"),
        ("since:1h", "one two three"),
        ("until:1h", "four five"),
        ("since:1d until:25s", "three four"),
        ("-since:1h", "four five"),
        ("since:2026-11-21", "one two three four"),
        ("until:2026-11-20", "five"),
        ("until:2026-11-22", "one two three four five"),
        ("since:2026-11-22T09:00:00Z until:2026-11-22T09:00:01Z", "four"),
        ("since:1h until:2h", ""),
        ("disk kind:incident", ""),
    ],
)
def test_each_term_finds_exactly_what_it_names(find, zoo, query, found):
    assert find(query) == found.split()


def test_an_id_is_found_as_it_is(find, zoo, place):
    assert find(f"id:{place}-one") == ["one"]
    assert find(f"id:{place}-*") == ["one"]
    assert find(f"{place}-one") == ["one"]


@pytest.mark.parametrize(
    "nasty",
    ["'", "')", "\\", "\\'", "'; DROP TABLE lae.events --", "{p0:String}", "%", "_", "$1", "a\nb", "a\tb", "\x00", "(?i)x", "[", "*"],
)  # fmt: skip
def test_nothing_that_is_typed_reaches_the_engine_as_sql_or_as_a_pattern(shelf, place, nasty):
    shelf.put(event(place, title="yes", text=f"before {nasty} after", attrs={"a": nasty}), event(place, title="no"))
    quoted = nasty.replace("\\", "\\\\").replace('"', '\\"')
    if nasty.strip():
        assert titles(ask(shelf, place, f'"before {quoted} after"').rows) == ["yes"]
    assert titles(ask(shelf, place, f'a:"{quoted}"').rows) == ["yes"]
    assert ask(shelf, place, f'host:"{quoted}" group:"{quoted}" "{quoted} x" attr."{quoted}":y').matched == 0


def test_what_is_stored_twice_shows_once_and_the_newer_reading_holds(shelf, place):
    first = event(place, title="misread", key=b"k" * 16, time=NOW - 50)
    again = event(place, title="reread", key=b"k" * 16, time=NOW - 50)
    shelf.put(first)
    shelf.put(first)
    shelf.put(again)
    answer = ask(shelf, place, "")
    assert titles(answer.rows) == ["reread"]
    assert answer.matched == 1
    assert ask(shelf, place, "misread").matched == 0


def test_the_newest_come_first_and_matched_counts_those_beyond_the_limit(shelf, place):
    shelf.put(*(event(place, ago=number, title=f"t{number}") for number in range(30)))
    answer = ask(shelf, place, "", limit=4)
    assert titles(answer.rows) == ["t0", "t1", "t2", "t3"]
    assert (answer.matched, answer.complete, answer.reason) == (30, True, "")
    assert answer.scanned >= 30
    assert answer.seconds > 0


def test_received_comes_from_the_receipt_where_the_row_does_not_know(shelf, place):
    file = f"sonar/{place}/2026/11/22/n1.csv"
    shelf.put(
        event(place, title="second", received=0.0, file=file, offset=150, length=10, ago=1),
        event(place, title="first", received=0.0, file=file, offset=20, length=10, ago=2),
        event(place, title="after the end", received=0.0, file=file, offset=300, length=10, ago=3),
        event(place, title="elsewhere", received=0.0, file=file + "x", offset=20, length=10, ago=4),
        event(place, title="knows itself", received=NOW - 7, file=file, offset=20, length=10, ago=5),
        receipt(place, file, 0, 100, NOW - 500),
        receipt(place, file, 100, 100, NOW - 400),
        receipt(place, file, 290, 100, NOW - 300, verdict="refused"),
    )
    rows = {row.title: row.received for row in ask(shelf, place, "").rows}
    assert rows == {
        "first": format_time(NOW - 500),
        "second": format_time(NOW - 400),
        "after the end": None,
        "elsewhere": None,
        "knows itself": format_time(NOW - 7),
    }


def test_times_are_rfc_3339_with_milliseconds(shelf, place):
    shelf.put(event(place, time=NOW + 0.1234567))
    assert ask(shelf, place, "").rows[0].time == "2026-11-22T12:00:00.123Z"


def test_a_long_text_is_cut_and_says_so(shelf, place):
    shelf.put(event(place, text="ä" * (MAX_TEXT + 5)))
    text = ask(shelf, place, "").rows[0].text
    assert text == "ä" * MAX_TEXT + "\n… 5 more characters in the report"


class Slow(Store):
    """An engine that is too slow for queries that go back further than `days`."""

    days = 2.0

    async def query(self, sql, parameters=None, **more):
        reach = (NOW - (parameters or {}).get("since", 0) / 1e6) / DAY
        if "toYYYYMM" not in sql and reach > self.days:
            raise StoreError("Code: 159. Timeout exceeded", TIMEOUT)
        return await super().query(sql, parameters, **more)


def test_a_search_that_runs_out_of_time_gives_the_newest_and_says_from_when_on(shelf, place):
    shelf.put(*(event(place, ago=ago, title=f"t{ago}") for ago in (60, 7200, int(1.5 * DAY), int(10 * DAY))))
    slow = Slow(shelf.store.driver)
    answer = shelf.run(search(slow, f"cluster:{place}", 100, NOW))
    found = titles(answer.rows)
    assert found in (["t60"], ["t60", "t7200"], ["t60", "t7200", f"t{int(1.5 * DAY)}"])
    assert answer.complete is False
    assert answer.matched == len(found)
    assert "time that a search may take" in answer.reason
    reached = parse_time(answer.reason.split("back to ")[1].partition(";")[0])
    assert [ago for ago in (60, 7200, int(1.5 * DAY)) if NOW - ago >= reached] == [int(title[1:]) for title in found]
    slow.days = 40
    answer = shelf.run(search(slow, f"cluster:{place} since:30d", 2, NOW))
    assert (answer.complete, answer.matched) == (True, 4)


def test_a_search_without_any_time_says_that_it_found_nothing_for_want_of_it(shelf, place):
    shelf.put(event(place))
    slow = Slow(shelf.store.driver)
    slow.days = 0
    answer = shelf.run(search(slow, f"cluster:{place}", 100, NOW))
    assert (answer.complete, answer.rows, answer.matched) == (False, [], 0)
    assert "narrow" in answer.reason


def test_an_engine_that_fails_is_not_an_empty_answer(shelf, place):
    class Broken(Store):
        async def query(self, sql, parameters=None, **more):
            raise StoreError("Code: 60. no such table", 60)

    with pytest.raises(StoreError):
        shelf.run(search(Broken(shelf.store.driver), "x", 10, NOW))


def test_a_bad_query_is_refused_before_the_engine_is_asked(shelf, place):
    with pytest.raises(Refused) as caught:
        ask(shelf, place, "levle:error")
    assert caught.value.code == "bad_query"
