"""Text -> Query, and back. Whatever the text, the answer is a Query or a BadQuery that points at the place."""

import re
from collections.abc import Sequence
from typing import Final

from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import LEVELS
from lae_monitor.query.grammar import (
    COMPARISONS,
    FIELDS,
    TIMES,
    BadQuery,
    Filter,
    Query,
    Term,
    Text,
    Words,
    moment,
    nearest_field,
    nearest_kind,
)

MAX_QUERY: Final = 2_000  # characters; nobody types more, and every term costs the engine
MAX_TERMS: Final = 64  # terms and values together
_ANY_NOW: Final = 1_700_000_000.0  # times are only tried here; what they mean is decided when the search runs

_KEY: Final = re.compile(r"(attr\.)?(?:([A-Za-z_][A-Za-z0-9_.-]*)|(?<=attr\.)(?=\"))")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_PORT: Final = re.compile(r"[0-9]+(?:\s|$)")
_NEEDS_QUOTES: Final = re.compile(r'\s|[,*]|^"|^$')
_ESCAPED: Final = re.compile(r'"|\\(?=["\\]|$)')


def parse(text: str, kinds: Sequence[str] = ()) -> Query:
    """
    Args:
        kinds: of events, whose plurals and slips are told.

    Raises:
        BadQuery: a Refused, `bad_query`.
    """
    if len(text) > MAX_QUERY:
        raise BadQuery(f"the search is longer than {MAX_QUERY} characters", text, MAX_QUERY, MAX_QUERY)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadQuery("this is not text in UTF-8", text, error.start, error.end) from None
    return _Parser(text, kinds).query()


