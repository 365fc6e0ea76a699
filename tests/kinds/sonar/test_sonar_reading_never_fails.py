"""Whatever lies in a file, reading it ends with rows that lead back to their bytes, or with a Refused."""

from hypothesis import given
from hypothesis import strategies as st

from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Event, Receipt, Span
from lae_monitor.kinds.sonar import read
from lae_monitor.kinds.sonar.records import MAX_WHOLE
from lae_monitor.kinds.sonar.rows import Sample

NAMES = ("v", "time", "host", "user", "cmd", "cores", "memtotalkib", "job", "epoch", "pid", "ppid", "cpu%", "cpukib",
         "rssanonkib", "gpus", "gpu%", "gpumem%", "gpukib", "gpufail", "cputime_sec", "rolledup", "load", "threads")  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(["0", "1", "none", "unknown", "0,1", "nan", "inf", "-1", "1e308", "_heartbeat_", "", "h", "0.13.0",
                     "2026-11-22T09:51:25+01:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "11", '"', "\u0661"]),
    st.integers(-5, 2**70).map(str),
    st.floats().map(str),
    st.text(max_size=12),
)  # fmt: skip


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"'


FIELD = st.builds(lambda name, value: f"{name}={value}", st.sampled_from(NAMES), VALUES)
LINE = st.lists(st.one_of(FIELD, FIELD.map(_quoted), VALUES), max_size=16).map(
    lambda fields: ",".join(fields).encode("utf-8", "surrogatepass").replace(b"\n", b"")
)
GOOD = st.builds(
    lambda minute, host, user, job: (
        f"v=0.13.0,time=2026-11-22T10:{minute:02}:00Z,host={host},user={user},cmd=c,job={job},cpu%=1.5".encode()
    ),
    st.integers(0, 3),
    st.sampled_from(["h", "ml6.hpc.uio.no", "../x"]),
    st.sampled_from(["ane", "bo", "_zombie_7"]),
    st.integers(0, 4),
)
LINES = st.lists(st.one_of(GOOD, LINE, st.binary(max_size=60).map(lambda data: data.replace(b"\n", b""))), max_size=12)
PATHS = st.one_of(
    st.just("sonar/c/2026/11/22/h.csv"),
    st.sampled_from(["sonar/c/2026/11/22/~.csv", "sonar/c/2026/11/22/.csv", "sonar/c/9999/99/99/h.csv", "x", ""]),
    st.text(max_size=40),
)


@given(PATHS, LINES, st.binary(max_size=20), st.integers(0, 2**40))
def test_reading_never_fails_and_rows_lead_to_their_lines(path, lines, tail, start):
    data = b"".join(line + b"\n" for line in lines) + tail
    assert 0 <= read.cut(path, data) <= len(data)
    try:
        rows = list(read.read(Span(path, start, start + len(data)), data))
    except Refused as refused:
        if refused.code != "unreadable":
            raise
        return
    starts, offset = {}, start
    for piece in data.split(b"\n"):
        starts[offset] = min(len(piece) + 1, start + len(data) - offset)
        offset += len(piece) + 1
    for row in rows:
        assert row.file == path
        if isinstance(row, Event):
            assert row.offset in starts
            (row.title + row.text + row.host + "".join(row.attrs.values())).encode()
            assert row.offset + row.length in {at + length for at, length in starts.items()}
        else:
            assert isinstance(row, Sample | Receipt)
            assert starts[row.offset] == row.length > 0
        if isinstance(row, Sample):
            assert len(row.key) == 16
            assert all(
                0 <= getattr(row, name) <= MAX_WHOLE for name in ("job", "pid", "virtual_kib", "rolledup", "epoch")
            )
            for text in (row.user, row.cmd, row.version, row.host):
                text.encode()


@given(LINES, st.data())
def test_however_a_file_is_cut_into_spans_its_samples_are_the_same(lines, data):
    path = "sonar/c/2026/11/22/h.csv"
    whole = b"".join(line + b"\n" for line in lines)
    ends = [position + 1 for position, byte in enumerate(whole) if byte == 10]
    cuts = sorted(data.draw(st.sets(st.sampled_from(ends)))) if ends else []
    pieces = zip([0, *cuts], [*cuts, len(whole)], strict=True)
    apart = [
        row for start, end in pieces for row in read.read(Span(path, start, end), whole[start:end])
        if not isinstance(row, Event)
    ]  # fmt: skip
    together = [row for row in read.read(Span(path, 0, len(whole)), whole) if not isinstance(row, Event)]
    assert apart == together
