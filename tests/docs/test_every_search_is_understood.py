"""Every search in docs/query.md is understood, as what the page says it is; and so is every one in a command line."""

import re

import pytest

from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import LEVELS
from lae_monitor.kinds import KINDS
from lae_monitor.query.grammar import Filter, fields
from lae_monitor.query.parser import MAX_DEPTH, MAX_QUERY, MAX_TERMS, parse


def searches(text, markdown):
    return [line for block in markdown.fences(text, "query") for line in block.splitlines() if line.strip()]


def test_every_example_is_understood(page, markdown):
    examples = searches(page("query.md"), markdown)
    assert len(examples) > 25
    for example in examples:
        assert parse(example, KINDS).terms, example


def test_every_search_in_a_command_line_is_understood(all_pages, markdown):
    found = [
        search
        for text in all_pages.values()
        for block in markdown.fences(text, "sh")
        for search in re.findall(r"lae-monitor (?:search|tail) '([^']*)'", block)
    ]
    assert found
    for search in found:
        parse(search)


def test_every_field_has_an_example_and_a_row(page, markdown):
    used = {
        term.name
        for example in searches(page("query.md"), markdown)
        for term in parse(example, KINDS).terms
        if isinstance(term, Filter) and not term.attribute
    }
    assert used == set(fields(KINDS))
    rows = {
        name for table in markdown.tables(page("query.md")) for row in table for name in re.findall(r"`(\w+)`", row[0])
    }
    assert rows == set(fields(KINDS))


def test_levels_and_limits_are_those_of_the_code(page):
    text = page("query.md")
    assert ", ".join(LEVELS) in text
    assert f"{MAX_QUERY:,} characters, {MAX_TERMS} terms and {MAX_DEPTH} parentheses" in text


@pytest.mark.parametrize("example", ["http://host/", "std::string", "error: x", "name.example:8080"])
def test_what_is_said_to_be_no_field_is_none(page, example):
    assert not any(isinstance(term, Filter) for term in parse(example, KINDS).terms)


def test_a_slip_is_refused_with_a_hint():
    with pytest.raises(Refused, match="host"):
        parse("hots:x")
