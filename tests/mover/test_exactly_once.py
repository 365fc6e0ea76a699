"""The mover may die between any two of its steps, on a file that grows meanwhile: no row is lost, none is there twice."""

import random
from typing import ClassVar

import pytest
import spine

from lae_monitor.archive import Journal
from lae_monitor.archive.journal import Reader
from lae_monitor.core.kind import Kinds
from lae_monitor.core.rows import Row, Span
from lae_monitor.kinds import KINDS
from lae_monitor.store import Store, StoreError


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs."""


def dying_store(at: str):
    """A store on which the mover dies once, before or after the rows of `at` are inserted."""
    moment, table = at.split()
    died = []

    class Dying(Store):
        async def insert_columns(self, name, columns, token):
            if moment == "before" and name == table and not died:
                died.append(True)
                raise Killed
            await super().insert_columns(name, columns, token)
            if moment == "after" and name == table and not died:
                died.append(True)
                raise Killed

    return Dying


@pytest.mark.parametrize("at", ["before events", "after events", "before moves", "after moves"])
def test_no_row_twice_when_killed_on_a_growing_file(tmp_path, at):
    async def die():
        async with spine.opened(tmp_path, dying_store(at)) as mover:
            journal = Journal(mover.archive)
            for number in range(5):
                await journal.write("mark", title=f"{number:04}")
            with pytest.raises(Killed):
                await mover.catch_up()
            for number in range(5, 9):  # it grows before anybody looks again
                await journal.write("mark", title=f"{number:04}")

    async def come_back():
        async with spine.opened(tmp_path) as mover:
            await mover.catch_up()
            return await spine.marks(mover)

    spine.run(die())
    assert spine.run(come_back()) == [f"{number:04}" for number in range(9)]


@pytest.mark.parametrize("lost", ["ledger", "store"])
def test_what_was_deleted_is_made_good(tmp_path, lost):
    async def fill():
        async with spine.opened(tmp_path, dying_store("before moves")) as mover:
            journal = Journal(mover.archive)
            for number in range(5):
                await journal.write("mark", title=f"{number:04}")
            with pytest.raises(Killed):  # rows without their mark: the hardest case for a new ledger
                await mover.catch_up()

    async def come_back():
        async with spine.opened(tmp_path) as mover:
            await Journal(mover.archive).write("mark", title="0005")
            await mover.catch_up()
            return await spine.marks(mover)

    spine.run(fill())
    if lost == "ledger":
        for file in tmp_path.glob("mover.db*"):
            file.unlink()
    else:
        (tmp_path / "store").rename(tmp_path / "lost")
    assert spine.run(come_back()) == [f"{number:04}" for number in range(6)]


def test_a_failing_store_is_tried_again_with_the_same_batch(tmp_path):
    class Flaky(Store):
        failures = 3

        async def insert_columns(self, name, columns, token):
            if name == "events" and Flaky.failures:
                Flaky.failures -= 1
                raise StoreError("Code: 241. Memory limit exceeded", 241)
            await super().insert_columns(name, columns, token)

    async def move():
        async with spine.opened(tmp_path, Flaky) as mover:
            journal = Journal(mover.archive)
            await journal.write("mark", title="one")
            for _ in range(3):
                with pytest.raises(StoreError):
                    await mover.catch_up()
                await journal.write("mark", title=f"more {_}")
            await mover.catch_up()
            return await spine.marks(mover)

    assert spine.run(move()) == ["more 0", "more 1", "more 2", "one"]


def test_a_new_version_of_a_reader_repeats_a_begun_batch_without_doubling_it(tmp_path, monkeypatch):

    async def die():
        async with spine.opened(tmp_path, dying_store("before moves")) as mover:
            await Journal(mover.archive).write("mark", title="one")
            with pytest.raises(Killed):
                await mover.catch_up()

    async def come_back():
        async with spine.opened(tmp_path) as mover:
            await mover.catch_up()
            return await spine.marks(mover)

    spine.run(die())
    monkeypatch.setattr(Reader, "LINES", Reader.LINES + 1)
    assert spine.run(come_back()) == ["one"]


def test_hints_lost_the_sweep_finds_it(tmp_path):
    async def move():
        async with spine.opened(tmp_path) as mover:
            (tmp_path / "archive" / "journal" / "2026" / "01" / "02").mkdir(parents=True)
            old = tmp_path / "archive" / "journal" / "2026" / "01" / "02" / "gone.jsonl"
            old.write_text('{"time":"2026-01-02T00:00:00Z","what":"mark","title":"old"}\n{"time":"2026-01-02T')
            await mover.catch_up()
            return await spine.marks(mover)

    assert spine.run(move()) == ["old"]  # and the torn second line waits for its end


def test_what_cannot_be_read_goes_to_quarantine_and_comes_back_when_it_can(tmp_path, monkeypatch):

    async def move():
        async with spine.opened(tmp_path) as mover:
            path = "journal/2026/11/22/gather-x.jsonl"
            await mover.archive.append(path, b'{"time":"2026-11-22T00:00:00Z","what":"mark","title":"good"}\n')
            await mover.catch_up()
            bad = b'{"time":"2026-11-22T00:00:01Z","what":"novel","title":"not yet known"}\n'
            span = await mover.archive.append(path, bad)
            await mover.archive.append("journal/2026/11/22/y.jsonl", bad.replace(b"novel", b"mark"))
            await mover.catch_up()
            await mover.catch_up()  # the alarm that the first one wrote
            alarms = await mover.store.query("SELECT title, attrs FROM {lae}.events WHERE kind = 'alarm'")
            kept = mover.ledger.quarantined()
            assert [item.span for item in kept] == [Span(path, span.start, span.end)]
            assert [alarm["attrs"]["rule"] for alarm in alarms] == ["unreadable"]
            assert await mover.archive.read(Span(f"quarantine/journal/{kept[0].id}.raw", 0, 1 << 20)) == bad
            assert await spine.marks(mover) == ["good", "not yet known"]

            read = Reader.read
            monkeypatch.setattr(
                Reader, "read", lambda own, span, data: read(own, span, data.replace(b"novel", b"mark"))
            )
            assert await mover.retry(kept[0].id)
            assert not mover.ledger.quarantined()
            await mover.archive.append(path, b'{"time":"2026-11-22T00:00:02Z","what":"mark","title":"after"}\n')
            await mover.catch_up()
            return await spine.marks(mover)

    assert spine.run(move()) == ["after", "good", "not yet known", "not yet known"]


class Unheard(Row, kw_only=True):
    """A row of a table that no kind has."""

    table: ClassVar[str] = "unheard"


@pytest.mark.parametrize(
    "wrong",
    [{"offset": -1}, {"title": 5}, {"host": None}, {"attrs": {"a": 5}}, Unheard(file="", offset=0, length=0), {}],
)
def test_a_row_that_the_store_refuses_costs_only_its_own_span(tmp_path, monkeypatch, wrong):
    read = Reader.read

    def poison(own, span, data):
        for row in read(own, span, data):
            is_bad = row.title == "poison"
            for name, value in wrong.items() if is_bad and isinstance(wrong, dict) else ():
                setattr(row, name, value)
            yield wrong if is_bad and not (isinstance(wrong, dict) and wrong) else row

    monkeypatch.setattr(Reader, "read", poison)

    async def move():
        async with spine.opened(tmp_path) as mover:
            for name, title in (("a", "fine"), ("b", "poison"), ("c", "fine too")):
                line = f'{{"time":"2026-11-22T00:00:00Z","what":"mark","title":"{title}"}}\n'
                await mover.archive.append(f"journal/2026/11/22/{name}.jsonl", line.encode())
            await mover.catch_up()
            assert [item.span.path for item in mover.ledger.quarantined()] == ["journal/2026/11/22/b.jsonl"]
            return await spine.marks(mover)

    assert spine.run(move()) == ["fine", "fine too"]


def test_rebuild_gives_the_same_answers(tmp_path):
    from lae_monitor.mover.rebuild import rebuild

    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)

    async def answers(mover):
        result = {}
        for table, columns in {
            "events": "kind, cluster, host, time, received, id, hex(key), level, title, text, attrs, file, offset, length",
            "receipts": "kind, cluster, host, time, peer, verdict, reason, detail, id, size, file, offset",
            "decisions": "subject, about, time, value, by",
        }.items():
            result[table] = await mover.store.query(f"SELECT {columns} FROM {{lae}}.{table} FINAL ORDER BY ALL")
        return result

    async def go():
        async with spine.opened(tmp_path) as mover:
            journal = Journal(mover.archive)
            for number in range(200):
                kind = rng.choice(["mark", "alarm", "receipt", "decision"])
                if kind == "receipt":
                    await journal.write(
                        "receipt", kind="crash", cluster="c", host=f"h{number % 3}", peer="127.0.0.1",
                        verdict="refused", reason="body_too_large", detail=f"number {number}",
                    )  # fmt: skip
                elif kind == "decision":
                    await journal.write("decision", subject="group", about=f"g{number % 7}", value=f'"{number}"')
                else:
                    await journal.write(kind, cluster="c", host="h", title=f"{number}", rule="r")
                if rng.random() < 0.1:
                    await mover.catch_up()
            await mover.catch_up()
            before = await answers(mover)
            identity = mover.store.identity
            state = await rebuild(mover)
            assert state.rows >= 200
            assert mover.store.identity != identity
            assert await answers(mover) == before
            await journal.write("mark", title="after")  # and it goes on
            await mover.catch_up()
            assert "after" in await spine.marks(mover)
            return await answers(mover)

    async def again():
        async with spine.opened(tmp_path) as mover:
            assert not await mover.step()
            return await answers(mover)

    after = spine.run(go())
    assert spine.run(again()) == after


def test_a_lost_ledger_knows_again_what_is_in_quarantine(tmp_path):
    async def fill():
        async with spine.opened(tmp_path) as mover:
            await mover.archive.append(
                "journal/2026/11/22/x.jsonl", b'{"time":"2026-11-22T00:00:00Z","what":"later"}\n'
            )
            await mover.catch_up()
            return mover.ledger.quarantined()

    async def come_back():
        async with spine.opened(tmp_path) as mover:
            return mover.ledger.quarantined()

    [before] = spine.run(fill())
    for file in tmp_path.glob("mover.db*"):
        file.write_bytes(b"garbage " * 1000)
    [after] = spine.run(come_back())
    assert (after.id, after.span, after.reason) == (before.id, before.span, before.reason)
    assert [path.name.partition("-")[0] for path in tmp_path.glob("*.aside-*")] == ["mover.db.aside"]


def test_what_waited_for_a_kind_is_read_once_the_kind_is_there(tmp_path):
    """Without it the journal's entry is unknown, and with its neighbours in quarantine."""
    path = "journal/2026/11/22/gather-x.jsonl"
    lines = (
        b'{"time":"2026-11-22T00:00:00Z","what":"mark","title":"beside it"}\n'
        b'{"time":"2026-11-22T00:00:00Z","what":"categories","cluster":"c","host":"h","id":"i","categories":"x","rules":"r"}\n'
    )

    async def without():
        async with spine.opened(tmp_path, kinds=Kinds(kind for kind in KINDS if not kind.entries)) as mover:
            await mover.archive.append(path, lines)
            await mover.catch_up()
            return len(mover.ledger.quarantined())

    async def having():
        async with spine.opened(tmp_path) as mover:
            retried = await mover.retry_outdated()
            return retried, await spine.marks(mover), await mover.store.query("SELECT categories FROM {lae}.categories")

    assert spine.run(without()) == 1
    assert spine.run(having()) == (1, ["beside it"], [{"categories": ["x"]}])