class _Parser:
    """One pass from left to right; `at` is the next character."""

    def __init__(self, text: str, kinds: Sequence[str]) -> None:
        self.text = text
        self.kinds = kinds
        self.at = 0
        self.pieces = 0

    def query(self) -> Query:
        terms: list[Term] = []
        while self._skip_spaces():
            terms.append(self._term())
        return Query(tuple(terms))

    def _skip_spaces(self) -> bool:
        while self._here().isspace():
            self.at += 1
        return self.at < len(self.text)

    def _here(self, ahead: int = 0) -> str:
        return self.text[self.at + ahead : self.at + ahead + 1]

    def _count(self, start: int) -> None:
        self.pieces += 1
        if self.pieces > MAX_TERMS:
            raise BadQuery(f"the search has more than {MAX_TERMS} terms", self.text, start, start)

    def _term(self) -> Term:
        follows = self._here(1)
        negated = self._here() == "-" and bool(follows) and not follows.isspace() and follows != "-"
        self.at += negated
        start = self.at
        if self._here() == '"':
            text = self._quoted()
            if not text.strip():
                raise BadQuery("there is nothing between the quotes", self.text, start, self.at)
            self._end_of_quoted("")
            self._count(start)
            return Words(Text(text), negated)
        return self._filter(negated) or self._word(negated)

    def _word(self, negated: bool) -> Words:
        start = self.at
        while self._here() and not self._here().isspace():
            self.at += 1
        self._count(start)
        word = self.text[start : self.at]
        return Words(Text(word, "*" in word), negated)

    def _quoted(self) -> str:
        """The text in quotes that begins here; a backslash goes before a quote or a backslash in it."""
        start = self.at
        self.at += 1
        text = []
        while self._here() != '"':
            if self._here() == "\\" and self._here(1) in {'"', "\\"}:
                self.at += 1
            if not self._here():
                raise BadQuery(
                    'the quote is not closed; a quote inside quotes is written \\"', self.text, start, self.at
                )
            text.append(self._here())
            self.at += 1
        self.at += 1
        return "".join(text)

    def _end_of_quoted(self, allowed: str) -> None:
        here = self._here()
        if here and not here.isspace() and here != allowed:
            raise BadQuery("a space is missing after the closing quote", self.text, self.at, self.at + 1)

    # ---- key:value -------------------------------------------------------------------------------------------------

    def _filter(self, negated: bool) -> Filter | None:
        """The filter that begins here, or None for what only looks like one: a URL, `error:`, `std::string`."""
        start = self.at
        found = _KEY.match(self.text, start)
        if found is None:
            return None
        self.at = found.end()
        attribute = bool(found[1])
        name = found[2] or (self._quoted() if attribute else "")
        key_end = self.at
        known = attribute or name in FIELDS
        if self._here() != ":" or not (known or self._is_value(name, self.at + 1)):
            self.at = start
            return None
        self.at += 1
        if not known:
            self._refuse_slip(name, start, key_end)
            attribute = True
        comparison = self._comparison() if name == "level" and not attribute else ""
        values = self._values(name, start, single=name in TIMES and not attribute)
        result = Filter(name, tuple(values), comparison, attribute, negated)
        return result if attribute else self._checked(result, start, key_end + 1)

    def _is_value(self, name: str, at: int) -> bool:
        """Whether what follows is the value of an attribute, and not of a URL, of `std::string` or `error:`, or a port."""
        rest = self.text[at : at + 2]
        if "." in name and _PORT.match(self.text, at):
            return False
        return bool(rest) and rest != "//" and rest[0] != ":" and not rest[0].isspace()

    def _refuse_slip(self, name: str, start: int, end: int) -> None:
        field = nearest_field(name)
        if field is not None:
            raise BadQuery(
                f'did you mean "{field}:"? For an attribute of that name: attr.{name}:', self.text, start, end
            )

    def _comparison(self) -> str:
        for sign in COMPARISONS:
            if self.text.startswith(sign, self.at):
                self.at += len(sign)
                return sign
        return ""

    def _values(self, name: str, key: int, *, single: bool) -> list[Text]:
        separator = "" if single else ","
        values = [self._value(name, key, separator)]
        while separator and self._here() == separator:
            self.at += 1
            values.append(self._value(name, key, separator))
        return values

    def _value(self, name: str, key: int, separator: str) -> Text:
        start = self.at
        self._count(key)
        if self._here() == '"':
            text = self._quoted()
            self._end_of_quoted(separator)
            return Text(text)
        while self._here() and not self._here().isspace() and self._here() != separator:
            self.at += 1
        value = self.text[start : self.at]
        if not value:
            raise BadQuery(f'a value is missing here; for an empty one: {name}:""', self.text, key, self.at)
        return Text(value, "*" in value)

    def _checked(self, term: Filter, start: int, value: int) -> Filter:
        """`term` with values that its field can have."""
        if term.name in TIMES:
            try:
                moment(term.values[0].text, _ANY_NOW, closing=term.name == "until")
            except Refused:
                raise BadQuery(
                    f"{term.name} takes a duration such as 2h or 7d, a day such as 2026-11-22, or an RFC 3339 time",
                    self.text, value, self.at,
                ) from None  # fmt: skip
        if term.name not in {"level", "kind", "category"}:
            return term
        lowered = tuple(Text(text.text.lower(), text.wild) for text in term.values)
        for text in lowered:
            if term.name == "level" and (text.text not in LEVELS or (term.comparison and len(lowered) > 1)):
                raise BadQuery(
                    f"level is one of {', '.join(LEVELS)}; several with commas, or one with >=, >, <= or <",
                    self.text, value, self.at,
                )  # fmt: skip
            kind = nearest_kind(text.text, self.kinds) if term.name == "kind" and not text.wild else None
            if kind is not None:
                raise BadQuery(f'did you mean "kind:{kind}"?', self.text, start, self.at)
        return Filter(term.name, lowered, term.comparison, term.attribute, term.negated)


def format_query(query: Query) -> str:
    """A text that parses to `query`, no longer than any other."""
    return " ".join(map(_format_term, query.terms))


def _format_term(term: Term) -> str:
    """The first way of writing `term` that is read as `term`."""
    sign = "-" if term.negated else ""
    if isinstance(term, Words):
        ways = [term.value.text, _quote(term.value.text)]
    else:
        bare = term.comparison + ",".join(value.text for value in term.values)
        careful = term.comparison + ",".join(map(_format_value, term.values))
        explicit = "attr." + (term.name if _NAME.fullmatch(term.name) else _quote(term.name))
        keys = [term.name, explicit] if term.attribute else [term.name]
        ways = [f"{key}:{values}" for key in keys for values in (bare, careful)]
    for way in ways[:-1]:
        try:
            if parse(sign + way) == Query((term,)):
                return sign + way
        except BadQuery:
            continue
    return sign + ways[-1]


def _format_value(value: Text) -> str:
    return _quote(value.text) if not value.wild and _NEEDS_QUOTES.search(value.text) else value.text


def _quote(text: str) -> str:
    return '"' + _ESCAPED.sub(r"\\\g<0>", text) + '"'
