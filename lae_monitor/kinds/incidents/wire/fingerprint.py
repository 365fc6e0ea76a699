"""What the same mistake has in common, wherever and whenever it happens.

It is the `umid` of the line that logged it; else the format of its message; else the message without what differs, and the
type of the exception.

Groups are known by these texts, and so are the decisions of operators. When this module begins to make other texts, VERSION
goes up, and the way it was before stays as one of EARLIER: what was decided then is found by it (see query.decisions).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from lae_monitor.core.redaction import redact
from lae_monitor.kinds.incidents.wire.render import FAILED, MAX_MESSAGE, SPECIFIER, message, plain_text, presentable

VERSION: Final = 2

MAX_GROUP: Final = 200  # characters, and half of that more for the exception
MAX_PLACE: Final = 100  # characters of a file's and a function's name
FEWEST_WORDS: Final = 3  # letters of a format beside what it inserts: a format without says nothing
UMID, FORMAT, MESSAGE = "umid", "format", "masked"  # what `by` may be

_WHY: Final = {
    UMID: "the same line of the program wrote them: its umid is {umid}",
    FORMAT: "their messages have the same format, before anything is inserted",
    MESSAGE: (
        "their messages are the same but for ids, addresses, paths, times and numbers, and so is the exception, "
        "if there is one"
    ),
}

_TRACEBACK: Final = "Traceback (most recent call last):"
_UNHANDLED: Final = re.compile(r"(?i)\s*unhandled (?:error|exception)")
_PLACE: Final = re.compile(r'File "([^"\n]*)", line \d+, in ([^\s\n]+)')
_TYPES: Final = (
    re.compile(r"<(?:class|type) '([\w.]{1,100})'>"),
    re.compile(r"<[\w.]*Failure ([A-Za-z_][\w.]{0,100})[:>]"),
)
_TYPE_OF_LINE: Final = re.compile(r"([A-Za-z_][\w.]{0,100})(?::|\Z)")
_STANDARD: Final = re.compile(r"\b(?:builtins|exceptions|__builtin__)\.(?=\w)")
_LETTER: Final = re.compile(r"[^\W\d_]")


class Fingerprint(NamedTuple):
    """`text` names the group, `by` says what it was made from; `earlier`: what former versions called it, if other."""

    text: str
    by: str
    earlier: tuple[str, ...] = ()


def fingerprint(trigger: Mapping[str, Any]) -> Fingerprint:
    """The fingerprint of the event that made an incident."""
    text, by = _made(trigger)
    earlier = dict.fromkeys(make(trigger) for make in EARLIER)
    return Fingerprint(text, by, tuple(was for was in earlier if was and was != text))


def _made(trigger: Mapping[str, Any]) -> tuple[str, str]:
    umid, template = trigger.get("umid"), trigger.get("format")
    if isinstance(umid, str) and (text := _one_line(umid, MAX_GROUP)):
        return text, UMID
    if isinstance(template, str) and len(_LETTER.findall(SPECIFIER.sub(" ", template[:MAX_MESSAGE]))) >= FEWEST_WORDS:
        return _one_line(template, MAX_GROUP), FORMAT
    return _of_message(trigger), MESSAGE


def _of_message(trigger: Mapping[str, Any]) -> str:
    """The message without what differs, and the exception's type; without a message, what the exception says, and where."""
    text = message(trigger).removesuffix(FAILED)
    failure = _failure(trigger)
    if _TRACEBACK in text:
        text, _, traceback = text.partition(_TRACEBACK)
        failure = failure or traceback
    if text.strip() and not _UNHANDLED.match(text):
        return f"{_masked(text)} {_exception(failure)}".strip()[: MAX_GROUP + MAX_GROUP // 2]
    why = plain_text(trigger.get("why") or "")
    said = _STANDARD.sub("", last_line(failure))
    found = _masked(" ".join((text, redact(why), said)))
    return f"{found} {_place(failure)}".strip() or "without a message"


def last_line(failure: str) -> str:
    """What a traceback, or what Foolscap prints of one, ends with: the exception and what it says."""
    lines = [line.strip() for line in failure.splitlines()]
    return next(
        (
            line.removesuffix("]") if line.count("]") > line.count("[") else line
            for line in reversed(lines)
            if line.strip("] ")
        ),
        "",
    )


def failure_text(failure: Any) -> str:
    """The longest that is known of a failure, in whatever form it was logged; redacted."""
    if isinstance(failure, dict):
        failure = failure.get("traceback") or failure.get("str") or failure.get("repr") or ""
    return presentable(plain_text(failure), MAX_MESSAGE) if failure else ""


def _failure(trigger: Mapping[str, Any]) -> str:
    return failure_text(trigger.get("failure"))


def _exception(failure: str) -> str:
    """The type of an exception, by what was printed of it; "" for none."""
    for pattern in _TYPES:
        if found := pattern.search(failure):
            return _STANDARD.sub("", found[1])
    found = _TYPE_OF_LINE.match(last_line(failure))
    return _STANDARD.sub("", found[1]) if found else ""


def _place(failure: str) -> str:
    """In which function it happened, without the line: that moves from release to release."""
    places = _PLACE.findall(failure)
    if not places:
        return ""
    file, function = places[-1]
    name = file.replace("\\", "/").rpartition("/")[2]
    return f"in {function} ({name})"[:MAX_PLACE]


def _masked(text: str) -> str:
    return _one_line(masked(text), MAX_GROUP)


def _one_line(text: str, limit: int) -> str:
    # A secret that was wrapped is found while its lines are lines.
    return presentable(" ".join(redact(text[:MAX_MESSAGE]).split()), limit)


# ---- earlier versions --------------------------------------------------------------------------------------------------

_EXCEPTION_1: Final = re.compile(
    r"<class '([\w.]{1,100})'>|Failure:? (?:instance: )?.{0,40}?([A-Za-z_][\w.]{0,100}(?:Error|Exception)\w{0,40})"
)


def _version_1(trigger: Mapping[str, Any]) -> str:
    for key in ("umid", "format"):
        if isinstance(value := trigger.get(key), str) and value.strip():
            return _one_line(value, MAX_GROUP)
    text = re.sub(r"\b0x[0-9A-Fa-f]+|\b[0-9a-f]{16,}\b|\b[a-z2-7]{26,}\b", "<id>", message(trigger))
    failure = trigger.get("failure") or ""
    if isinstance(failure, dict):
        failure = failure.get("str") or failure.get("repr") or ""
    found = _EXCEPTION_1.search(redact(plain_text(failure)))
    exception = (found[1] or found[2]) if found else ""
    text = _one_line(re.sub(r"\d+", "<n>", text), MAX_GROUP)
    return f"{text} {exception}".strip()[: MAX_GROUP + MAX_GROUP // 2]


EARLIER: Final[tuple[Callable[[Mapping[str, Any]], str], ...]] = (_version_1,)


def why(group: str, attributes: Mapping[str, str]) -> str:
    """What the incidents of a group have in common, in words.

    Args:
        attributes: of the newest of them; before VERSION 2 an incident did not say by what it was grouped.
    """
    umid, by = attributes.get("umid", ""), attributes.get("fingerprint", "")
    sentence = _WHY.get(by or (UMID if umid and umid == group else ""), "their message is the same")
    version = attributes.get("fingerprint.version") or 1
    return f"{sentence.replace('{umid}', group)} (fingerprint of version {version})"


# ---- masking ---------------------------------------------------------------------------------------------------------
# Two messages that are equal after masking count as the same mistake. So what is masked is what a program inserts,
# recognized by its form; words stay. Which form is an id follows from what Tahoe-LAFS logs: base32 of 26 characters (storage
# indexes), 32 (TubIDs) and 52 (servers, hashes), or their first 4 to 8 in brackets, in quotes, or after their name.


_DAY: Final = r"(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?"
_MONTH: Final = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)[a-z]*"
_CLOCK: Final = r"\d\d?:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d)\b)?"
_YEAR: Final = r"(?: +\d{4}\b)?"
_HEX: Final = r"[0-9A-Fa-f]"

# In this order: what is masked first is not looked at again.
_RULES: Final = tuple(
    (re.compile(pattern), mask)
    for pattern, mask in (
        # Redacted already; the type of a capability is no part of the mistake.
        (r"pb://[^\s'\"<>,;)\]]*", "<furl>"),
        (r"URI(?::|%3A)[A-Z0-9-]+[^\s'\"<>,;)\]]*", "<cap>"),
        (r"\b(?:https?|ftp|wss?)://[^\s'\"<>)\]]+", "<url>"),
        (rf"\b{_HEX}{{8}}-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12,13}}\b", "<id>"),
        # Times
        (rf"\b\d{{4}}-\d\d-\d\d(?:[T_ ]+{_CLOCK}|--\d\d-\d\d-\d\dZ?)?", "<time>"),
        (rf"\b(?:{_DAY},? +)?(?:\d\d? +{_MONTH}|{_MONTH} +\d\d?)(?:,? +\d{{4}}\b)?(?:,? +{_CLOCK})?{_YEAR}", "<time>"),
        (rf"\b{_CLOCK}", "<time>"),
        # What Python 2 printed, and Python 3 prints with a letter before it
        (r"(?<![\w'\"])[bu](?=['\"])", ""),
        # Places in memory, addresses
        (r"\b0x[0-9A-Fa-f]+\b", "<id>"),
        (r"\b(?:tcp[46]?|udp|ssl|tls|tor|i2p):\[?[\w.:-]+\]?(?::\d+)?", "<address>"),
        (rf"\[{_HEX}*:[0-9A-Fa-f:.]*(?:%\w+)?\](?::\d+)?", "<address>"),
        (rf"(?<![\w:.])(?:{_HEX}{{1,4}}:){{2,7}}:?(?:{_HEX}{{1,4}}(?::{_HEX}{{1,4}})*)?(?![\w:])", "<address>"),
        (rf"(?<![\w:.])::{_HEX}{{1,4}}(?::{_HEX}{{1,4}})*(?![\w:])", "<address>"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b", "<address>"),
        (r"\b(?:localhost|(?:[\w-]+\.)+(?!pyc?:)[\w-]*[A-Za-z][\w-]*):\d{1,5}\b(?!:)", "<address>"),
        # Files
        (r"(?<=['\"])(?:[A-Za-z]:)?[/\\~][^'\"\n]{1,500}(?=['\"])", "<path>"),
        (r"(?<![\w>])(?:[A-Za-z]:|~)?(?:[/\\]+[^\s'\"<>:,;()\[\]/\\]+){2,}[/\\]?", "<path>"),
        (r"(?<!module named )(['\"])[^'\"\n/]{1,200}\.[A-Za-z0-9]{1,4}\1", "'<file>'"),
        # Ids: base32, hexadecimal, base64
        (r"\b(?:v0-)?[a-z2-7]{26,}\b", "<id>"),
        (r"\bv0-[a-z2-7]{4,25}\b", "<id>"),
        (r"\b(?=[0-9a-f]*\d|[0-9a-f]{16})[0-9a-f]{8,}\b|\b(?=[0-9A-F]*\d|[0-9A-F]{16})[0-9A-F]{8,}\b", "<id>"),
        (r"\b(?=[\w+/-]*\d)(?=[\w+/-]*[a-z])(?=[\w+/-]*[A-Z])[\w+/-]{32,}={0,2}", "<id>"),
        (r"\b((?:tub|node|server|peer)_?id|SI|si|storage_index)([=:] ?['\"]?)[a-z2-7]{4,25}\b", r"\1\2<id>"),
        (r"\b(SI|[Ss]torage index) (['\"]?)(?:[a-z2-7]{5}|[a-z2-7]{26})\b(?! )", r"\1 \2<id>"),
        (r"\[[a-z2-7]{4,8}\]", "[<id>]"),
        (r"(?<=[ (\[{])(['\"])(?=[a-z2-7]*[2-7])[a-z2-7]{4,8}\1", "'<id>'"),
        (r"(\b(?:peer|server|node|from|to) )(['\"])(?:[a-z2-7]{5}|[a-z2-7]{8})\2", r"\1'<id>'"),
        (r"(?<=[(\[{])(['\"])[a-z2-7]{8}\1(?=, )", "'<id>'"),
        (r"(?<![\w.])(?=[a-z2-7]{5,25}(?![\w.]))[a-z]*[2-7]+[a-z]+[2-7]+[a-z2-7]*", "<id>"),
        (r"(?<![\w.])(?=[a-z2-7]{8}(?![\w.]))[a-z]*[2-7]+[a-z]+", "<id>"),
        # Numbers
        (r"(?<![\w<.])[-+]?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?(?![\d])", "<n>"),
        (r"\d+", "<n>"),
    )
)  # fmt: skip
_REPEATED: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"(['\"]?<(?:n|id|time|address|path|file)>['\"]?)(?:,? \1)+",
        r"(\([^()]{1,100}\))(?:, \1)+",
        r"(['\"]?<(?:n|id)>['\"]?: [^,{}]{1,60})(?:, \1)+",
    )
)


def masked(text: str) -> str:
    """`text`, which is redacted, on one line, with what programs insert replaced; lists of such count as one."""
    for pattern, mask in _RULES:
        text = pattern.sub(mask, text)
    text = " ".join(text.split())
    for pattern in _REPEATED:
        text = pattern.sub(r"\1", text)
    return text
