"""What a host sent, made fit to be looked at: on a terminal or a page, no character of it may do anything."""

import re
from typing import Final

# Controls (but tab and newline), and what turns the direction of text, so that it reads other than it is.
_HARMFUL: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_BREAKS: Final = re.compile(r"\s+")


def printable(text: str) -> str:
    """`text` with harmful characters written as escapes."""
    return _HARMFUL.sub(lambda found: ascii(found[0])[1:-1], text)


def printable_json(text: str) -> str:
    """The JSON `text`, its harmful characters written as JSON's escapes: it means the same."""
    return _HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str, width: int = 0) -> str:
    """`text` on one line, cut to `width` characters where that is not 0."""
    line = _BREAKS.sub(" ", printable(text)).strip()
    return line if not width or len(line) <= width else line[: width - 1] + "…"
