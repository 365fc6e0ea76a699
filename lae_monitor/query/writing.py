"""Query -> text, the shortest that the parser reads as that query."""

import re
from typing import Final

from lae_monitor.core.kind import Kinds
from lae_monitor.query.grammar import NO_KINDS, BadQuery, Either, Pattern, Query, Substring, Term, Text, Words
from lae_monitor.query.parser import parse

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_ESCAPED: Final = re.compile(r'"|\\(?=["\\]|$)')
_NEEDS_QUOTES: Final = re.compile(r'\s|[,*()]|^"|^$')


def format_query(query: Query, kinds: Kinds = NO_KINDS) -> str:
    """A text that parses to `query`, no longer than any other; `kinds`: as in parse()."""
    first = query.terms[0] if len(query.terms) == 1 else None
    if isinstance(first, Either) and not first.negated:
        return _format_either(first, kinds)
    return " ".join(_format_term(term, kinds) for term in query.terms)


def _format_either(term: Either, kinds: Kinds) -> str:
    return " OR ".join(format_query(query, kinds) for query in term.queries)


def _format_term(term: Term, kinds: Kinds) -> str:
    """The first way of writing `term` that is read as `term`."""
    sign = "-" if term.negated else ""
    if isinstance(term, Either):
        return f"{sign}({_format_either(term, kinds)})"
    if isinstance(term, Pattern):
        return f"{sign}/{term.text}/"
    if isinstance(term, Substring):
        ways = [f"text~{term.text}", f"text~{_quote(term.text)}"]
    elif isinstance(term, Words):
        ways = [term.value.text, _quote(term.value.text)]
    else:
        bare = term.comparison + ",".join(value.text for value in term.values)
        careful = term.comparison + ",".join(map(_format_value, term.values))
        explicit = "attr." + (term.name if _NAME.fullmatch(term.name) else _quote(term.name))
        keys = [term.name, explicit] if term.attribute else [term.name]
        ways = [f"{key}:{values}" for key in keys for values in (bare, careful)]
    for way in ways[:-1]:
        try:
            if parse(sign + way, kinds) == Query((term,)):
                return sign + way
        except BadQuery:
            continue
    return sign + ways[-1]


def _format_value(value: Text) -> str:
    return _quote(value.text) if not value.wild and _NEEDS_QUOTES.search(value.text) else value.text


def _quote(text: str) -> str:
    return '"' + _ESCAPED.sub(r"\\\g<0>", text) + '"'
