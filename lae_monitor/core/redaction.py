r"""Secrets in what hosts send, found by their form: FURLs, Tahoe-LAFS capabilities, passwords and tokens in URLs, and values
that stand after their names.

A secret is found however it was written down: in a URL (`%3A`, `%253A`), in JSON or in what Python prints (`\x3a`, `\/`),
in HTML (`&#58;`), wrapped at any place of it, or cut at its end. What is hidden may be a word too much, never a letter too
few.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

import msgspec

HIDDEN: Final = "***"

SHORTEST: Final = 8  # characters: no secret has fewer, with what makes it one
LONGEST_TUB_ID: Final = 43  # characters: a SHA-256 in base64; Foolscap's have 32
SWISSNUM: Final = 32  # characters of base32, 160 bits
LONGEST_HEAD: Final = 80  # characters of a FURL or capability before its first secret letter, escaped several times
LONGEST_COLON: Final = 12  # characters, escaped several times
JOINTS: Final = 12  # line breaks within one secret
REMEMBERED: Final = 200  # characters of a text whose redaction is remembered: names and commands come again and again

_PERCENT: Final = "%(?:25)*"
_COLON: Final = rf"(?::|{_PERCENT}3[Aa]|\\+x3[Aa]|\\+u003[Aa]|&#58;|&#[xX]3[Aa];|&colon;)"
_SLASH: Final = rf"(?:\\*/|{_PERCENT}2[Ff]|\\+x2[Ff]|\\+u002[Ff]|&#47;|&#[xX]2[Ff];|&sol;)"
_ESCAPE: Final = r"\\+(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|/)"

# Where something long was wrapped: a line break, as such or written out, with quotes and indentation around it.
_JOINT: Final = re.compile(
    r"(?<![\\ \t])(?:\\*['\"]|&quot;|&#3[49];)?[ \t]*"
    r"(?:\\*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]|\\+(?:[nr]|x0[A-Da-d]|x1[C-Ec-e]|x85|u202[89]))"
    r"(?:\s|\\+(?:[nrt]|x0[9A-Da-d]))*(?:b?(?:\\*['\"]|&quot;|&#3[49];))?"
)
# The same in a text without backslashes, from the line break on.
_PLAIN_JOINT: Final = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]\s*(?:b?(?:['\"]|&quot;|&#3[49];))?")
_QUOTES: Final = ("'", '"', "&quot;", "&#34;", "&#39;")
_REST_OF_ESCAPE: Final = re.compile(r"(?:x|u00)[234][0-9A-Fa-f]")
# A FURL goes up to the next quote or blank: an object's name may have any other character. Foolscap's TubIDs are base32,
# those of Tahoe's newer protocol (NURLs) base64.
_FURL: Final = re.compile(rf"pb{_COLON}{_SLASH}{{2}}")
_FURL_PIECE: Final = re.compile(rf"[^\s'\"<>\\]+(?:{_ESCAPE}[^\s'\"<>\\]*)*|(?:{_ESCAPE}[^\s'\"<>\\]*)+")
_FIRST_SLASH: Final = re.compile(_SLASH)
# A backslash may be left of an escape that a line break went through, and of none: `x3a` can be part of a swissnum.
_WHOLE_SWISSNUM: Final = re.compile(rf"[^a-z2-7\\]|[a-z2-7]{{{SWISSNUM}}}|\*")
_BASE32: Final = re.compile(r"[a-z2-7]+")
# The beginning of a FURL may be missing, of a capability too: what is left has a form of its own.
_HEADLESS_FURL: Final = re.compile(r"(?<=[a-z2-7]{4})@(?=[^\s'\"<>\\/]{0,300}\\*/[a-z2-7]{20})")
# Both halves of a capability's body, from what separates them on: that is quick to look for.
_HEADLESS_CAP: Final = re.compile(
    r"[:%&\\](?<=[a-z2-7]{16}.)(?:(?<=:)|(?<=%)(?:25)*3[Aa]|(?<=&)(?:#58|#[xX]3[Aa]|colon);|(?<=\\)\\*(?:x|u00)3[Aa])"
    rf"[a-z2-7]{{26,52}}(?:{_COLON}\d+)*"
)
_KEY: Final = 26  # characters of base32, 128 bits
_END_OF_BASE32: Final = re.compile(r"[a-z2-7]+\Z")

_CAP: Final = re.compile(
    rf"(?i:URI){_COLON}(?i:CHK|SSK|MDMF|DIR2|LIT|VERIFIER)(?:-[A-Za-z0-9]+)*{_COLON}(?=[A-Za-z0-9%\\&/\x00-\x1f\u200b])"
)
_CAP_PIECE: Final = re.compile(
    rf"(?:[A-Za-z0-9:+/=_~-]+|{_PERCENT}(?:3[Aa]|2[FfBbDd]|3[Dd])|{_ESCAPE}|&#(?:58|47|[xX](?:3[Aa]|2[Ff]));|&(?:colon|sol);|"
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b-\u200f\u2060\ufeff])+"
)
_WHOLE_CAP: Final = re.compile(rf"[a-z2-7]{{26}}{_COLON}[a-z2-7]{{52}}")
_ANY_COLON: Final = re.compile(_COLON)
_MORE_OF_CAP: Final = re.compile(rf"[a-z2-7]*{_COLON}|[a-z2-7]{{4,}}|\d+\b|[a-z2-7]+$", re.MULTILINE)

_AUTHORIZATION: Final = re.compile(
    r"(?i)authorization\\*['\"]?\s*[:=,]\s*b?\\*['\"]?(?:[a-z][a-z0-9-]*\s+)?(?P<hidden>[^\s'\",\\]+)"
)
# What Tahoe-LAFS calls the secrets of its storage protocols, of its web interface, and of convergent encryption.
# After a colon anything is one; after a blank what is no word.
_NAMED: Final = re.compile(
    r"(?i)(?:(?:lease[-_ ]?)?(?:renew(?:al)?|cancel)[-_ ]?secret|upload[-_ ]?secret|lease[-_ ]?secret|write[-_ ]?enabler|"
    r"convergence(?:[-_ ]?secret)?|swiss[-_ ]?num(?:ber)?|api[-_ ]?auth[-_ ]?token)\\*['\"]?\s*"
    r"(?P<sure>[:=,]\s*[(\[]?)?"
    r"(?P<hidden>b\\*'(?:[^'\\]|\\.)+|(?(sure)b?(?:\\*['\"])?[A-Za-z0-9+/_=-]{4,}|"
    r"(?:[A-Za-z0-9+/_=-]{16,}|(?=[A-Za-z+/_=-]*[0-9])[A-Za-z0-9+/_=-]{8,})))"
)
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?!\*\*\*)(?P<hidden>.+?)(?=-----END|\Z)", re.DOTALL
)

# Passwords in URLs, and what the query of a URL calls a token, key, secret or password.
_IN_URL: Final = re.compile(
    r"(?i)(?<=[a-z])://[^\s/?#@:'\"<>\\]*:(?P<password>(?!\*\*\*@)[^\s/@'\"<>\\]+)@|"
    r"[?&;](?:[a-z_]*(?:token|secret|passw(?:or)?d|api_?key|auth)|sentry_key)=(?P<token>(?!\*\*\*)[^\s&;#'\"<>\\]{4,})"
)
# Any of these is in what is left of a text without blanks and quotes, if there is anything to look for at all.
_MAYBE: Final = re.compile(
    rf"pb{_COLON}{_SLASH}|(?i:URI){_COLON}(?i:CHK|SSK|MDMF|DIR2|LIT|VERIFIER)|{_HEADLESS_FURL.pattern}|{_HEADLESS_CAP.pattern}"
)


def redacted(value: Any) -> Any:
    """`value`, in which every text is redacted, the names of mappings and the fields of structs too."""
    if isinstance(value, str):
        shown = redact(value)
        return value if shown == value else shown  # names have types of their own
    if isinstance(value, Mapping):
        found: dict[Any, Any] = {}
        for name, inner in value.items():
            shown = redact(name) if type(name) is str else redacted(name)
            while shown in found:  # two names that differ in their secrets
                shown = f"{shown}'"
            found[shown] = redact(inner) if type(inner) is str else redacted(inner)
        return found
    if isinstance(value, msgspec.Struct):
        changed = {}
        for name in _text_fields(type(value)):
            field = getattr(value, name)
            if (shown := redacted(field)) != field:
                changed[name] = shown
        return msgspec.structs.replace(value, **changed) if changed else value
    if isinstance(value, list | tuple):
        items = [redacted(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


@lru_cache(100)
def _text_fields(struct: type[msgspec.Struct]) -> tuple[str, ...]:
    no_text = {int, float, bool, bytes}
    return tuple(field.name for field in msgspec.structs.fields(struct) if field.type not in no_text)


def redact(text: str) -> str:
    """`text` with *** in place of the secret parts of FURLs, capabilities, URLs, Authorization headers and named secrets."""
    return _remembered(text) if len(text) <= REMEMBERED else _redact(text)


@lru_cache(10_000)
def _remembered(text: str) -> str:
    return _redact(text)


def _redact(text: str) -> str:
    if len(text) < SHORTEST:
        return text
    may_be_wrapped = "\\" in text or len(text.splitlines()) > 1
    if may_be_wrapped and not _may_hide(text):
        hidden: list[tuple[int, int]] = []
    else:
        hidden = _Unwrapped(text).hidden() if may_be_wrapped else _hidden(text, ())
    lower = text.lower()
    if "secret" in lower or "auth" in lower or "enabler" in lower or "convergence" in lower or "swiss" in lower:
        hidden += (found.span("hidden") for pattern in (_AUTHORIZATION, _NAMED) for found in pattern.finditer(text))
    if "://" in text or "=" in text:
        hidden += (found.span(found.lastgroup or 0) for found in _IN_URL.finditer(text))
    if "PRIVATE KEY" in text:
        hidden += (found.span("hidden") for found in _PRIVATE_KEY.finditer(text))
    return _without(text, sorted(hidden)) if hidden else text


def _may_hide(text: str) -> bool:
    """Whether a text of several lines is worth to be put together: that takes 30 times as long as this look."""
    if "\\" in text:
        return True
    flat = "".join(text.split()).replace("'", "").replace('"', "").replace("&quot;", "")
    return _MAYBE.search(flat.replace("&#34;", "").replace("&#39;", "")) is not None


class _Unwrapped:
    """A text without its line breaks, in which what was wrapped is found; `hidden` says where it was before."""

    def __init__(self, text: str) -> None:
        joints = [_joint(text, found) for found in _JOINT.finditer(text)] if "\\" in text else list(_plain_joints(text))
        self._gone = list(accumulate((end - start for start, end in joints), initial=0))
        self._breaks = [start - gone for (start, _), gone in zip(joints, self._gone, strict=False)]
        ends = [0, *(end for _, end in joints)]
        starts = [*(start for start, _ in joints), len(text)]
        self._flat = "".join(text[end:start] for end, start in zip(ends, starts, strict=True))

    def hidden(self) -> list[tuple[int, int]]:
        found = _hidden(self._flat, self._breaks)
        return [(self._at(start), self._at(end - 1) + 1) for start, end in found]

    def _at(self, place: int) -> int:
        return place + self._gone[bisect_right(self._breaks, place)]


def _plain_joints(text: str) -> Iterator[tuple[int, int]]:
    """As _joint() of what _JOINT finds, in a text without backslashes; in a tenth of the time."""
    done = 0
    for found in _PLAIN_JOINT.finditer(text):
        start = found.start()
        while start > done and text[start - 1] in " \t":
            start -= 1
        quote = next((quote for quote in _QUOTES if text.endswith(quote, done, start)), "")
        if quote and text[start - len(quote) - 1 : start - len(quote)] not in {" ", "\t"}:
            start -= len(quote)
        done = found.end()
        yield start, done


def _joint(text: str, found: re.Match[str]) -> tuple[int, int]:
    """From where to where a line break goes; the backslash of an escape that was broken is none of it."""
    start, end = found.span()
    is_escape = text[start] == "\\" and _REST_OF_ESCAPE.match(text, end) and not text.endswith("&#", 0, start)
    return (start + 1 if is_escape else start), end


def _without(text: str, hidden: Sequence[tuple[int, int]]) -> str:
    """`text` with *** in place of what lies from the first to the second of each pair; they rise, and may overlap."""
    done, at = [], 0
    for start, end in hidden:
        if start >= at:
            done += [text[at:start], HIDDEN]
        at = max(end, at)
    return "".join([*done, text[at:]])


def _hidden(text: str, breaks: Sequence[int]) -> list[tuple[int, int]]:
    """From where to where secrets go.

    Args:
        breaks: where lines were broken in what `text` was.
    """
    found: list[tuple[int, int]] = []
    if "pb" in text:
        found += _ends(_FURL, text, breaks, _end_of_furl)
    if "URI" in text or "uri" in text:
        found += _ends(_CAP, text, breaks, _end_of_cap)
    if len(text) > SWISSNUM + 20:
        if "@" in text:
            found += _ends(_HEADLESS_FURL, text, breaks, _end_of_furl)
        found += (_from_key(text, match) for match in _HEADLESS_CAP.finditer(text))
    return found


def _ends(
    beginning: re.Pattern[str],
    text: str,
    breaks: Sequence[int],
    end_of: Callable[[str, int, Sequence[int]], tuple[int, int]],
) -> Iterator[tuple[int, int]]:
    """What is secret after each `beginning`."""
    at = 0
    while match := beginning.search(text, at):
        start, end = end_of(text, match.end(), breaks)
        if end > start:
            yield start, end
        # The next one may have begun before the break at which this one ended.
        at = max(end - LONGEST_HEAD, match.end())


def _end_of_furl(text: str, at: int, breaks: Sequence[int]) -> tuple[int, int]:
    piece = _FURL_PIECE.match(text, at)
    if piece is None:
        return at, at
    end = piece.end()
    start = _after_slash(text, at, end)
    if not start:
        # Without its slash nobody knows where the swissnum begins: but for the TubID, all is hidden.
        return max(min(text.find("@", at, end) + 1 or at + LONGEST_TUB_ID, end), at), end
    for place in _breaks_within(breaks, start, end):
        if _WHOLE_SWISSNUM.search(text, start, place) or _BASE32.match(text, place) is None:
            return start, place
    return start, end


def _end_of_cap(text: str, start: int, breaks: Sequence[int]) -> tuple[int, int]:
    piece = _CAP_PIECE.match(text, start)
    if piece is None:
        return start, start
    for place in _breaks_within(breaks, start, piece.end()):
        if _WHOLE_CAP.search(text, start, place):
            return start, place
        if _MORE_OF_CAP.match(text, place) is None and not _within_a_colon(text, place):
            return start, place
    return start, piece.end()


def _from_key(text: str, match: re.Match[str]) -> tuple[int, int]:
    """The place of a capability's body without its head, by the match that begins after its key."""
    before = _END_OF_BASE32.search(text, max(match.start() - _KEY, 0), match.start())
    return before.start() if before else match.start(), match.end()


def _within_a_colon(text: str, place: int) -> bool:
    """Whether a line was broken in the middle of an escape."""
    near = _ANY_COLON.finditer(text, max(place - LONGEST_COLON, 0), place + LONGEST_COLON)
    return any(colon.start() < place < colon.end() for colon in near)


def _breaks_within(breaks: Sequence[int], start: int, end: int) -> Sequence[int]:
    first = bisect_right(breaks, start)
    return [place for place in breaks[first : first + JOINTS] if place < end]


def _after_slash(text: str, begin: int, end: int) -> int:
    """The place after the first slash, in whatever way it is written; 0 where there is none."""
    if "%" not in text and "\\" not in text and "&" not in text:
        return text.find("/", begin, end) + 1
    found = _FIRST_SLASH.search(text, begin, end)
    return found.end() if found else 0
