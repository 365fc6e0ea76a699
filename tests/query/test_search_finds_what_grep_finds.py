"""Each way of writing a search finds the lines that grep finds in the same text, whatever is stored twice."""

import random
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shelf import NOW, event

from lae_monitor.query.search import search

WORDS = (
    "disk",
    "Disk",
    "full",
    "fuller",
    "refused",
    "by",
    "10.0.0.7",
    "x-y",
    "100%",
    "[warn]",
    "größe",
    "a.b",
    "\\d",
    "it's",
)
CLUSTER = "grep"


@pytest.fixture(scope="module")
def lines(shelf, tmp_path_factory):
    """A file of lines, each of which is an event too; some are stored twice, one was read wrong before."""
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    made = [" ".join(rng.choices(WORDS, k=rng.randint(1, 7))) for _ in range(120)]
    file = tmp_path_factory.mktemp("grep") / "lines"
    file.write_text("".join(f"{line}\n" for line in made))
    # The times are far apart, so that a search goes back in several steps.
    rows = [
        event(CLUSTER, id=str(number), title="-", text=line, time=NOW - 86400.0 * number, key=b"%016d" % number)
        for number, line in enumerate(made)
    ]
    wrong = event(CLUSTER, id="5", title="-", text="disk full refused by", time=rows[5].time, key=rows[5].key)
    shelf.put(wrong)
    shelf.put(*rows)
    shelf.put(*rows[3:20], *rows[3:5])
    shelf.put(*rows[60:70])
    assert shelf.store.events.doubled >= 27
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lae_monitor.query.search.FIRST", 5)  # so few lines would be one piece
        yield file


def grep(lines, *arguments) -> set[int]:
    """The numbers of the lines that grep finds."""
    found = subprocess.run(
        ["grep", "-n", "-i", *arguments, str(lines)],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C.UTF-8"},
    )
    assert found.returncode < 2, found.stderr
    return {int(line.partition(":")[0]) - 1 for line in found.stdout.splitlines()}


# A term, and the arguments by which grep finds the same. Grep's -w knows other words: edges are written out.
_edge = "[^[:alnum:]]"
_word = st.sampled_from([word for word in WORDS if word != "[warn]"])
_phrase = st.lists(_word, min_size=2, max_size=3).map(" ".join)
_piece = st.sampled_from(["isk", "k fu", "SED BY", "0.0.0", "x-", "%", "r\\", "d r", "größ", "ll refused b", "_", "'"])
_regex = st.sampled_from(
    ["disk (full|by)", "^disk", "full$", "fu.*er", "d[a-i]sk +x", "(refused )?by 1", "0{2,}%", "r{1}e", "b?y x-y", r"\[w", "10\\.0"]
)  # fmt: skip


def escaped(text: str) -> str:
    return "".join("\\" + sign if sign in r"\.[]{}()*+?^$|" else sign for sign in text)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def whole(text: str) -> str:
    """A pattern of grep for `text` as whole words."""
    before = f"(^|{_edge})" if text[0].isalnum() else ""
    after = f"($|{_edge})" if text[-1].isalnum() else ""
    return before + escaped(text) + after


_terms = st.one_of(
    (_word | _phrase).map(lambda text: (quoted(text), ("-E", whole(text)))),
    _piece.map(lambda text: (f"text~{quoted(text)}", ("-F", text))),
    _regex.map(lambda text: (f"/{text}/", ("-E", text))),
)
_queries = st.recursive(
    _terms.map(lambda term: ("term", *term)),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.just("and"), inner, inner),
        st.tuples(st.just("or"), inner, inner),
    ),
    max_leaves=4,
)


def text_of(query) -> str:
    match query:
        case ("term", text, _):
            return text
        case ("not", inner):
            return f"NOT ({text_of(inner)})"
        case ("and", one, other):
            return f"({text_of(one)}) ({text_of(other)})"
        case ("or", one, other):
            return f"({text_of(one)} OR {text_of(other)})"


def numbers_of(query, lines) -> set[int]:
    match query:
        case ("term", _, arguments):
            return grep(lines, *arguments)
        case ("not", inner):
            return grep(lines, "") - numbers_of(inner, lines)
        case ("and", one, other):
            return numbers_of(one, lines) & numbers_of(other, lines)
        case ("or", one, other):
            return numbers_of(one, lines) | numbers_of(other, lines)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=_queries, limit=st.sampled_from([1, 3, 1000]))
def test_a_search_finds_the_lines_that_grep_finds(shelf, lines, query, limit):
    wanted = sorted(numbers_of(query, lines))
    answer = shelf.run(search(shelf.store, f"cluster:{CLUSTER} {text_of(query)}", limit, NOW))
    assert [int(row.id) for row in answer.rows] == wanted[:limit]  # the newest first
    assert (answer.matched, answer.complete) == (len(wanted), True)


def test_what_no_index_counts_is_counted_as_far_as_is_said(shelf, lines, monkeypatch):
    monkeypatch.setattr("lae_monitor.query.search.COUNTED", 40)
    found = len(grep(lines, "-F", "is"))
    answer = shelf.run(search(shelf.store, f"cluster:{CLUSTER} text~is", 2, NOW))
    assert len(answer.rows) == 2
    assert 2 <= answer.matched <= found
    assert (answer.complete, "only those since 2026-" in answer.reason) == (False, True)
    exact = shelf.run(search(shelf.store, f"cluster:{CLUSTER} text~is", 1000, NOW))
    assert (exact.matched, exact.complete) == (found, True)


def test_a_pattern_that_only_the_engine_refuses_is_a_bad_search(shelf, lines):
    from lae_monitor.query.grammar import BadQuery

    with pytest.raises(BadQuery):
        shelf.run(search(shelf.store, "/(a{1000}){1000}/", 10, NOW))
