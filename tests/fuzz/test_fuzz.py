"""What the fuzzer once found stays mended, and a short look for more; `make fuzz` looks for long."""

import gzip
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from lae_monitor.kinds.crashes.intake.parts import MAX_HEAD

sys.path.insert(0, str(Path(__file__).parent))
import crash_inputs
from crash_inputs import TRIED, bare, deflated, extra, form, gzipped, media, one_input, packed, stacks, stored

HERE = Path(__file__).parent
SECONDS = 8  # for the short look
PATIENCE = 200.0
LATER = "atheris has no wheel for this Python or machine"
FORM = b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--B--\r\n'

LONGEST_HEAD = b"\r\n".join(
    [b'Content-Disposition: form-data; name="a"; x="'.ljust(4080, b"z") + b'"', *[b"X: ".ljust(4096, b"y")] * 7]
)[: MAX_HEAD - 1]

PINNED = {
    "a damaged member of gzip after a whole one, which was junk in one piece and an error in two": (
        gzipped,
        gzip.compress(FORM) + crash_inputs.damaged_member(),
    ),
    "a member of gzip that is cut after a whole one": (gzipped, gzip.compress(FORM) + b"\x1f\x8b\x08"),
    "the first byte of a member after a whole one": (gzipped, gzip.compress(FORM) + b"\x1f"),
    "junk after deflate that begins as gzip does": (deflated, zlib.compress(FORM) + b"\x1f\x8b\x08"),
    "a preamble that is as long as it may be": (form, b"x" * 65532 + b"\r\n" + FORM),
    "a preamble that was too long in two pieces only": (form, b"x" * 200_000 + b"\r\n" + FORM),
    "a head that only we refuse": (
        form,
        b"--B\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: x\r\n\r\n\r\n--B--",
    ),
    "nothing in a form": (packed, b""),
    "a bare minidump without a directory": (bare, b""),
    "a boundary of one quote": (media, b'multipart/form-data; boundary="|gzip\n' + FORM),
    "a number that no JSON can hold": (extra, b'{"a": 1e999, "b": NaN, "\\ud800": "\\ud800"}'),
    "a number beyond 64 bits": (extra, b'{"a": 123456789012345678901234567890, "b": {"c": [-1e400]}}'),
    "stacks of the wrong types": (stacks, b'{"threads": [[]], "crash_info": [], "modules": {"a": 1}}\0[]\0{'),
    "nothing stored": (stored, b""),
}


@pytest.mark.parametrize(("kind", "body"), PINNED.values(), ids=PINNED)
def test_what_was_found_once_is_mended(kind, body):
    one_input(bytes([TRIED.index(kind)]) + body)


def test_a_head_as_long_as_it_may_be_is_taken_wherever_its_end_is_cut():
    body = b"--B\r\n" + LONGEST_HEAD + b"\r\n\r\nb\r\n--B--\r\n"
    end = body.index(b"\r\n\r\n")
    for at in range(end - 2, end + 6):
        annotations, *_ = crash_inputs.outcome([body[:at], body[at:]], crash_inputs.FORM, b"")
        assert annotations.pop("a") == "b"
        assert annotations in ({}, {"prod": "P", "ver": "1"})  # of the address, as the form names no product


DROPPED = ["bytes after the end of the compressed data were dropped"]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (crash_inputs.damaged_member(), "malformed_bad_gzip"),
        (b"\x1f\x8b", "malformed_bad_gzip"),
        (gzip.compress(b"epilogue")[:-1], "malformed_bad_gzip"),
        (gzip.compress(b"epilogue"), []),
        (b"\x1f", DROPPED),
        (b"\x1fx", DROPPED),
        (bytes(512), DROPPED),
    ],
    ids=["damaged member", "begun member", "cut member", "member", "one byte", "other bytes", "padding"],
)
@pytest.mark.parametrize("step", [1, 50, 10_000])
def test_what_follows_a_whole_member_is_a_member_or_junk_whatever_its_pieces(after, expected, step):
    """As gzip(1) sees it: what begins as a member has to be whole, anything else is dropped, and noted."""
    body = gzip.compress(FORM) + after
    found = crash_inputs.outcome([body[at : at + step] for at in range(0, len(body), step)], crash_inputs.FORM, b"gzip")
    assert (found if isinstance(found, str) else found[1]) == expected


def test_the_seeds_are_fine_and_of_every_kind(tmp_path):
    crash_inputs.seeds(tmp_path)
    inputs = [path.read_bytes() for path in tmp_path.iterdir()]
    assert {data[0] for data in inputs} == set(range(len(TRIED)))
    for data in inputs:
        one_input(data)


def fuzz(folder: Path, *options: str) -> tuple[int, str, list[bytes]]:
    """Its exit status, the end of what it says, and the inputs that break a promise."""
    command = [sys.executable, HERE / "crash_reports.py", f"-artifact_prefix={folder}/found-", *options]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False)
    found = [path.read_bytes() for path in folder.glob("found-*")]
    return done.returncode, (done.stdout + done.stderr)[-4000:], found


def test_a_short_look_finds_nothing(tmp_path):
    pytest.importorskip("atheris", reason=f"NOT TESTED: fuzzing; {LATER}")
    status, said, found = fuzz(tmp_path, f"-max_total_time={SECONDS}")
    assert not found, f"\n{said}\nTo be pinned above, once it is mended:\n" + "\n".join(map(repr, found))
    assert status == 0, said
    assert "Done " in said, said
    print([line for line in said.splitlines() if line.startswith(("Done", "#"))][-2:])
