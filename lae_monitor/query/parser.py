"""Text -> Query, and back. Whatever the text, the answer is a Query or a BadQuery that points at the place."""

import re
from dataclasses import replace
from typing import Final

from lae_monitor.core.kind import Kinds
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import LEVELS
from lae_monitor.query import patterns
from lae_monitor.query.grammar import (
    COMPARISONS,
    LEVEL_NAMES,
    NO_KINDS,
    TIMES,
    BadQuery,
    Either,
    Filter,
    Pattern,
    Query,
    Substring,
    Term,
    Text,
    Words,
    fields,
    moment,
    nearest_field,
    nearest_kind,
)

MAX_QUERY: Final = 2_000  # characters; nobody types more, and every term costs the engine
MAX_TERMS: Final = 64  # terms and values together
MAX_DEPTH: Final = 16  # parentheses within parentheses
_ANY_NOW: Final = 1_700_000_000.0  # times are only tried here; what they mean is decided when the search runs

_KEY: Final = re.compile(r"(attr\.)?(?:([A-Za-z_][A-Za-z0-9_.-]*)|(?<=attr\.)(?=\"))")
_PORT: Final = re.compile(r"[0-9]+(?:\s|$)")
_OPERATOR: Final = re.compile(r"(AND|OR|NOT)(?=[\s()]|$)")
_PATTERN: Final = re.compile(r"/((?:[^/\\]|\\.)*[^/\\\s]|(?:[^/\\]|\\.)*\\.)/(?=[\s)]|$)", re.DOTALL)
_ELSEWHERE: Final = re.compile(r"([a-z]+)(==?|!=|~|[<>]=?)(?=[^\s=])|(\|\|?|&&?)(?=\s|$)")


