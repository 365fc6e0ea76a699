"""Receipts never fail a report, a flood costs a bounded number of them, and hides nobody else's."""

import asyncio
import re
from contextlib import asynccontextmanager

import msgspec
import pytest
from prometheus_client import CollectorRegistry, Counter

from lae_monitor.archive import Archive, Journal, Reserve
from lae_monitor.core.names import Place
from lae_monitor.core.reasons import REASONS
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.kinds import receipts as module
from lae_monitor.kinds.receipts import BURST, MAX_BUCKETS, MAX_COUNTED, SUMMARIES, TOTAL_BURST, Receipts

NOW = 1.8e9
HOST = Place("lae", "node1")


class Writing:
    """Receipts of a real archive, and what came of them."""

    def __init__(self, folder, **settings):
        self.folder = folder
        self.now = NOW
        self.settings = settings
        self.lost = Counter("lost", "Lost", registry=CollectorRegistry())
        self.writes = 0

    @asynccontextmanager
    async def __call__(self):
        archive = await Archive([self.folder], "test", reserve=Reserve(size=1)).open()
        try:
            self.journal = Journal(archive, lambda: self.now)
            write_all = self.journal.write_all

            async def counting(what, entries):
                self.writes += 1
                return await write_all(what, entries)

            self.journal.write_all = counting
            async with Receipts(
                self.journal, "crash", "lae", lambda: self.now, lost=self.lost, **self.settings
            ) as receipts:
                yield receipts
        finally:
            await archive.close()

    def lines(self):
        return [
            msgspec.json.decode(line)
            for path in sorted(self.folder.glob("journal/*/*/*/test.jsonl"))
            for line in path.read_bytes().splitlines()
        ]

    def single(self):
        return [line for line in self.lines() if "more" not in line.get("detail", "") + line.get("title", "")]

    def summaries(self):
        return [line for line in self.lines() if line not in self.single()]


@pytest.fixture
def writing(tmp_path):
    return lambda **settings: Writing(tmp_path, **settings)


def refuse(receipts, peer, code="busy", *, times=1, place=None, **fields):
    for _ in range(times):
        receipts.refused(Refused(code), place or Place("lae", peer.replace(":", "-")), peer=peer, **fields)


def test_the_flood_of_one_peer_hides_no_refusal_of_another_whatever_its_reasons(writing):
    run = writing()

    async def main():
        async with run() as receipts:
            for code in REASONS:
                refuse(receipts, "10.0.0.1", code, times=100)
            for number in range(2, 10):
                for code in ("busy", "unauthorized"):
                    refuse(receipts, f"10.0.0.{number}", code)

    asyncio.run(main())
    others = {(line["peer"], line["reason"]) for line in run.single()} - {("10.0.0.1", code) for code in REASONS}
    assert others == {(f"10.0.0.{number}", code) for number in range(2, 10) for code in ("busy", "unauthorized")}


def test_hosts_that_share_an_address_hide_nothing_of_each_other(writing):
    run = writing()

    async def main():
        async with run() as receipts:
            refuse(receipts, "10.0.0.1", times=100, place=HOST)
            refuse(receipts, "10.0.0.1", place=Place("lae", "node2"))

    asyncio.run(main())
    assert [line["host"] for line in run.single()] == ["node1"] * int(BURST) + ["node2"]


def test_what_is_not_written_is_counted_with_its_peers_and_bytes(writing):
    run = writing()

    async def main():
        async with run() as receipts:
            for number in range(1, 9):
                refuse(receipts, f"10.0.0.{number}", times=20 + 10 * number, place=Place("c", ""), size=5)

    asyncio.run(main())
    (summary,) = run.summaries()
    assert summary["detail"] == (
        "360 more, not written one by one: 80 from 10.0.0.8, 70 from 10.0.0.7, 60 from 10.0.0.6, 50 from 10.0.0.5, "
        "40 from 10.0.0.4, 60 from others"
    )
    assert {**summary, "detail": "", "time": ""} == {
        "what": "receipt", "kind": "crash", "cluster": "lae", "host": "", "time": "", "peer": "10.0.0.8",
        "verdict": "refused", "reason": "busy", "detail": "", "size": 1800,
    }  # fmt: skip


def test_a_sender_is_heard_again_as_time_passes(writing):
    run = writing()

    async def main():
        async with run() as receipts:
            refuse(receipts, "10.0.0.1", times=30)
            run.now += 2 / module.RATE
            refuse(receipts, "10.0.0.1", times=30)

    asyncio.run(main())
    assert len(run.single()) == BURST + 2


