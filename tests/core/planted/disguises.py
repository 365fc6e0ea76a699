"""Secrets as nodes have them, and the ways in which they stand in what nodes log."""

import html
import json
import random
from urllib.parse import quote

from hypothesis import strategies as st

BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
SHOWN = 8  # characters of a secret in a row that must not be seen


class Planted(str):  # noqa: SLOT000 - has an attribute of its own
    """A text that holds secrets: `pieces`."""

    pieces: list[str]

    def __new__(cls, text: str, pieces: list[str]):
        made = super().__new__(cls, text)
        made.pieces = pieces
        return made

    def shown_in(self, text: str) -> list[str]:
        """What of the secrets can be read in `text`."""
        windows = (piece[at : at + SHOWN] for piece in self.pieces for at in range(len(piece) - SHOWN + 1))
        return [window for window in windows if window in text]


def base32(chance: random.Random, length: int) -> str:
    return "".join(chance.choice(BASE32) for _ in range(length))


def furl(chance: random.Random) -> Planted:
    swissnum = base32(chance, 32)
    hints = chance.choice(
        [
            "tcp:node.example:3118",
            "",
            "10.0.0.7:3118,tcp:[2001:db8::1]:3118",
            "tor:abcdefgh.onion:80",
            "tcp:h:1,i2p:x.i2p",
        ]
    )
    return Planted(f"pb://{base32(chance, 32)}@{hints}/{swissnum}", [swissnum])


def nurl(chance: random.Random) -> Planted:
    swissnum = base32(chance, 32)
    return Planted(f"pb://1WUX44xKjKdpGLohmFcBNuIRN-8rlv1Iij_7rQ@127.0.0.1:34399/{swissnum}#v=1", [swissnum])


def cap(chance: random.Random) -> Planted:
    key, digest = base32(chance, 26), base32(chance, 52)
    kind = chance.choice(
        ["CHK", "SSK", "SSK-RO", "MDMF", "MDMF-RO", "DIR2", "DIR2-RO", "DIR2-CHK", "DIR2-MDMF-RO", "DIR2-Verifier", "LIT", "DIR2-LIT"]
    )  # fmt: skip
    if kind.endswith("LIT"):
        return Planted(f"URI:{kind}:{digest}", [digest])
    end = f":3:10:{chance.randrange(10**6)}" if kind.endswith("CHK") else ""
    return Planted(f"URI:{kind}:{key}:{digest}{end}", [key, digest])


def named(chance: random.Random) -> Planted:
    value = base32(chance, 52)
    return Planted(
        chance.choice(
            ["Authorization: Basic {}", "'authorization': 'Tahoe-LAFS {}'", "X-Tahoe-Authorization: lease-renew-secret {}",
             "lease-cancel-secret {}", "upload-secret {}", "write_enabler={}", "renew_secret: b'{}'", "convergence secret {}",
             '"convergence": "{}"', "swissnum {}", "api_auth_token = {}", "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END"]
        ).format(value),
        [value],
    )  # fmt: skip


def is_word(whole: Planted, end: int) -> bool:
    """Whether so little is left of a secret after its name and a blank that it may be a word of a sentence."""
    (first, *_) = whole.pieces
    left = end - whole.index(first)
    return 0 < left < 16 and whole[whole.index(first) - 1] == " " and whole[whole.index(first) - 2] not in ":=ci"


DISGUISES = {
    "as it is": str,
    "in a URL": lambda text: quote(text, safe=""),
    "in a URL, lower case": lambda text: quote(text, safe="").replace("%3A", "%3a").replace("%2F", "%2f"),
    "in a URL in a URL": lambda text: quote(quote(text, safe=""), safe=""),
    "three times": lambda text: quote(quote(quote(text, safe=""), safe=""), safe=""),
    "bytes": lambda text: repr(text.encode()),
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps({"x": text})),
    "JSON with slashes": lambda text: json.dumps({"x": text}).replace("/", "\\/"),
    "HTML": lambda text: f'<a href="{html.escape(text)}">',
    "HTML with references": lambda text: text.replace(":", "&#58;").replace("/", "&#47;"),
    "HTML with hexadecimal references": lambda text: text.replace(":", "&#x3a;").replace("/", "&#x2F;"),
    "escapes": lambda text: text.replace(":", "\\x3a").replace("/", "\\x2f"),
    "escapes of JSON": lambda text: text.replace(":", "\\u003a").replace("/", "\\u002f"),
    "twice printed": lambda text: repr(repr({"x": [text]})),
}
WRAPS = ["\n", "\r\n", "\n    ", "\\n", "\\r\\n", "\n\t", "'\n '", '"\n     "', "\\\n", "\u2028", "\\\\n"]


@st.composite
def planted(draw, wrapped: bool = True) -> Planted:
    """A secret in one of its disguises, in a sentence; perhaps wrapped once, perhaps cut short."""
    make = draw(st.sampled_from([furl, furl, nurl, cap, cap, cap, named]))
    whole = make(random.Random(f"{make.__name__} {draw(st.integers(0, 2**32))}"))
    is_named = not whole.startswith(("pb:", "URI"))
    text = whole if is_named else DISGUISES[draw(st.sampled_from(sorted(DISGUISES)))](whole)
    if wrapped and not is_named and draw(st.booleans()):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(WRAPS)) + text[at:]
    if draw(st.booleans()):
        end = draw(st.integers(0, len(text)))
        text = text if is_named and is_word(whole, end) else text[:end]
    before = draw(
        st.sampled_from(["", "x", "GET /uri/", "b'", "(", "connecting to ", "=", "furl:", "\n", "…", "[", "7"])
    )
    after = draw(
        st.sampled_from(
            ["", " ", "'", ")", ", more", " failed", "\n", "\nfailed", "?t=json HTTP/1.1", "&x=y", ";", "…", "*"]
        )
    )
    return Planted(before + text + after, whole.pieces)
