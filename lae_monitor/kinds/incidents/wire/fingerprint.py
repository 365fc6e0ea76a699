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
from lae_monitor.kinds.incidents.wire.masking import masked
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
