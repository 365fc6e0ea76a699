"""Incidents are found and counted by what they were found to be, and the newest answer holds."""

import json

import pytest
from shelf import NOW, event, titles

from lae_monitor.core.names import row_key
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.time import format_time
from lae_monitor.kinds import KINDS
from lae_monitor.kinds.incidents.questions import categories_of, categories_of_incident, count_categories
from lae_monitor.query.parser import parse
from lae_monitor.query.planner import Plan
from lae_monitor.query.search import search
from lae_monitor.query.writing import format_query


def incident(place, name, *, host="node1", ago=60.0):
    return event(
        place,
        host,
        ago=ago,
        kind="incident",
        id=name,
        key=row_key("incident", place, host, name),
        title=f"title {name}",
    )


def entry(**fields):
    """A line of the journal."""
    return json.dumps({"time": format_time(NOW), "what": "categories", **fields}).encode() + b"\n"


def said(place, name, categories, *, host="node1", ago=50.0):
    """The row that the journal's reader makes of an entry."""
    line = entry(cluster=place, host=host, id=name, categories=categories, rules="r1", time=format_time(NOW - ago))
    (row,) = KINDS.reader("journal/x").read(Span(f"journal/{place}.jsonl", 0, len(line)), line)
    return row


def found(shelf, place, text):
    return titles(shelf.run(search(shelf.store, f"cluster:{place} {text}", 10, NOW)).rows)


@pytest.fixture
def three(shelf, place):
    shelf.put(*(incident(place, name, ago=ago) for name, ago in (("a", 10), ("b", 20), ("c", 30))))
    shelf.put(said(place, "a", "user-incident-button"), said(place, "b", "mutable-x,slow-disk"))
    return place


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("category:user-incident-button", "a"),
        ("category:User-Incident-Button", "a"),
        ("category:slow-disk", "b"),
        ("category:mutable-*", "b"),
        ("category:user-incident-button,slow-disk", "ab"),
        ("category:mutable-*,user-incident-button", "ab"),
        ("-category:slow-disk", "ac"),
        ("category:unknown", ""),
        ("category:*", "ab"),
        ("category:%", ""),
    ],
)
def test_incidents_are_found_by_category(shelf, three, text, names):
    assert found(shelf, three, text) == [f"title {name}" for name in names]
    query = parse(text, KINDS)
    assert parse(format_query(query, KINDS), KINDS) == query


def test_a_newer_answer_takes_the_place_of_an_older_one(shelf, place):
    shelf.put(incident(place, "a"), said(place, "a", "unknown", ago=50))
    shelf.put(said(place, "a", "slow-disk", ago=40))
    shelf.put(said(place, "a", "too-old", ago=45))
    assert found(shelf, place, "category:slow-disk") == ["title a"]
    assert found(shelf, place, "category:unknown,too-old") == []
    answer = shelf.run(categories_of_incident(shelf.store, place, "node1", "a"))
    assert (answer.categories, answer.time, answer.rules) == (["slow-disk"], "2026-11-22T11:59:20.000Z", "r1")


def test_the_same_name_of_another_host_is_another_incident(shelf, place):
    shelf.put(incident(place, "a"), incident(place, "a", host="node2"), said(place, "a", "slow-disk", host="node2"))
    assert shelf.run(categories_of_incident(shelf.store, place, "node1", "a")) is None
    key = row_key("incident", place, "node2", "a").hex()
    assert list(shelf.run(categories_of(shelf.store, [key, "0" * 32]))) == [key]


def test_counts_have_every_incident_those_not_yet_classified_too(shelf, three):
    day = 86400
    shelf.put(incident(three, "d", host="node2", ago=2.5 * day), said(three, "d", "slow-disk", host="node2"))
    shelf.put(event(three, kind="crash"))
    where, parameters = Plan().narrowed("cluster", three).where(0.0, NOW)
    rows = shelf.run(count_categories(shelf.store, where, parameters, NOW))
    assert [(row.category, row.incidents, row.places) for row in rows] == [
        ("slow-disk", 2, 2), ("", 1, 1), ("mutable-x", 1, 1), ("user-incident-button", 1, 1),
    ]  # fmt: skip
    slow = rows[0]
    assert (slow.id, slow.cluster, slow.host, slow.hosts) == ("b", three, "node1", ["node1", "node2"])
    assert (slow.first, slow.last) == ("2026-11-20T00:00:00.000Z", "2026-11-22T11:59:40.000Z")
    assert slow.days[-3:] == [1, 0, 1]
    assert sum(slow.days) == 2


def test_an_entry_that_says_too_little_is_a_mark_and_its_neighbours_are_read():
    good = entry(cluster="c", host="h", id="a", categories="x", rules="r")
    bad = entry(cluster="c", host="h")
    rows = list(KINDS.reader("journal/x").read(Span("journal/2026/11/22/x.jsonl", 0, 0), bad + good))
    assert [row.table for row in rows] == ["events", "categories"]


def test_a_field_that_is_nearly_category_is_a_slip():
    with pytest.raises(Refused, match='did you mean "category:"'):
        parse("catagory:x", KINDS)