def test_thousands_of_peers_cost_bounded_memory_and_lines_and_all_are_counted(writing):
    run = writing()
    peers = [f"2001:db8::{number:x}" for number in range(2 * MAX_BUCKETS)]

    async def main():
        async with run() as receipts:
            for peer in peers:
                refuse(receipts, peer)
                refuse(receipts, peer, "unauthorized")
            assert len(receipts._buckets) <= MAX_BUCKETS
            assert len(receipts._dropped._counts) <= MAX_COUNTED + len(REASONS)
            assert len(receipts._queue) <= TOTAL_BURST

    asyncio.run(main())
    assert len(run.single()) == TOTAL_BURST
    assert len(run.summaries()) <= SUMMARIES + 2
    more = [int(re.match(r"\d+", line["detail"])[0]) for line in run.summaries()]
    assert sum(more) + len(run.single()) == 2 * len(peers)


def test_a_journal_that_fails_fails_nothing_and_what_it_did_not_take_is_counted(writing, caplog):
    run = writing()

    async def main():
        async with run() as receipts:
            works = run.journal.write_all

            async def fails(what, entries):
                raise OSError("no journal today")

            run.journal.write_all = fails
            refuse(receipts, "10.0.0.1", times=2, size=7)
            refuse(receipts, "10.0.0.2", place=Place("lae", "10.0.0.1"))
            receipts.accepted(Span("crashes/a", 0, 9), HOST, peer="10.0.0.1", id="a")
            receipts.mark(HOST, "something happened")
            await receipts.write()
            assert run.lost._value.get() == 5
            receipts._summarize()
            await receipts.write()
            assert run.lost._value.get() == 6, "the summary, too; what it said is said by the next one"
            run.journal.write_all = works
            receipts.accepted(Span("crashes/b", 0, 9), HOST, peer="10.0.0.1", id="b")

    asyncio.run(main())
    assert [line["id"] for line in run.single()] == ["b"]
    (summary,) = run.summaries()
    assert summary["detail"] == "3 more, not written one by one: 2 from 10.0.0.1, 1 from 10.0.0.2"
    assert summary["size"] == 14
    assert caplog.text.count("receipts are not written: no journal today") == 1


def test_more_than_can_wait_is_counted(writing, monkeypatch):
    monkeypatch.setattr(module, "MAX_QUEUED", 3)
    run = writing()

    async def main():
        async with run() as receipts:
            refuse(receipts, "10.0.0.1", times=10)
            assert run.lost._value.get() == 7
            await receipts.write()

    asyncio.run(main())
    assert [line["detail"] for line in run.summaries()] == ["7 more, not written one by one"]


def test_what_comes_together_is_written_together_and_in_its_order(writing):
    run = writing(gather=0.05)

    async def main():
        async with run() as receipts:
            for number in range(300):
                receipts.accepted(Span(f"crashes/{number}", 0, 9), HOST, peer="10.0.0.1", id=str(number))
            receipts.mark(HOST, "last")

    asyncio.run(main())
    assert [line.get("id", "mark") for line in run.lines()] == [*map(str, range(300)), "mark"]
    assert run.writes == 3


def test_marks_of_one_host_are_limited_and_a_mark_says_how_many_more(writing):
    run = writing(summary="mark")

    async def main():
        async with run() as receipts:
            for number in range(50):
                receipts.mark(HOST, "node left", peer=f"10.0.0.{1 + number % 2}")
            receipts.mark(Place("lae", "node2"), "node left", peer="10.0.0.1")
            refuse(receipts, "10.0.0.1", times=100, place=HOST)

    asyncio.run(main())
    marks = [(line["host"], line["title"]) for line in run.lines() if line["what"] == "mark"]
    assert marks.count(("node1", "node left")) == BURST
    assert marks[int(BURST) :] == [("node2", "node left"), ("node1", "30 more: node left"), ("node1", "80 more: busy")]
    assert [line["text"] for line in run.summaries()] == ["15 from 10.0.0.1, 15 from 10.0.0.2", "80 from 10.0.0.1"]


def test_while_it_runs_a_summary_is_written_every_minute(writing, monkeypatch):
    monkeypatch.setattr(module, "SUMMARY_EVERY", 0.1)
    run = writing()

    async def main():
        async with run() as receipts:
            refuse(receipts, "10.0.0.1", times=22)
            async with asyncio.timeout(60):
                while not run.summaries():
                    await asyncio.sleep(0.02)

    asyncio.run(main())
    assert [line["detail"] for line in run.summaries()] == ["2 more, not written one by one"]
