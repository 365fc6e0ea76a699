"""No way of turning a secret into text shows a bit of it; `redact` finds them in what nodes send."""

import dataclasses
import json
import logging
import pickle
import traceback

import pytest

from lae_monitor.core import secrets
from lae_monitor.core.names import new_swissnum
from lae_monitor.core.refusals import Refused
from lae_monitor.core.secrets import Cap, Furl, Secret, Token, redact

SWISSNUM = "zkafmbtiyvsgtbtkwsykqhmbkdbnklay"
TUB = "xhgotu6gvcoo2dvlo5qdoxzxr5oqjqlz"
VALUES = {
    Secret: SWISSNUM,
    Token: SWISSNUM,
    Cap: f"URI:DIR2:{SWISSNUM}:{SWISSNUM}",
    Furl: f"pb://{TUB}@tcp:monitor.example:3118,tcp:10.0.0.1:3118/{SWISSNUM}",
}


def all_kinds(kind=Secret):
    return [kind, *(inner for sub in kind.__subclasses__() for inner in all_kinds(sub))]


def test_every_kind_of_secret_is_tried():
    ours = {kind for kind in all_kinds() if kind.__module__ == secrets.__name__}
    assert ours == set(VALUES)


@pytest.mark.parametrize("kind", VALUES)
def test_no_text_shows_a_bit(kind, caplog):
    secret = kind(VALUES[kind])

    @dataclasses.dataclass
    class Holder:
        inside: object

    shown = [
        repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{secret!a}", f"{secret:>90}", "%s %r" % (secret, secret),
        repr([secret]), repr({"a": secret}), repr((secret,)), repr(Holder(secret)), str(ValueError(secret)), ascii(secret),
        format(secret), repr(vars(secret) if hasattr(secret, "__dict__") else ""), repr(secret.reveal.__self__),
    ]  # fmt: skip
    try:
        raise RuntimeError(secret)
    except RuntimeError:
        shown.append(traceback.format_exc())
    logging.getLogger("test").warning("%s %r", secret, {"furl": secret})
    shown.append(caplog.text)
    try:
        json.dumps(secret)
    except TypeError as error:
        shown.append(str(error))
    for text in shown:
        for start in range(len(SWISSNUM) - 4):
            assert SWISSNUM[start : start + 5] not in text, text
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert VALUES[kind] == secret.reveal()


def test_a_wrong_furl_is_not_repeated_in_the_error():
    for wrong in (f"pb://{TUB}@x/{SWISSNUM}/", f"pb:/{TUB}@x/{SWISSNUM}", f"http://x/{SWISSNUM}", f"{SWISSNUM}", ""):
        with pytest.raises(Refused) as refused:
            Furl(wrong)
        assert refused.value.code == "bad_furl"
        assert SWISSNUM[:5] not in str(refused.value)


def test_a_furl_has_its_parts():
    furl = Furl(VALUES[Furl])
    assert (furl.tub_id, furl.hints) == (TUB, ("tcp:monitor.example:3118", "tcp:10.0.0.1:3118"))
    assert furl.swissnum.reveal() == SWISSNUM
    assert Furl.build(TUB, "tcp:monitor.example:3118,tcp:10.0.0.1:3118", SWISSNUM) == furl
    assert Furl(f"pb://{TUB}@/name").hints == ()  # no hints at all is legal


def test_swissnums_have_160_bits():
    assert len({new_swissnum() for _ in range(100)}) == 100
    assert all(len(swissnum) == 32 for swissnum in (new_swissnum() for _ in range(100)))


def test_secrets_compare_by_value():
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a").matches("a")
    for wild in ("a\udc80", "\ud800", "", "é"):
        assert not Secret("a").matches(wild)
        assert Token(wild).matches(wild) and len(Token(wild).digest()) == 64
    assert Secret("a") != "a"


@pytest.mark.parametrize(
    "text",
    [
        f"Tub.connectTo(b'pb://{TUB}@tcp:monitor.example:3118/{SWISSNUM}')",
        f"log_gatherer.furl = pb://{TUB}@tcp:10.0.0.1:3118,tcp:[::1]:3118/{SWISSNUM}\n",
        f"pb://{TUB}@/{SWISSNUM} and pb://{TUB}@x:1/{SWISSNUM}",
        f"GET /uri/URI:DIR2:{SWISSNUM}:{SWISSNUM}/x HTTP/1.1",
        f"/uri/URI%3ADIR2-RO%3A{SWISSNUM}%3A{SWISSNUM}/",
        f"URI:CHK:{SWISSNUM}:{SWISSNUM}:3:10:8448",
        f"URI:SSK-RO:{SWISSNUM}:x URI:MDMF:{SWISSNUM}:{SWISSNUM} URI:DIR2-MDMF-RO:{SWISSNUM}:a URI:LIT:{SWISSNUM}",
        f"Authorization: Basic {SWISSNUM}",
        f"'authorization': 'Bearer {SWISSNUM}'",
        f"Authorization: Tahoe-LAFS {SWISSNUM}=",
        f"(b'Authorization', b'Basic {SWISSNUM}')",
        f"authorization={SWISSNUM}",
        f"pb://1WUX44xKjKdpGLohmFcBNuIRN-8rlv1Iij_7rQ@127.0.0.1:34399/{SWISSNUM}#v=1",
        f"pb://{TUB}@tcp:h:1/name+{SWISSNUM}/{SWISSNUM}",
        f"xURI:CHK:{SWISSNUM}:{SWISSNUM}:3:10:8448",
    ],
)
def test_redact_finds_what_nodes_send(text):
    redacted = redact(text)
    assert SWISSNUM[:6] not in redacted
    assert "***" in redacted
    assert redact(redacted) == redacted


def test_redact_leaves_the_rest_alone():
    text = "fetched http://127.0.0.1:3456/statistics from storage index anp5dst6krzb5pdmadqfh7rh3u, uri 12"
    assert redact(text) == text
