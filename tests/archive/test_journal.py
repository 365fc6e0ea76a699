"""What is written to the journal is read back as it was meant, whatever lies between its lines."""

import asyncio

import pytest
from archive_oracle import NOW, on_disk
from hypothesis import given
from hypothesis import strategies as st

from lae_monitor.archive import Journal, journal
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Decision, Event, Receipt, Span


def rows(path, data):
    return list(journal.read(Span(path, 0, len(data)), data))


def written(tmp_path, opened, *entries):
    async def main():
        async with opened(clock=lambda: NOW) as archive:
            log = Journal(archive, lambda: NOW)
            for what, fields in entries:
                await log.write(what, **fields)

    asyncio.run(main())
    [(path, data)] = on_disk(tmp_path / "home").items()
    return path, data


RECEIPT = {"kind": "crashes", "cluster": "c", "host": "h", "peer": "10.0.0.7", "verdict": "refused", "reason": "busy"}
ACCEPTED = RECEIPT | {
    "verdict": "accepted",
    "reason": "",
    "file": "crashes/20261122/x.zip",
    "start": 10,
    "end": 30,
    "size": 20,
}
DECISION = {"subject": "trust", "about": "ml6", "value": '"yes"', "by": "anna"}
MARK = {"cluster": "c", "host": "h", "title": "deployed", "revision": "f00", "count": 3}


def test_entries_are_read_back_as_rows(tmp_path, opened):
    path, data = written(
        tmp_path,
        opened,
        ("receipt", RECEIPT),
        ("receipt", ACCEPTED),
        ("decision", DECISION),
        ("mark", MARK),
        ("alarm", {"title": "gap"}),
    )
    refused, accepted, decision, mark, alarm = rows(path, data)
    assert isinstance(refused, Receipt) and refused.reason == "busy" and refused.time == NOW
    assert (accepted.file, accepted.offset, accepted.length) == ("crashes/20261122/x.zip", 10, 20)
    assert isinstance(decision, Decision) and (decision.subject, decision.about, decision.by) == (
        "trust",
        "ml6",
        "anna",
    )
    assert isinstance(mark, Event) and mark.attrs == {"revision": "f00", "count": "3"} and mark.level == "info"
    assert alarm.kind == "alarm" and alarm.level == "warning"
    for row in (decision, mark, alarm):
        assert data[row.offset : row.offset + row.length].endswith(b"}\n"), "the row does not lead back to its line"


def test_no_secret_gets_into_it(tmp_path, opened):
    furl = f"pb://{'a' * 32}@tcp:example:3118/secretswissnum"
    _, data = written(
        tmp_path, opened, ("mark", {"title": f"connected to {furl}", "text": f"Authorization: Basic {'x' * 20}"})
    )
    assert b"secretswissnum" not in data and b"xxxx" not in data


@pytest.mark.parametrize(
    "rubbish",
    [b"\0" * 600, b"\n\n", b"{}", b"[]", b"null", b'"x"', b'{"time":"2026-11-22T09:51:25Z","what":"mark","title":{"a":1}}',
     b'{"time":5,"what":"mark"}', b'{"time":"2026-11-22T09:51:25Z","what":"receipt","end":"x"}', b"\xff\xfe\r\n\r", b'{"time":'],
)  # fmt: skip
def test_rubbish_between_the_lines_is_said_and_hides_no_decision(tmp_path, opened, rubbish):
    path, data = written(tmp_path, opened, ("decision", DECISION), ("decision", DECISION | {"about": "ml7"}))
    first, second = data.splitlines(keepends=True)
    found = rows(path, first + rubbish + b"\n" + second)
    assert [row.about for row in found if isinstance(row, Decision)] == ["ml6", "ml7"]
    said = [row for row in found if isinstance(row, Event)]
    assert all(row.level == "warning" and "cannot be read" in row.title for row in said)
    assert said or not rubbish.strip()


@given(st.binary(max_size=400))
def test_any_bytes_are_read_as_rows_hypothesis(data):
    for row in rows("journal/2026/11/22/p.jsonl", data):
        assert isinstance(row, Event | Receipt | Decision)


def test_what_only_a_later_version_knows_waits_for_it(tmp_path, opened):
    path, data = written(tmp_path, opened, ("novelty", MARK))
    with pytest.raises(Refused, match="unknown entry 'novelty'"):
        rows(path, data)


def test_a_line_that_was_written_twice_shows_once(tmp_path, opened):
    """It is in the file where writing it failed, and in the one where it went then."""
    path, data = written(tmp_path, opened, ("mark", MARK))
    [here] = rows(path, data)
    [there] = list(journal.read(Span("journal/2026/11/22/p.1795341085000000000.jsonl", 700, 700 + len(data)), data))
    assert here.key == there.key
    [other] = rows(path, data.replace(b"f00", b"f01"))
    assert other.key != here.key
