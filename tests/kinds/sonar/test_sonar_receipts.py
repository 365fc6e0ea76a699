"""What was accepted or refused is in the journal, and a flood of refusals is not: only its size."""

import asyncio

from lae_monitor.archive import journal
from lae_monitor.core.rows import Receipt, Span
from lae_monitor.kinds import receipts as module


def test_an_accepted_post_has_a_receipt_that_leads_to_its_bytes(tmp_path, gathering, line, now):
    async def main():
        async with gathering(tmp_path, clock=now) as gatherer:
            assert (await gatherer.post(line(1) + line(2))).status == 200
            assert (await gatherer.post(line(3))).status == 200
            await gatherer.end()
            rows = []
            for path in gatherer.root.glob("journal/**/*.jsonl"):
                data = path.read_bytes()
                rows += journal.read(Span(str(path.relative_to(gatherer.root)), 0, len(data)), data)
            assert all(isinstance(row, Receipt) for row in rows)
            assert [(row.verdict, row.cluster, row.host, row.peer, row.kind) for row in rows] == [
                ("accepted", "c", "h", "127.0.0.1", "sonar")
            ] * 2
            stored = gatherer.files()["c/2026/11/22/h.csv"]
            assert [stored[row.offset : row.offset + row.length] for row in rows] == [line(1) + line(2), line(3)]
            assert [row.size for row in rows] == [len(line(1) + line(2)), len(line(3))]
            assert [row.time for row in rows] == [now(), now()]

    asyncio.run(main())


def test_a_flood_of_refusals_is_counted_and_not_written_one_by_one(tmp_path, gathering, line, now):
    async def main():
        async with gathering(tmp_path, clock=now) as gatherer:
            for _ in range(50):
                assert (await gatherer.post(line(1), password="wrong")).status == 401
            assert (await gatherer.post(b"oops")).status == 400
            await gatherer.end()
            found = gatherer.receipts()
            unauthorized = [receipt for receipt in found if receipt["reason"] == "unauthorized"]
            assert len(unauthorized) == module.BURST + 1
            assert unauthorized[-1]["detail"] == "30 more, not written one by one"
            assert [r["detail"] for r in found if r["reason"] == "sonar_bad_content"] == [
                "line 1: a field without =: 'oops'"
            ]

    asyncio.run(main())


def test_a_flood_from_one_address_hides_no_refusal_of_another(tmp_path, gathering, line, now):
    async def main():
        async with gathering(tmp_path, clock=now) as gatherer:
            for _ in range(22):
                await gatherer.post(line(1), password="wrong")
            for number in (2, 3):
                await gatherer.post(line(1), password="wrong", source=f"127.0.0.{number}")
            await gatherer.end()
            receipts = [(r["peer"], r["reason"]) for r in gatherer.receipts() if "more, not" not in r["detail"]]
            assert receipts.count(("127.0.0.1", "unauthorized")) == 20
            assert receipts[20:] == [("127.0.0.2", "unauthorized"), ("127.0.0.3", "unauthorized")]
            (summary,) = [r for r in gatherer.receipts() if "more, not" in r["detail"]]
            assert summary["detail"] == "2 more, not written one by one"
            assert (summary["peer"], summary["size"]) == ("127.0.0.1", 0)

    asyncio.run(main())


def test_after_a_flood_refusals_are_written_again_as_time_passes(tmp_path, gathering, line):
    time = 1795341085.0

    async def main():
        nonlocal time
        async with gathering(tmp_path, clock=lambda: time) as gatherer:
            for _ in range(25):
                await gatherer.post(line(1), password="wrong")
            time += 2 / module.RATE
            for _ in range(5):
                await gatherer.post(line(1), password="wrong")
            await gatherer.end()
            details = [receipt["detail"] for receipt in gatherer.receipts()]
            assert len(details) == 20 + 2 + 1
            assert details[-1] == "8 more, not written one by one"

    asyncio.run(main())


def test_the_suppressed_are_summed_up_while_it_runs(tmp_path, gathering, line, now, monkeypatch):
    monkeypatch.setattr(module, "SUMMARY_EVERY", 0.2)

    async def main():
        async with gathering(tmp_path, clock=now) as gatherer:
            for _ in range(22):
                await gatherer.post(line(1), password="wrong")
            async with asyncio.timeout(60):
                while not any("more, not written" in receipt["detail"] for receipt in gatherer.receipts()):
                    await asyncio.sleep(0.05)
            assert not gatherer.task.done()
            await gatherer.end()
            details = [receipt["detail"] for receipt in gatherer.receipts() if "more, not" in receipt["detail"]]
            assert details == ["2 more, not written one by one"]

    asyncio.run(main())


def test_an_answer_does_not_wait_for_a_journal_that_fails(tmp_path, gathering, line, now, monkeypatch, caplog):
    async def main():
        async with gathering(tmp_path, clock=now) as gatherer:

            async def write_all(self, what, entries):
                raise OSError("no journal today")

            monkeypatch.setattr(journal.Journal, "write_all", write_all)
            assert (await gatherer.post(line(1))).status == 200
            assert (await gatherer.post(line(2), password="wrong")).status == 401
            await gatherer.end()
            assert gatherer.files() == {"c/2026/11/22/h.csv": line(1)}
            assert "receipts are not written: no journal today" in caplog.text

    asyncio.run(main())
