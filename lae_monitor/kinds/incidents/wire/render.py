"""The text of an event, as flogtool shows it, made so that no event can make it large, slow or harmful to look at.

Foolscap leaves the formatting to the reader: `format % event`, `message % args`, or `message` alone. A format may ask for a
width of a milliard, or name a megabyte a thousand times; control characters may move a terminal's cursor.
"""

import re
import reprlib
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from lae_monitor.core.secrets import redact

MAX_MESSAGE: Final = 16 * 1024  # characters of one rendered event
MAX_SPECIFIERS: Final = 200  # of one format
MAX_VALUE: Final = 8 * 1024  # characters of one inserted value
MAX_BITS: Final = 1024  # of a number
FAILED: Final = " [formatting failed]"  # flogtool's words

SPECIFIER: Final = re.compile(
    r"%(?:\((?P<key>[^()]*)\))?(?P<flags>[#0\- +]*)(?P<width>\d*)(?:\.(?P<precision>\d*))?[hlL]?(?P<type>.)?", re.DOTALL
)
# What may be the %3A of a secret in a URL: as a specifier it would take it apart.
_ENCODED: Final = re.compile(r"%(?![(srdif%])")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class _Short(reprlib.Repr):
    """What Python would print, without its long and deep parts. Of a text the end goes: its beginning shows a secret."""

    def repr_str(self, x: str, level: int) -> str:  # noqa: ARG002 - reprlib's signature
        # What is not cut is redacted with what stands around it.
        return repr(x if len(x) <= self.maxstring else redact(x)[: self.maxstring])

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        if level <= 0:
            return "{...}"
        pieces = [f"{self.repr1(key, level - 1)}: {self.repr1(x[key], level - 1)}" for key in islice(x, self.maxdict)]
        return "{" + ", ".join(pieces + ["..."] * (len(x) > self.maxdict)) + "}"


_short: Final = _Short()
_short.maxlevel = 6
_short.maxdict = _short.maxlist = _short.maxtuple = 200
_short.maxstring = 2000
_short.maxlong = 400


class FormattingFailed(Exception):
    """The format does not fit the event."""


def message(event: Mapping[str, Any]) -> str:
    """The event's text: no secrets, no control characters but newline and tab, at most MAX_MESSAGE characters."""
    try:
        if "format" in event:
            text = _format(event["format"], event)
        elif "args" in event:
            text = _format(event["message"], event["args"])
        else:
            text = plain_text(event.get("message", ""))
    except (FormattingFailed, KeyError):
        text = plain_text(event.get("message", "[no message]"))[: MAX_MESSAGE - len(FAILED)] + FAILED
    return presentable(text, MAX_MESSAGE)


def can_format(event: Mapping[str, Any]) -> bool:
    """Whether the event's format fits what it is to insert, and asks for nothing that no message needs."""
    try:
        if "format" in event:
            _format(event["format"], event)
        else:
            _format(event["message"], event["args"])
    except (FormattingFailed, KeyError):
        return False
    return True


def presentable(text: str, limit: int) -> str:
    """`text` without secrets and control characters, cut to `limit`."""
    shown = redact(text[: 2 * limit])
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], shown)[:limit]


def plain_text(value: Any) -> str:
    """A string as it is; of anything else, what Python would print, with its long and deep parts left out."""
    return value[:MAX_MESSAGE] if isinstance(value, str) else _short.repr(value)[:MAX_MESSAGE]


def _format(template: Any, arguments: Any) -> str:
    """`template % arguments`, bounded.

    Raises:
        FormattingFailed
    """
    if not isinstance(template, str):
        raise FormattingFailed
    template = template[:MAX_MESSAGE]
    if _ENCODED.search(template):
        template = redact(template)
    mapping = arguments if isinstance(arguments, Mapping) else None
    positional = list(arguments) if isinstance(arguments, list | tuple) else [arguments]
    pieces = []
    end = size = used = 0
    for count, found in enumerate(SPECIFIER.finditer(template), 1):
        if count > MAX_SPECIFIERS or size > MAX_MESSAGE:
            break
        pieces.append(template[end : found.start()])
        end = found.end()
        if found["type"] == "%":
            pieces.append("%")
        elif mapping is not None:
            value = arguments if found["key"] is None else mapping.get(found["key"], FormattingFailed)
            pieces.append(_insert(found, value))
        else:
            if found["key"] is not None or used >= len(positional):
                raise FormattingFailed
            pieces.append(_insert(found, positional[used]))
            used += 1
        size += len(pieces[-1]) + len(pieces[-2])
    else:
        if mapping is None and used != len(positional):
            raise FormattingFailed
    pieces.append(template[end:])
    return "".join(pieces)


def _insert(found: re.Match[str], value: Any) -> str:
    """One specifier with its value.

    Raises:
        FormattingFailed: also for a width or precision that no message needs.
    """
    width, precision, kind = found["width"], found["precision"], found["type"]
    if value is FormattingFailed or kind is None or len(width) > 3 or len(precision or "") > 3:
        raise FormattingFailed
    shape = f"%{found['flags']}{width}" + (f".{precision}" if precision is not None else "")
    if kind == "s":
        return f"{shape}s" % plain_text(value)[:MAX_VALUE]
    if kind in "ra":
        printed = _short.repr(value)
        if kind == "a":
            printed = printed.encode("ascii", "backslashreplace").decode()
        return f"{shape}s" % printed[:MAX_VALUE]
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise FormattingFailed
    try:
        return f"{shape}{kind}" % (value,)
    except (ValueError, TypeError, OverflowError) as error:
        raise FormattingFailed from error
