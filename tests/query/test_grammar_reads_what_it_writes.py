"""The grammar: what each way of writing means, and that a mistake is pointed at."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import LEVELS
from lae_monitor.kinds import KINDS
from lae_monitor.query.grammar import (
    FIELDS,
    BadQuery,
    Either,
    Filter,
    Pattern,
    Query,
    Substring,
    Text,
    Words,
    levels_of,
    moment,
)
from lae_monitor.query.parser import MAX_QUERY, MAX_TERMS, parse
from lae_monitor.query.writing import format_query

NOW = 1_700_000_000.0


def words(text, *, wild=False, negated=False):
    return Words(Text(text, wild), negated)


def has(name, *values, **more):
    return Filter(name, tuple(value if isinstance(value, Text) else Text(value) for value in values), **more)


def either(*queries, negated=False):
    return Either(tuple(Query(tuple(terms)) for terms in queries), negated)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("  \t\n ", []),
        ("disk full", [words("disk"), words("full")]),
        ('"disk full"', [words("disk full")]),
        ('-"disk full" -x', [words("disk full", negated=True), words("x", negated=True)]),
        (r'"a \"b\" \\ \n"', [words(r'a "b" \ \n')]),
        ("tahoe*", [words("tahoe*", wild=True)]),
        ('"tahoe*"', [words("tahoe*")]),
        ("- -- --json -5", [words("-"), words("--"), words("--json"), words("5", negated=True)]),
        ("kind:crash,incident", [has("kind", "crash", "incident")]),
        ("KIND KIND:", [words("KIND"), words("KIND:")]),
        ("kind:CRASH", [has("kind", "crash")]),
        ("host:ml*", [has("host", Text("ml*", wild=True))]),
        ('host:"ml*"', [has("host", "ml*")]),
        ('-host:"a b",c', [has("host", "a b", "c", negated=True)]),
        ("level:Error", [has("level", "error")]),
        ("level:>=warning", [has("level", "warning", comparison=">=")]),
        ("level:<info", [has("level", "info", comparison="<")]),
        ('group:""', [has("group", "")]),
        ("ProductName:Firefox", [has("ProductName", "Firefox", attribute=True)]),
        ("dump.os:Linux", [has("dump.os", "Linux", attribute=True)]),
        ("attr.host:x", [has("host", "x", attribute=True)]),
        ("attr.since:a,b", [has("since", "a", "b", attribute=True)]),
        ('attr."odd name":1', [has("odd name", "1", attribute=True)]),
        ("pid:17", [has("pid", "17", attribute=True)]),
        ("since:2h until:2026-11-22", [has("since", "2h"), has("until", "2026-11-22")]),
        ('since:"2026-11-22 09:44"', [has("since", "2026-11-22 09:44")]),
        ("a AND b", [words("a"), words("b")]),
        ("NOT a -NOT", [words("a", negated=True), words("NOT", negated=True)]),
        ("NOT -a", [words("a")]),
        ("a OR b c", [either([words("a")], [words("b"), words("c")])]),
        ("(a OR b) c", [either([words("a")], [words("b")]), words("c")]),
        ("a OR (b OR c)", [either([words("a")], [words("b")], [words("c")])]),
        ("(a b) (c)", [words("a"), words("b"), words("c")]),
        ("-(a b)", [either([words("a"), words("b")], negated=True)]),
        ("NOT (a OR host:b)", [either([words("a")], [has("host", "b")], negated=True)]),
        ("-(-(a b))", [words("a"), words("b")]),
        ('("a)" OR f(x))', [either([words("a)")], [words("f(x)")])]),
        ('"OR" or', [words("OR"), words("or")]),
        ("/a (b|c)/ x", [Pattern("a (b|c)"), words("x")]),
        (r"-/a\/b/", [Pattern(r"a\/b", negated=True)]),
        ("/dev/sda1 /var/log/ /", [words("/dev/sda1"), words("/var/log/"), words("/")]),
        ('text~"a b" -text~c', [Substring("a b"), Substring("c", negated=True)]),
        ("level:warn", [has("level", "warn")]),
        ("since:today until:17:00", [has("since", "today"), has("until", "17:00")]),
        # what only looks like a filter
        ("09:44:34", [words("09:44:34")]),
        ("ml6.hpc.uio.no:8086", [words("ml6.hpc.uio.no:8086")]),
        (
            "http://a.b/c std::string error: x",
            [words("http://a.b/c"), words("std::string"), words("error:"), words("x")],
        ),
        ('{"a":1}', [words('{"a":1}')]),
    ],
)
def test_each_way_of_writing_has_its_meaning(text, terms):
    assert parse(text) == Query(tuple(terms))


@pytest.mark.parametrize(
    ("text", "at", "says"),
    [
        ("disk levle:error", (5, 10), 'did you mean "level:"'),
        ("hots:ml6", (0, 4), 'did you mean "host:"'),
        ("hosts:ml6", (0, 5), "attr.hosts:"),
        ("Host:ml6", (0, 4), 'did you mean "host:"'),
        ("sinse:2h", (0, 5), 'did you mean "since:"'),
        ("x level:eror", (8, 12), "debug, info, warning, error, critical"),
        ("level:>=error,info", (6, 18), "one with >="),
        ("kind:crashes", (0, 12), 'did you mean "kind:crash"'),
        ("since:tomorrow", (6, 14), "2h or 7d"),
        ("until:25:00", (6, 11), "17:00"),
        ("a OR", (2, 4), "between two terms"),
        ("OR a", (0, 2), '"OR"'),
        ("(a AND) b", (3, 6), "between two terms"),
        ("a OR OR b", (2, 4), "between two terms"),
        ("a NOT", (2, 5), "before a term"),
        ("NOT OR a", (0, 3), "before a term"),
        ("a (b", (2, 3), "the parenthesis is not closed"),
        ("f(x b", (1, 2), "the parenthesis is not closed"),
        ("a) b", (1, 2), "no parenthesis to close"),
        ("()", (0, 2), "nothing between the parentheses"),
        ("(a)b", (3, 4), "a space is missing"),
        ("(" * 17 + "a" + ")" * 17, (16, 17), "more than 16 parentheses"),
        ("/a(b/", (2, 3), "no regular expression"),
        (r"/(a)\1/", (4, 5), "RE2"),
        ("x /a(?=b)/", (4, 5), "RE2"),
        ("/" + "a" * 501 + "/", (501, 502), "500 characters"),
        ('text~""', (0, 7), "nothing between"),
        ("a || b", (2, 4), "OR"),
        ("host=store3 x", (0, 5), "did you mean host:store3 here"),
        ("host==store3", (0, 6), "did you mean host:store3 here"),
        ("kind!=crash", (0, 6), "did you mean -kind:crash here"),
        ("level>=warning", (0, 7), "did you mean level:>=warning here"),
        ("time since<2h", (5, 11), "did you mean until:2h here"),
        ("title~disk", (0, 6), "did you mean title:*disk* here"),
        ("until:2026-02-30", (6, 16), "RFC 3339"),
        ("until:9999-12-31", (6, 16), "RFC 3339"),
        ("since:5", (6, 7), "duration"),
        ("since:2h,3h", (6, 11), "duration"),
        ("host:", (0, 5), 'host:""'),
        ("host: x", (0, 5), "a value is missing"),
        ("kind:crash,", (0, 11), "a value is missing"),
        ('a "b c', (2, 6), "the quote is not closed"),
        ('host:"ml6"x', (10, 11), "a space is missing"),
        ('""', (0, 2), "nothing between the quotes"),
        ("x" * (MAX_QUERY + 1), (MAX_QUERY, MAX_QUERY), "longer than"),
        ("x " * (MAX_TERMS + 1), (2 * MAX_TERMS, 2 * MAX_TERMS), "more than"),
        ("kind:" + "a," * MAX_TERMS + "a", (0, 0), "more than"),
        ("a \udc80", (2, 3), "UTF-8"),
    ],
)
def test_a_mistake_is_pointed_at_and_the_way_out_named(text, at, says):
    with pytest.raises(BadQuery) as caught:
        parse(text, KINDS)
    assert (caught.value.start, caught.value.end) == at
    assert says in caught.value.detail
    assert caught.value.code == "bad_query"
    assert caught.value.status == 400


_sentences = st.lists(
    st.sampled_from(["a", "-b", "(", ")", " ", "OR", "AND", "NOT", '"c d"', "/e f*/", 'text~"g"', "host:h", "-(", "f(x)"]),
    max_size=20,
).map(" ".join)  # fmt: skip


@given(st.text() | st.text(alphabet=' "\\-:*,.=<>abchost0kindlevelsince/\t', max_size=60) | _sentences)
def test_no_text_breaks_the_parser_and_what_it_reads_it_can_write(text):
    try:
        parsed = parse(text)
    except BadQuery as error:
        assert 0 <= error.start <= error.end <= len(text)
        return
    written = format_query(parsed)
    assert parse(written) == parsed
    assert len(written) <= max(len(text), 1)


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_plain = st.builds(Text, _text)
_wild = st.builds(
    lambda text: Text(f"{text}*", wild=True), st.text(string.ascii_letters + string.digits + "._*/", max_size=6)
)
_times = st.sampled_from(["2h", "1h30m", "7d", "2026-11-22", "2026-11-22T09:44:34.5Z", "2026-11-22 09:44"])
_terms = st.one_of(
    st.builds(Words, _plain.filter(lambda value: value.text.strip()), st.booleans()),
    st.builds(Words, _wild.filter(lambda value: value.text[0] not in "/."), st.booleans()),
    st.builds(
        lambda name, values, negated: Filter(name, tuple(values), negated=negated),
        st.sampled_from(["cluster", "host", "group", "id", "title"]), st.lists(_plain | _wild, min_size=1, max_size=3),
        st.booleans(),
    ),
    st.builds(
        lambda name, values, negated: Filter(name, tuple(values), attribute=True, negated=negated),
        st.sampled_from(["ProductName", "a-b", "host", "Since", "attr.x", "odd \" name", ""]) | _text,
        st.lists(_plain | _wild, min_size=1, max_size=3), st.booleans(),
    ),
    st.builds(
        lambda level, sign, negated: Filter("level", (Text(level),), sign, negated=negated),
        st.sampled_from(LEVELS), st.sampled_from(["", ">=", ">", "<", "<="]), st.booleans(),
    ),
    st.builds(
        lambda name, text, negated: Filter(name, (Text(text),), negated=negated),
        st.sampled_from(["since", "until"]), _times, st.booleans(),
    ),
)  # fmt: skip


@given(st.lists(_terms, max_size=8))
def test_every_query_can_be_written_down(terms):
    query = Query(tuple(terms))
    assert parse(format_query(query)) == query


def test_a_duration_goes_back_from_now_and_a_day_is_closed_at_its_end():
    assert moment("2h", NOW) == NOW - 7200
    assert moment("1h30m", NOW) == NOW - 5400
    midnight = NOW - 22 * 3600 - 13 * 60 - 20
    assert moment("today", NOW) == midnight
    assert moment("yesterday", NOW) == midnight - 86400
    assert moment("yesterday", NOW, closing=True) == midnight
    assert moment("17:00", NOW) == midnight + 17 * 3600
    assert moment("23:00:30", NOW) == midnight - 3600 + 30
    assert moment("2026-11-22", NOW, closing=True) - moment("2026-11-22", NOW) == 86400
    assert moment("2026-11-22T09:44:34Z", NOW, closing=True) == moment("2026-11-22T10:44:34+01:00", NOW)
    with pytest.raises(Refused):
        moment("soon", NOW)


def test_comparisons_of_levels_go_by_their_order():
    assert levels_of(">=", "warning") == ("warning", "error", "critical")
    assert levels_of(">", "warning") == ("error", "critical")
    assert levels_of("<=", "info") == ("debug", "info")
    assert levels_of("<", "debug") == ()
    assert levels_of("", "info") == ("info",)


def test_every_field_may_be_searched_for():
    for field in FIELDS:
        value = {"level": "error", "since": "2h", "until": "2h"}.get(field, "x")
        assert parse(f"{field}:{value}").terms[0].name == field
