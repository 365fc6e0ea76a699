"""No secret is read by people, in whatever way it was written down; what is no secret stays."""

import sys
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lae_monitor.core import redaction
from lae_monitor.core.names import HostName
from lae_monitor.core.redaction import HIDDEN, redact, redacted
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Event

sys.path.append(str(Path(__file__).parent / "planted"))

from disguises import DISGUISES, WRAPS, Planted, base32, cap, furl, is_word, named, nurl, planted

CHANCE = Random(20261125)


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("make", [furl, nurl, cap])
def test_a_secret_is_found_in_every_disguise(make, disguise):
    for _ in range(20):
        whole = make(CHANCE)
        text = f"connecting to {DISGUISES[disguise](whole)} failed"
        redacted = redact(text)
        assert whole.shown_in(redacted) == []
        assert HIDDEN in redacted
        assert redacted.startswith("connecting to ")
        assert redact(redacted) == redacted


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("make", [furl, cap])
def test_a_secret_is_found_wherever_it_is_wrapped(make, wrap):
    for _ in range(5):
        whole = make(CHANCE)
        for at in range(len(whole) + 1):
            redacted = redact(f"before {whole[:at]}{wrap}{whole[at:]} after")
            assert whole.shown_in(redacted) == [], (at, redacted)


@pytest.mark.parametrize("wrap", ["\n", "\\n", "\\\\n", "'\\n'"])
@pytest.mark.parametrize("like", ["x3a", "x2f"])
def test_what_looks_like_an_escape_may_be_part_of_a_secret(wrap, like):
    for make in (furl, cap):
        whole = make(CHANCE)
        (piece, *_) = whole.pieces
        first = whole.index(piece)
        for at in range(first + 1, first + len(piece) - len(like)):
            text = whole[:at] + like + whole[at + len(like) :]
            secret = Planted(text, [text[first : first + len(piece)]])
            redacted = redact(f"before {text[:at]}{wrap}{text[at:]} after")
            assert secret.shown_in(redacted) == [], (at, redacted)


def test_a_secret_that_is_wrapped_several_times_is_found():
    for width in (20, 30, 40):
        for make in (furl, cap):
            whole = make(CHANCE)
            lines = [whole[at : at + width] for at in range(0, len(whole), width)]
            assert whole.shown_in(redact("x = (\n    '" + "'\n    '".join(lines) + "')")) == []


@pytest.mark.parametrize("make", [furl, cap, named])
def test_a_secret_that_is_cut_anywhere_shows_nothing(make):
    for _ in range(20):
        whole = make(CHANCE)
        for end in range(len(whole)):
            if not is_word(whole, end):
                assert whole.shown_in(redact(whole[:end])) == []


@settings(derandomize=True)
@given(planted())
def test_whatever_stands_around_it(text: Planted):
    redacted = redact(text)
    assert text.shown_in(redacted) == []
    assert redact(redacted) == redacted


def test_what_is_no_secret_stays():
    si, tub, digest = base32(CHANCE, 26), base32(CHANCE, 32), base32(CHANCE, 52)
    for text in (
        f"storage index {si}, shares on [{tub[:5]}], UEB hash {digest}",
        f"connected to {tub} at tcp:node.example:3118 (from 10.0.0.7:51234)",
        "GET /uri/[CENSORED]?t=json 200 12,345 bytes; during security, uri 12; pb and URI",
        "bad write enabler on SI abcde, recorded by nodeid fghij; a secret; convergence: on; authorization was refused",
        "user@host.example/path and 2026-11-22T09:44:34Z at a/b/c:17",
        "{'stats': {'storage_server.allocated': 0, 'cpu_monitor.total': 0.04}, 'counters': {}}",
    ):
        assert redact(text) == text


def test_what_follows_a_whole_secret_stays():
    whole, other = cap(Random(1)), furl(CHANCE)
    assert redact(f"{whole}\nfailed to read") == f"{redact(whole)}\nfailed to read"
    assert redact(f"{other}\nfailed to read") == f"{redact(other)}\nfailed to read"
    assert redact(f"'{other}', 'failed'").endswith(f"/{HIDDEN}', 'failed'")
    assert redact(f"{whole}?t=json HTTP/1.1").endswith(f"{HIDDEN}?t=json HTTP/1.1")


def test_what_is_refused_quotes_no_secret():
    for make in (furl, cap, named):
        whole = make(CHANCE)
        for raw in (whole, whole.encode(), {"x": str(whole)}, "y" * 40 + whole):
            refused = Refused("bad_incident_name", raw=raw)
            assert whole.shown_in(refused.detail + str(refused) + repr(refused)) == []


@pytest.mark.parametrize(
    "text",
    ["URI:CHK:" + "a:" * 50_000, "pb://" * 20_000, "aaaa@" * 20_000, "aaaa@/" * 20_000, "URI:LIT:a\\n" * 10_000, "\\" * 100_000 + "n",
     "pb://a@/" + "\\" * 100_000, ("a" * 26 + ":") * 4_000, "URI" + "%25" * 30_000, "renew secret b\\'" * 9_000, "authorization" * 10_000,
     "-----BEGIN PRIVATE KEY-----" * 4_000, ("pb://" + "a" * 50 + "\n") * 2_000],
    ids=lambda text: text[:12],
)  # fmt: skip
@pytest.mark.timeout(20)
def test_no_text_makes_it_slow(text):
    """A hundred times what is usual; were it to go over the text again and again, it would not end in time."""
    assert len(redact(text)) < 2 * len(text)


def test_whole_structures_are_redacted_names_too_and_nothing_is_lost():
    one, other = furl(CHANCE), furl(CHANCE)
    tub = one[:38]
    event = Event(
        kind="crash", cluster="lae", host=HostName("node1"), time=1.0, received=1.0, id="x", key=b"k", level="error",
        title=f"lost {one}", attrs={one: "a", f"{tub}{other[38:]}": str(other)},
    )  # fmt: skip
    shown = redacted({"rows": [event], one: (other, 5, None)})
    assert one.shown_in(repr(shown)) == other.shown_in(repr(shown)) == []
    assert len(shown["rows"][0].attrs) == 2
    assert isinstance(shown["rows"][0].host, HostName)
    plain = msgspec.structs.replace(event, title="lost", attrs={"a": "b"})
    assert redacted(plain) is plain


def test_passwords_and_tokens_in_urls_are_hidden_and_other_urls_stay():
    assert redact("GET https://ops:geheim@h.example/x?q=1") == "GET https://ops:***@h.example/x?q=1"
    assert redact("/submit?v=1&api_token=abcdefgh&b=2") == "/submit?v=1&api_token=***&b=2"
    for text in ("http://h.example:80/a@b", "ssh://git@h.example:22/x", "sqlite:///state/x:y@z", "?a=token&b=secret"):
        assert redact(text) == text


@given(
    st.lists(st.sampled_from([*"ab \t\n\r\x0b\x1c\x85\u2028'\"", "&quot;", "&#34;", "&#39;", "&#", "b'"]), max_size=16)
)
def test_joints_of_a_text_without_backslashes_are_found_the_quick_way(pieces):
    text = "".join(pieces)
    assert list(redaction._plain_joints(text)) == [
        redaction._joint(text, found) for found in redaction._JOINT.finditer(text)
    ]
