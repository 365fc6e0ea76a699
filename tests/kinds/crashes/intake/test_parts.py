"""A body is cut as the library's own parser cuts it, whatever its pieces; what it refuses is refused."""

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multipart import MultipartError, MultipartSegment, PushMultipartParser

from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.crashes.intake.parts import Parts
from lae_monitor.kinds.crashes.limits import MAX_KEPT_HEAD, MAX_PARTS, MAX_PREAMBLE

HEADS = (
    b'Content-Disposition: form-data; name="a"',
    b'Content-Disposition: form-data; name="b"; filename="f.dmp"\r\nContent-Type: application/octet-stream',
    b'content-disposition: FORM-DATA; name="c%22"\r\nContent-Type: text/plain; charset=utf-16',
    b'Content-Disposition: form-data;\r\n name="folded"',
    b'Content-Disposition: form-data; name="' + b"x" * (MAX_KEPT_HEAD + 50) + b'"',
    b"Content-Disposition: form-data",
    b'Content-Disposition: attachment; name="a"',
    b"X: y",
    b"no header at all",
    b"",
)
DATA = (
    b"",
    b"value",
    b"\r",
    b"\r\n",
    b"\r\n--",
    b"--B",
    b"\r\n--A",
    b"\r\n-",
    b"\n--B\r\n",
    b"x" * 300,
    bytes(range(256)),
)
PIECES = (*HEADS, *DATA, b"--B\r\n", b"--B--\r\n", b"\r\n--B\r\n", b"\r\n--B--", b"\r\n\r\n", b"\r\n--B \r\n", b"--BB")


def pieces_of(body: bytes, step: int):
    return (body[at : at + step] for at in range(0, len(body), step))


def ours(body: bytes, step: int) -> list[tuple[str, bytes]] | None:
    """Name and content of each part; None when it is refused."""
    parts = Parts(b"B")
    found: list[tuple[str, bytes]] = []
    name, data = "", b""
    try:
        for piece in pieces_of(body, step):
            for event in parts.feed(piece):
                if event is None:
                    found.append((name, data))
                elif isinstance(event, bytes):
                    assert event
                    data += event
                elif hasattr(event, "media"):
                    name, data = event.name, b""
                else:
                    found.append((event[0].name, event[1]))
        parts.finish()
    except Refused as refused:
        assert refused.code == "malformed_invalid_payload_structure"
        return None
    return found


def the_librarys(body: bytes, step: int) -> list[tuple[str, bytes]] | None:
    parser = PushMultipartParser(b"B", max_header_size=4096, max_header_count=8, header_charset="latin-1")
    found: list[tuple[str, bytes]] = []
    name, data = "", b""
    try:
        for piece in pieces_of(body, step):
            for event in parser.parse(piece):
                if event is None:
                    found.append((name, data))
                elif isinstance(event, MultipartSegment):
                    name, data = event.name.replace("%22", '"'), b""
                else:
                    data += event
        parser.close()
    except MultipartError:
        return None
    return found


@pytest.mark.parametrize("step", [1, 2, 3, 5, 64, 10**6])
@given(
    st.lists(st.tuples(st.sampled_from(HEADS), st.sampled_from(DATA)), max_size=6),
    st.sampled_from([b"", b"\r\n", b"p\r\n"]),
)
def test_a_body_has_the_parts_that_the_library_finds(step, parts, preamble):
    body = b"".join(b"--B\r\n" + head + b"\r\n\r\n" + data + b"\r\n" for head, data in parts)
    body = preamble + body + b"--B--\r\nepilogue"
    assert ours(body, step) == the_librarys(body, step)


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.integers(1, 40))
@example([b"--B\r\n", HEADS[0], b"\r\n\r\n", b"--B--\r\n"], 1)
def test_what_is_taken_is_what_the_library_takes(pieces, step):
    """Ours may refuse more: a line that ends in LF alone. It never sees other parts."""
    body = b"--B\r\n" + b"".join(pieces)
    found = ours(body, step)
    expected = the_librarys(body, step)
    if found is not None:
        assert expected is None or found == expected
        assert expected is not None or b"Content-Length" in body or b"\n" in body.replace(b"\r\n", b"")


def test_pieces_of_any_size_give_the_same_parts():
    seed = random.randrange(2**32)
    print("seed", seed)
    source = random.Random(seed)
    for _ in range(200):
        parts = [
            (source.choice(HEADS[:3]), b"".join(source.choices(DATA[:-1], k=4))) for _ in range(source.randrange(6))
        ]
        body = b"".join(b"--B\r\n" + head + b"\r\n\r\n" + data + b"\r\n" for head, data in parts) + b"--B--"
        whole = ours(body, len(body))
        for step in range(1, 60):
            assert ours(body, step) == whole, (body, step)


@pytest.mark.parametrize(
    "body",
    [
        b"x" * (MAX_PREAMBLE + 1000),
        b"--B\r\nX: " + b"y" * 40_000,
        b"--B\r\n" + b"X: y\r\n" * 20 + b"\r\n",
        b"--B\r\n\r\nno head\r\n--B--",
        b"--B\r\n" + HEADS[0] + b"\r\n\r\nx\r\n--B!",
        b"",
    ],
    ids=["preamble", "long head", "many lines", "no head", "after the boundary", "nothing"],
)
def test_what_is_no_form_is_refused_early(body):
    assert ours(body, 1000) is None


def test_the_number_of_parts_has_a_limit():
    parts = Parts(b"B")
    part = b"--B\r\n" + HEADS[0] + b"\r\n\r\nx\r\n"
    for _ in range(MAX_PARTS):
        list(parts.feed(part))
    with pytest.raises(Refused) as refused:
        list(parts.feed(part))
    assert refused.value.code == "malformed_too_many_parts"
