"""What differs between two messages of the same mistake, replaced by what it is: ids, addresses, paths, times, numbers.

Two messages that are equal afterwards are taken for the same mistake. So what is masked is what a program inserts, found by
its form; words stay. Which form is an id is told by what Tahoe-LAFS logs: base32 of 26 characters (storage indexes), 32
(TubIDs) and 52 (servers, hashes), or their first 4 to 8 in brackets, in quotes, or after their name.
"""

import re
from typing import Final

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