def parse(text: str, kinds: Kinds = NO_KINDS) -> Query:
    """
    Args:
        kinds: of which there may be events; some have fields of their own.

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

    def __init__(self, text: str, kinds: Kinds) -> None:
        self.text = text
        self.kinds = kinds
        self.fields = fields(kinds)
        self.at = 0
        self.pieces = 0
        self.depth = 0

    def query(self) -> Query:
        found = self._either()
        if self._here():
            raise self._stray(self.at, "there is no parenthesis to close")
        return found

    def _either(self) -> Query:
        """What stands up to the end, or to a parenthesis that was opened before."""
        branches: list[Query] = []
        terms: list[Term] = []
        while self._skip_spaces() and self._here() != ")":
            operator = _OPERATOR.match(self.text, self.at)
            if operator is None or operator[1] == "NOT":
                terms += self._term()
                continue
            if not terms or not self._goes_on(operator.end()):
                raise BadQuery(
                    f'{operator[1]} stands between two terms; to search for the word: "{operator[1]}"',
                    self.text, self.at, operator.end(),
                )  # fmt: skip
            self.at = operator.end()
            if operator[1] == "OR":
                branches.append(Query(tuple(terms)))
                terms = []
        branches.append(Query(tuple(terms)))
        if len(branches) == 1:
            return branches[0]
        return Query((Either(tuple(one for branch in branches for one in _alternatives(branch))),))

    def _goes_on(self, at: int) -> bool:
        """Whether another term follows at `at`, and not the end or one more AND or OR."""
        rest = self.text[at:].lstrip()
        operator = _OPERATOR.match(rest)
        return bool(rest) and rest[0] != ")" and (operator is None or operator[1] == "NOT")

    def _stray(self, at: int, problem: str) -> BadQuery:
        sign = self.text[at]
        return BadQuery(f'{problem}; to search for the sign: "{sign}"', self.text, at, at + 1)

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

    def _term(self) -> tuple[Term, ...]:
        negated = False
        while operator := _OPERATOR.match(self.text, self.at):
            if operator[1] != "NOT" or not self._goes_on(operator.end()):
                raise BadQuery(
                    f'{operator[1]} stands before a term; to search for the word: "{operator[1]}"',
                    self.text, self.at, operator.end(),
                )  # fmt: skip
            negated = not negated
            self.at = operator.end()
            self._skip_spaces()
        follows = self._here(1)
        if self._here() == "-" and follows and not follows.isspace() and follows not in "-)":
            negated = not negated
            self.at += 1
        if self._here() == "(":
            return self._group(negated)
        return (self._single(negated),)

    def _group(self, negated: bool) -> tuple[Term, ...]:
        start = self.at
        self.at += 1
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise BadQuery(f"there are more than {MAX_DEPTH} parentheses within each other", self.text, start, self.at)
        inner = self._either()
        if self._here() != ")":
            raise self._stray(start, "the parenthesis is not closed")
        self.at += 1
        self.depth -= 1
        if not inner.terms:
            raise BadQuery("there is nothing between the parentheses", self.text, start, self.at)
        if (here := self._here()) and not here.isspace() and here != ")":
            raise BadQuery("a space is missing after the parenthesis", self.text, self.at, self.at + 1)
        return _negated(inner) if negated else inner.terms

    def _single(self, negated: bool) -> Term:
        start = self.at
        if self._here() == '"':
            text = self._quoted()
            if not text.strip():
                raise BadQuery("there is nothing between the quotes", self.text, start, self.at)
            self._end_of_quoted("")
            self._count(start)
            return Words(Text(text), negated)
        if found := _PATTERN.match(self.text, start):
            return self._pattern(found, negated)
        if self.text.startswith("text~", start) and self._here(5) not in {"", " "}:
            self.at += len("text~")
            value = self._value("text~", start, "")
            if not value.text:
                raise BadQuery("there is nothing between the quotes", self.text, start, self.at)
            return Substring(value.text, negated)
        return self._filter(negated) or self._word(negated)

    def _pattern(self, found: re.Match[str], negated: bool) -> Pattern:
        self._count(found.start())
        try:
            patterns.check(found[1])
        except patterns.NoPattern as error:
            at = found.start(1) + error.at
            raise BadQuery(str(error), self.text, at, min(at + 1, found.end())) from None
        self.at = found.end()
        return Pattern(found[1], negated)

    def _word(self, negated: bool) -> Words:
        start = self.at
        self._refuse_foreign()
        word = self._bare("")
        self._count(start)
        return Words(Text(word, "*" in word), negated)

    def _bare(self, separator: str) -> str:
        """What stands here without quotes, up to a space, `separator`, or a parenthesis that it did not open itself."""
        start = self.at
        opened: list[int] = []
        while (here := self._here()) and not here.isspace() and here != separator:
            if here == "(":
                opened.append(self.at)
            elif here == ")":
                if not opened:
                    break
                opened.pop()
            self.at += 1
        if opened:
            raise self._stray(opened[-1], "the parenthesis is not closed")
        if self.at == start and self._here() == ")" and not self.depth:
            raise self._stray(self.at, "there is no parenthesis to close")
        return self.text[start : self.at]

    def _refuse_foreign(self) -> None:
        """Other languages' ways of writing, with the nearest of ours."""
        found = _ELSEWHERE.match(self.text, self.at)
        if found is None or (found[1] and found[1] not in self.fields):
            return
        name, sign, joined = found.groups()
        if joined:
            raise BadQuery('between terms: OR, or nothing for "and"', self.text, self.at, found.end())
        value = self.text[found.end() :].split(maxsplit=1)[0]
        minus = "-" * (sign == "!=")
        comparison = sign if sign in COMPARISONS and name == "level" else ""
        ours = f"{minus}{name}:{comparison}{value}"
        if sign == "~":
            ours = f"{name}:*{value}*"
        elif sign in COMPARISONS and name in TIMES:
            ours = f"since:{value}" if sign[0] == ">" else f"until:{value}"
        raise BadQuery(
            f"did you mean {ours} here? To search for the words, quote them", self.text, self.at, found.end()
        )

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
        if here and not here.isspace() and here not in {allowed, ")"}:
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
        known = attribute or name in self.fields
        if self._here() != ":" or not (known or self._is_value(name, self.at + 1)):
            self.at = start
            return None
        self.at += 1
        if not known:
            self._refuse_slip(name, start, key_end)
            attribute = True
        comparison = self._comparison() if name == "level" and not attribute else ""
        values = self._values(name, start, single=name in TIMES and not attribute)
        of = None if attribute else self.kinds.search.get(name)
        result = Filter(name, tuple(values), comparison, attribute, negated, of)
        return result if attribute else self._checked(result, start, key_end + 1)

    def _is_value(self, name: str, at: int) -> bool:
        """Whether what follows is the value of an attribute, and not of a URL, of `std::string` or `error:`, or a port."""
        rest = self.text[at : at + 2]
        if "." in name and _PORT.match(self.text, at):
            return False
        return bool(rest) and rest != "//" and rest[0] != ":" and not rest[0].isspace()

    def _refuse_slip(self, name: str, start: int, end: int) -> None:
        field = nearest_field(name, self.kinds)
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
        self._count(key)
        if self._here() == '"':
            text = self._quoted()
            self._end_of_quoted(separator)
            return Text(text)
        value = self._bare(separator)
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
                    f"{term.name} takes a duration such as 2h or 7d, a day such as 2026-11-22 or today, a time such as "
                    "17:00, or an RFC 3339 time",
                    self.text, value, self.at,
                ) from None  # fmt: skip
        if term.name not in {"level", "kind"} and term.of is None:
            return term
        lowered = tuple(Text(text.text.lower(), text.wild) for text in term.values)
        for text in lowered:
            if term.name == "level" and (text.text not in LEVEL_NAMES or (term.comparison and len(lowered) > 1)):
                raise BadQuery(
                    f"level is one of {', '.join(LEVELS)}; several with commas, or one with >=, >, <= or <",
                    self.text, value, self.at,
                )  # fmt: skip
            kind = nearest_kind(text.text, self.kinds) if term.name == "kind" and not text.wild else None
            if kind is not None:
                raise BadQuery(f'did you mean "kind:{kind}"?', self.text, start, self.at)
        return replace(term, values=lowered)


def _alternatives(query: Query) -> tuple[Query, ...]:
    """`query`, or what it is one of: an OR within an OR says no more."""
    first = query.terms[0]
    is_either = len(query.terms) == 1 and isinstance(first, Either) and not first.negated
    return first.queries if is_either and isinstance(first, Either) else (query,)


def _negated(query: Query) -> tuple[Term, ...]:
    """The terms that hold where `query` does not."""
    if len(query.terms) > 1:
        return (Either((query,), negated=True),)
    term = query.terms[0]
    if isinstance(term, Either) and term.negated and len(term.queries) == 1:
        return term.queries[0].terms
    return (replace(term, negated=not term.negated),)
