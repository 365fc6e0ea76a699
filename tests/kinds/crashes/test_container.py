"""What is written is read alike by everybody; what was damaged is refused, or still says the same."""

import io
import struct
import subprocess
import zipfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.crashes.container import Writer, entries
from lae_monitor.kinds.crashes.limits import MAX_FILES

NOW = 1.79e9
NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True)
# Contents that look like the zip's own marks are what a reader could stumble over.
CONTENT = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from([b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x07\x08", bytes(30), b"x"])).map(
        b"".join
    ),
)
FILES = st.dictionaries(NAME, st.tuples(st.lists(CONTENT, max_size=3), st.booleans()), max_size=5)
SAMPLE = {"dump": ([b"MDMP", b"PK\x05\x06" + bytes(18)], True), "raw_crash.json": ([b'{"a": "b"}'], False)}


def written(files: dict[str, tuple[list[bytes], bool]], received: float = NOW) -> bytes:
    """A zip of `files`: the pieces of each, and whether its size is unknown before it."""
    out: list[bytes] = []
    zipped = Writer(out.append, received)
    for name, (pieces, in_pieces) in files.items():
        if in_pieces:
            zipped.begin(name)
            for piece in pieces:
                zipped.write(piece)
            zipped.end()
        else:
            zipped.add(name, b"".join(pieces))
    zipped.finish()
    return b"".join(out)


def ours(data: bytes) -> dict[str, bytes]:
    return {name: bytes(content) for name, content in entries(data).items()}


def contents(files: dict[str, tuple[list[bytes], bool]]) -> dict[str, bytes]:
    return {name: b"".join(pieces) for name, (pieces, _) in files.items()}


@given(FILES, st.floats(0, 4e9))
@example({}, 0.0)
@example(SAMPLE, NOW)
def test_what_is_written_is_read_alike_by_us_and_by_python(files, received):
    data = written(files, received)
    assert ours(data) == contents(files)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {info.filename: archive.read(info) for info in archive.infolist()} == contents(files)
        assert all(info.external_attr >> 16 == 0o100600 for info in archive.infolist())


def test_info_zip_reads_it(tmp_path):
    files = SAMPLE | {f"file-{number}": ([bytes([number]) * 5000] * number, number % 2 == 0) for number in range(9)}
    (tmp_path / "a.zip").write_bytes(written(files))
    tested = subprocess.run(["unzip", "-t", "a.zip"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert tested.stdout.count(" OK") == len(files)
    subprocess.run(["unzip", "-q", "a.zip", "-d", "out"], cwd=tmp_path, check=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == contents(files)


def refused_or_same(damaged: bytes, files: dict[str, bytes]) -> None:
    try:
        found = ours(damaged)
    except Refused as refused:
        assert refused.code == "unreadable"
        return
    assert found == files


def test_every_cut_is_refused():
    data = written(SAMPLE)
    for end in range(len(data)):
        with pytest.raises(Refused) as refused:
            entries(data[:end])
        assert refused.value.code == "unreadable"


def test_every_flipped_bit_is_refused_or_changes_no_content():
    data = written(SAMPLE)
    for at in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            refused_or_same(bytes(damaged), contents(SAMPLE))


@given(FILES, st.data())
def test_any_cut_or_changed_byte_is_refused_or_changes_no_content(files, choice):
    data = written(files)
    at = choice.draw(st.integers(0, len(data) - 1))
    with pytest.raises(Refused):
        entries(data[:at])
    damaged = data[:at] + bytes([choice.draw(st.integers(0, 255))]) + data[at + 1 :]
    refused_or_same(damaged, contents(files))


@given(st.binary(max_size=300))
@example(b"PK\x05\x06" + bytes(18))
def test_what_is_no_zip_is_refused(data):
    try:
        assert ours(data) == {}
    except Refused as refused:
        assert refused.code == "unreadable"


def directory_entry(data: bytes, **changes: int) -> bytes:
    """`data` with fields of its first directory entry changed."""
    at = data.index(b"PK\x01\x02")
    fields = {"method": (10, "<H"), "flags": (8, "<H"), "size": (24, "<I"), "packed": (20, "<I"), "offset": (42, "<I")}
    damaged = bytearray(data)
    for name, value in changes.items():
        offset, form = fields[name]
        struct.pack_into(form, damaged, at + offset, value)
    return bytes(damaged)


@pytest.mark.parametrize(
    "changes",
    [{"method": 8}, {"flags": 1}, {"size": 2**31}, {"packed": 1}, {"offset": 2**31}, {"offset": 5}],
    ids=["compressed", "encrypted", "longer than all", "sizes that differ", "outside", "in the middle"],
)
def test_what_is_none_of_ours_is_refused(changes):
    with pytest.raises(Refused) as refused:
        entries(directory_entry(written(SAMPLE), **changes))
    assert refused.value.code == "unreadable"


def test_more_entries_than_a_crash_has_are_refused():
    assert len(ours(written({str(number): ([], False) for number in range(MAX_FILES + 1)}))) == MAX_FILES + 1
    with pytest.raises(Refused):
        entries(written({str(number): ([], False) for number in range(MAX_FILES + 2)}))


def test_an_abandoned_zip_gives_nothing_more():
    out: list[bytes] = []
    zipped = Writer(out.append, NOW)
    zipped.begin("a")
    before = list(out)
    zipped.abandon()
    zipped.write(b"x")
    zipped.end()
    zipped.finish()
    assert out == before
