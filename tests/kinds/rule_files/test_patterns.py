"""Patterns of operators mean what Python's mean, and no pattern takes long or much memory, whatever it searches."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lae_monitor.kinds.rule_files.patterns import Searches, TooSlow, compiled

LIMIT = 0.05  # seconds

FOREVER = "((a|a){10}){10}b"  # for a text without any b

# With `re`, each of them takes more than 6 s for 256 characters.
HOSTILE = [
    ("(a+)+$", "a" * 255 + "!"),
    ("(a|aa)+$", "a" * 255 + "!"),
    ("(.*)(.*)(.*)x", "a" * 256),
    ("((a|a){10}){10}b", "a" * 256),
    ("(a|a)" * 60 + "b", "a" * 256),
    ("(?:(?:(?:a{1,9}){1,9}){1,9}){1,9}b", "a" * 256),
    ("^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 256),
    ("(?=(a+))*b|(x+x+)+y", "x" * 256),
    ("(.*?,){11}P", "1," * 128),
    ("(?s)^(?=.*(.+)+z)(?=.*y)", "a" * 256),
    ("(?<!a(?=(b+)+c))z|(b+)+d", "b" * 256),
]


@pytest.mark.timeout(120)  # without a limit, most of them would take years
@pytest.mark.parametrize(("pattern", "text"), HOSTILE)
@pytest.mark.parametrize("times", [1, 64])
def test_a_search_ends_in_time(pattern, text, times):
    found, searches = compiled(pattern), Searches(LIMIT, 16 * 1024)
    try:
        assert not searches.find(found, text * times)
    except TooSlow as slow:
        assert str(slow) == "took longer than 0.05 s"


@pytest.mark.timeout(120)  # it would take years
def test_a_search_that_would_take_for_ever_ends():
    with pytest.raises(TooSlow):
        Searches(LIMIT, 256).find(compiled(FOREVER), "a" * 256)


def test_all_searches_of_one_subject_share_its_time():
    found, searches = compiled(FOREVER), Searches(LIMIT, 256)
    assert searches.find(compiled("a"), "a")
    with pytest.raises(TooSlow):
        searches.find(found, "a" * 256)
    with pytest.raises(TooSlow):
        searches.find(compiled("a"), "a")


@pytest.mark.parametrize(
    "pattern",
    ["a{2000000000}", "(a{1000}){1000}", "(" * 50 + "a" + ")+" * 50, "(" * 12 + "a" + "){2}" * 12, "x" * 20_001,
     f"(?:{'x' * 1000}){{65535}}", "[ab]{999999}", r"\d{99999}", "(?:(?:a{99}){99}){99}"],
)  # fmt: skip
def test_a_pattern_that_takes_too_much_memory_is_refused(pattern):
    with pytest.raises(ValueError, match="is too large with its repeats written out"):
        compiled(pattern)


@pytest.mark.parametrize("pattern", ["(", "*", "a**", "(" * 5000, "[a", r"\p{L}", "(?P<a>x)(?P<a>y)"])
def test_what_python_refuses_is_refused(pattern):
    with pytest.raises(ValueError, match="is no regular expression"):
        compiled(pattern)


PIECES = st.sampled_from(
    ["a", "b", ".", "[ab]", "[^a]", r"\w", r"\d", r"\s", r"\b", "^", "$", "(?:a|b)", "(?=a)", "(?!a)", "(?<=a)", "(b)?",
     "a*", "b+", "a?", "b{2}", "a{1,3}", "a{,2}", "a*?", r"\.", "{e}", "a{e}", "b{s<=1}", "{", "}", "[[a]", "(?i:A)", "(?>ab)",
     r"\Z", r"\A", r"\x61", r"\N{DIGIT ONE}", "[]a]", "a*+", "|"]
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
@given(st.lists(PIECES, max_size=7).map("".join), st.text("abA.1 \n{}es<=]", max_size=8))
def test_a_pattern_finds_what_python_finds(pattern, text):
    assert Searches(5, 256).find(compiled(pattern), text) == (re.search(pattern, text) is not None)
