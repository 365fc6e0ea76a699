"""Compression and headers, whatever their pieces: what goes in comes out, or is refused."""

import gzip
import random
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.crashes.intake.parts import Parts
from lae_monitor.kinds.crashes.intake.wire import boundary_of, decoder, field_value, parameters
from lae_monitor.kinds.crashes.limits import INFLATE_STEP

LIMIT = 10_000_000
RAW = -15


def decoded(encoding: str, body: bytes, step: int) -> bytes:
    made = decoder(encoding, LIMIT)
    out = []
    for at in range(0, len(body), step):
        for piece in made.feed(body[at : at + step]):
            assert len(piece) <= max(INFLATE_STEP, step)
            out.append(piece)
    made.finish()
    return b"".join(out)


COMPRESSED = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "raw": lambda data: zlib.compress(data, wbits=RAW),
    "members": lambda data: b"".join(gzip.compress(data[at : at + 1000]) for at in range(0, max(len(data), 1), 1000)),
}


@pytest.mark.parametrize("form", COMPRESSED)
@given(data=st.binary(max_size=5000), repeat=st.integers(1, 5), step=st.integers(1, 3000))
@example(data=b"", repeat=1, step=1)
def test_what_was_compressed_comes_out(form, data, repeat, step):
    encoding = form if form in {"gzip", "deflate"} else {"raw": "deflate", "members": "gzip"}[form]
    assert decoded(encoding, COMPRESSED[form](data * repeat), step) == data * repeat


@pytest.mark.parametrize("form", ["gzip", "deflate", "raw"])
def test_nothing_is_left_inside_when_the_output_ends_at_a_step(form):
    """The inflater can hold output back after it has taken the last byte of its input."""
    for size in range(INFLATE_STEP - 3, INFLATE_STEP + 3000, 37):
        body = COMPRESSED[form](bytes(size))
        assert len(decoded("gzip" if form == "gzip" else "deflate", body, len(body))) == size


@given(seed=st.integers(0, 2**32), step=st.integers(1, 500))
def test_damage_gives_bytes_or_a_refusal_and_nothing_else(seed, step):
    source = random.Random(seed)
    body = bytearray(gzip.compress(bytes(1000) + source.randbytes(300)) * 2)
    for _ in range(source.randrange(1, 6)):
        body[source.randrange(len(body))] = source.randrange(256)
    for encoding in ("gzip", "deflate"):
        try:
            decoded(encoding, bytes(body[: source.randrange(len(body))]), step)
        except Refused as refused:
            assert refused.code in {"malformed_bad_gzip", "inflates_too_far"}


@given(data=st.binary(max_size=300), step=st.integers(1, 50))
def test_any_body_is_parts_or_a_refusal(data, step):
    parts = Parts(b"B")
    try:
        for at in range(0, len(data), step):
            list(parts.feed(b"--B\r\n"[at:] + data[at : at + step]))
        parts.finish()
    except Refused as refused:
        assert refused.code == "malformed_invalid_payload_structure"


@given(st.text(max_size=200))
def test_any_content_type_has_a_boundary_or_is_refused(text):
    try:
        boundary = boundary_of(text)
    except Refused as refused:
        assert refused.code.startswith("malformed_")
    else:
        assert boundary is None or 0 < len(boundary) <= 200


@pytest.mark.parametrize(
    ("header", "value", "found"),
    [
        ('form-data; name="a"; filename="b;c"', "form-data", {"name": '"a"', "filename": '"b;c"'}),
        ('form-data; name="a\\"b"; x=y', "form-data", {"name": '"a\\"b"', "x": "y"}),
        ("form-data; NAME=a ; name=b", "form-data", {"name": "a"}),
        ('form-data; filename="C:\\dir\\x.dmp"', "form-data", {"filename": '"C:\\dir\\x.dmp"'}),
        ('form-data; filename="C:\\"', "form-data", {"filename": '"C:\\"'}),
        ("", "", {}),
    ],
)
def test_parameters_of_a_header(header, value, found):
    assert parameters(header) == (value, found)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ('"plain"', "plain"),
        ("token", "token"),
        ('"odd%25%22key"', 'odd%"key'),
        ('"%0d%0A%41"', "\r\n%41"),
        ('"a\\"b"', 'a"b'),
        ('"C:\\dir"', "C:\\dir"),
        ('"\xc3\xa9"', "é"),
        ('"\xff"', "\ufffd"),
        ('"a\0b"', "ab"),
        ("", ""),
    ],
)
def test_names_are_unescaped_as_their_senders_escape(value, name):
    assert field_value(value) == name
