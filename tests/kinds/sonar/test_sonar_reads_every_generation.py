"""Records of every version of Sonar become the rows that its rules say. The cases are data: cases/*.toml."""

import tomllib
from datetime import datetime
from pathlib import Path

import pytest

from lae_monitor.core.limits import MAX_SPAN
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Event, Receipt, Span
from lae_monitor.kinds.sonar import read
from lae_monitor.kinds.sonar.rows import Sample

CASES = sorted((Path(__file__).parent / "cases").glob("*.toml"))
PATH = "sonar/c/2026/11/22/h.csv"


def rows_of(data: bytes, path: str = PATH, start: int = 0):
    return list(read.read(Span(path, start, start + len(data)), data))


def of_type(rows, kind):
    return [row for row in rows if isinstance(row, kind)]


def line(number: int, *, minute: int = 0, host: str = "h") -> bytes:
    return f"v=0.12.0,time=2026-11-22T10:{minute:02}:00Z,host={host},user=u{number % 3},cmd=c{number},cpu%=1\n".encode()


@pytest.mark.parametrize("case_file", CASES, ids=lambda path: path.stem)
def test_records_become_the_rows_of_the_case(case_file):
    case = tomllib.loads(case_file.read_text())
    data = case["input"].lstrip("\n").encode()
    lines = data.splitlines(keepends=True)
    rows = rows_of(data, case["path"])
    samples, events, receipts = of_type(rows, Sample), of_type(rows, Event), of_type(rows, Receipt)
    assert len(rows) == len(samples) + len(events) + len(receipts)
    _compare(samples, case["samples"])
    if "events" in case:
        _compare(events, case["events"])
    unreadable = case.get("unreadable", [])
    assert [receipt.offset for receipt in receipts] == [sum(map(len, lines[: bad["line"] - 1])) for bad in unreadable]
    for receipt, bad in zip(receipts, unreadable, strict=True):
        assert bad["detail"] in receipt.detail
        assert (receipt.verdict, receipt.reason, receipt.kind) == ("quarantined", "unreadable", "sonar")
        assert data[receipt.offset : receipt.offset + receipt.length] == lines[bad["line"] - 1]


def _compare(rows, expected):
    assert len(rows) == len(expected)
    for row, fields in zip(rows, expected, strict=True):
        for name, value in fields.items():
            wanted = value.timestamp() if isinstance(value, datetime) else value
            assert (name, getattr(row, name)) == (name, wanted)


def test_a_line_that_is_sent_again_has_the_same_key_wherever_it_lies():
    first, second = line(1), line(2)
    here = of_type(rows_of(first + second), Sample)
    there = of_type(rows_of(second.rstrip(b"\n") + b"\r\n" + first.rstrip(b"\n"), start=5000), Sample)
    assert [sample.key for sample in here] == [sample.key for sample in reversed(there)]
    assert here[0].key != here[1].key
    elsewhere = of_type(rows_of(first, "sonar/other/2026/11/22/h.csv"), Sample)
    assert elsewhere[0].key != here[0].key


def test_a_run_that_is_sent_again_is_one_mark_with_one_key():
    run = line(1) + line(2) + line(3)
    (once,) = of_type(rows_of(run), Event)
    (twice,) = of_type(rows_of(run + run), Event)
    (later,) = of_type(rows_of(run, start=7000), Event)
    (mixed,) = of_type(rows_of(line(3) + line(1) + line(2)), Event)
    assert once.key == twice.key == later.key == mixed.key
    assert once.title == twice.title == "3 processes of 3 users, 3 % CPU, 0 B"
    assert later.id == f"{PATH}:7000"
    other = of_type(rows_of(line(1) + line(2)), Event)[0]
    assert other.key != once.key


def test_bytes_that_are_no_text_are_kept_apart_by_the_key_and_replaced_in_what_is_shown():
    first, second = (line(1).replace(b"cmd=c1", b"cmd=" + byte) for byte in (b"\xff", b"\xfe"))
    samples = of_type(rows_of(first + second), Sample)
    assert [sample.cmd for sample in samples] == ["\ufffd", "\ufffd"]
    assert samples[0].key != samples[1].key


def test_each_run_is_one_mark_that_leads_to_its_lines():
    first, second = line(1) + line(2), line(1, minute=5) + b"\n" + line(2, minute=5)
    events = of_type(rows_of(first + second), Event)
    assert [(event.offset, event.length) for event in events] == [(0, len(first)), (len(first), len(second))]


def test_what_is_no_file_of_samples_gives_no_rows_and_is_not_waited_for():
    for name in ("slurm-sacct.csv", "bughunt.csv", "cpuhog.csv", "sysinfo-h.json", "0+sample-h.json", "h.csv.1", "h",
                 "cpuhog.1795341085000000000.csv"):  # fmt: skip
        path = f"sonar/c/2026/11/22/{name}"
        assert rows_of(line(1), path) == []
        assert read.cut(path, b"{no newline") == len(b"{no newline")
    assert rows_of(line(1), "sonar/c/h.csv") == []
    assert of_type(rows_of(line(1), "sonar/c/2026/11/22/h.1795341085000000000.csv"), Sample)


def test_a_path_that_no_gatherer_made_is_refused():
    for path in ("sonar/-c/2026/11/22/h.csv", "sonar/c/2026/13/22/h.csv"):
        with pytest.raises(Refused, match="unreadable"):
            rows_of(line(1), path)


def test_whole_lines_are_cut_off_and_of_a_long_tail_whole_runs():
    assert read.cut(PATH, line(1) + b"v=0.1") == len(line(1))
    assert read.cut(PATH, b"v=0.1") == 0
    runs = [b"".join(line(number, minute=minute) for number in range(1000)) for minute in range(20)]
    data = b"".join(runs)
    assert len(data) > MAX_SPAN
    data = data[: MAX_SPAN + 10]
    end = read.cut(PATH, data)
    boundaries = {len(b"".join(runs[:count])) for count in range(20)}
    assert end in boundaries
    assert len(data) - end <= len(runs[0])
    one_run = b"".join(line(number) for number in range(20_000))[:MAX_SPAN]
    assert read.cut(PATH, one_run) == one_run.rfind(b"\n") + 1


def test_the_mark_names_those_that_use_most():
    lines = [
        f"v=0.12.0,time=2026-11-22T10:00:00Z,host=h,user=u,cmd=c{use},cpu%={use},rssanonkib={use * 1024}\n"
        for use in (5, 900, 20, 3, 100, 1, 50)
    ]
    (event,) = of_type(rows_of("".join(lines).encode()), Event)
    assert [text.split(":")[0] for text in event.text.splitlines()] == ["u c900", "u c100", "u c50", "u c20", "u c5"]
    assert event.attrs == {
        "version": "0.12.0", "processes": "7", "users": "1", "cpu": "1079.0", "memory": str(1079 * 1024 * 1024),
        "zombies": "0", "gpu_failed": "no",
    }  # fmt: skip
    assert (event.kind, event.received, event.level) == ("sonar", 0.0, "info")
