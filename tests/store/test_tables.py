"""The tables hold what readers make, once for one token, and what is stored twice shows once."""

import asyncio
import math
import random
import signal
import subprocess
import sys

import msgspec
import pytest

from lae_monitor.core.kind import Kinds
from lae_monitor.core.names import row_key
from lae_monitor.core.rows import Event
from lae_monitor.kinds import KINDS
from lae_monitor.store import Store, StoreError
from lae_monitor.store.chdb_driver import ChdbDriver
from lae_monitor.store.driver import parameter_text
from lae_monitor.store.schema import FORM, PLACE, SOURCE, tables_of

TABLES = tables_of(KINDS)


def event(number: int, **changes) -> Event:
    fields = {
        "kind": "crash", "cluster": "c", "host": "h", "time": 1.7e9 + number, "received": 1.7e9, "id": f"id-{number}",
        "key": row_key("crash", number), "level": "error", "title": f"title {number}", "file": "crashes/x", "length": 3,
    }  # fmt: skip
    return Event(**(fields | changes))


def with_store(folder, job, kinds=KINDS):
    async def go():
        driver = ChdbDriver(folder / "store", memory=400 << 20)
        try:
            return await job(await Store(driver, kinds=kinds).open())
        finally:
            await driver.close()

    return asyncio.run(go())


@pytest.mark.parametrize("name", sorted(TABLES.keys() - {"moves"}))
def test_a_table_has_the_columns_of_its_row(name):
    fields = {field.name for field in msgspec.structs.fields(TABLES[name].row)}
    assert set(TABLES[name].columns) - set(SOURCE) - set(FORM) == fields
    assert set(PLACE) <= fields


def test_one_token_inserts_once_also_after_a_restart(tmp_path):
    async def insert(store):
        await store.insert("events", [event(1), event(2)], [("a", 0)] * 2, "it's a token\\")
        return (await store.query("SELECT count() AS n FROM {lae}.events"))[0]["n"]

    assert [with_store(tmp_path, insert) for _ in range(3)] == [2, 2, 2]


def test_what_is_stored_twice_shows_once(tmp_path):
    async def go(store):
        await store.insert("events", [event(1)], [("a", 0)], "one")
        await store.insert("events", [event(1)], [("b", 0)], "two")
        return await store.query("SELECT count() AS n FROM {lae}.events FINAL")

    assert with_store(tmp_path, go) == [{"n": 1}]


def test_rows_are_taken_back_by_the_span_they_came_from(tmp_path):
    async def go(store):
        rows = [event(number) for number in range(4)]
        await store.insert("events", rows, [("a", 0), ("a", 10), ("a", 20), ("b", 10)], "token")
        await store.take_back([("a", 10)])
        kept = await store.query("SELECT id FROM {lae}.events ORDER BY id")
        await store.forget(["a"])
        return kept, await store.query("SELECT id FROM {lae}.events")

    kept, rest = with_store(tmp_path, go)
    assert [row["id"] for row in kept] == ["id-0", "id-2", "id-3"]
    assert rest == [{"id": "id-3"}]


def test_hostile_values_come_back_as_they_were(tmp_path):
    nasty = ["", "'", "\\", "\\'", "a\tb\nc\rd\0e", "{x:String}", "💥", "\udc80lone", "%_", "x" * 70_000]

    async def go(store):
        rows = [event(number, title=text, attrs={text: text}) for number, text in enumerate(nasty)]
        await store.insert("events", rows, [("a", 0)] * len(rows), "token")
        found = []
        for text in nasty:
            rows = await store.query(
                "SELECT title, attrs FROM {lae}.events WHERE title = {text:String} AND title IN {texts:Array(String)}",
                {"text": text.replace("\udc80", "?"), "texts": [text.replace("\udc80", "?"), "other"]},
            )
            found += [row["title"] for row in rows]
        return found

    assert with_store(tmp_path, go) == [text.replace("\udc80", "?") for text in nasty]


def test_times_that_cannot_be_are_clamped_and_a_wild_batch_still_goes_in(tmp_path):
    times = [-1e18, -1.0, 0.0, 1.7e9, 1e18, math.inf, *(1e9 + 40 * 86400 * month for month in range(150))]

    async def go(store):
        rows = [event(number, time=time) for number, time in enumerate(times)]
        await store.insert("events", rows, [("a", 0)] * len(rows), "token")
        return await store.query("SELECT count() AS n, max(toYear(time)) AS latest FROM {lae}.events")

    assert with_store(tmp_path, go) == [{"n": len(times), "latest": 2100}]


def test_a_second_process_is_told_that_the_store_is_in_use(tmp_path):
    code = (
        "import sys; from pathlib import Path; from lae_monitor.store.chdb_driver import ChdbDriver\n"
        "from lae_monitor.store import StoreError\n"
        "try: ChdbDriver(Path(sys.argv[1]), memory=400 << 20)\n"
        "except StoreError as error: print(error)"
    )

    async def go(store):
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", code, str(tmp_path / "store")],
            capture_output=True,
            text=True,
            timeout=120,
        )

    assert "is another lae-monitor using it?" in with_store(tmp_path, go).stdout


def test_a_store_of_a_newer_release_is_left_alone(tmp_path):
    async def age(store):
        await store.driver.command("INSERT INTO lae.migrations SELECT 999, 'from the future', now(), ''")

    async def nothing(store):
        raise AssertionError

    with_store(tmp_path, age)
    with pytest.raises(StoreError, match="install the newer release"):
        with_store(tmp_path, nothing)


def test_children_do_not_inherit_a_blocked_sigpipe(tmp_path):
    async def go(store):
        return signal.pthread_sigmask(signal.SIG_BLOCK, [])

    assert signal.SIGPIPE not in with_store(tmp_path, go)


def test_a_query_that_needs_too_much_fails_alone(tmp_path):
    async def go(store):
        with pytest.raises(StoreError) as caught:
            await store.query("SELECT groupArray(number) AS a FROM numbers(100000000)")
        assert caught.value.transient
        await store.insert("events", [event(1)], [("a", 0)], "token")
        return await store.query("SELECT count() AS n FROM {lae}.events")

    assert with_store(tmp_path, go) == [{"n": 1}]


def test_an_insert_that_the_engine_refuses_late_is_never_taken_for_done(tmp_path):
    async def go(store):
        await store.driver.command("ALTER TABLE lae.events ADD CONSTRAINT short CHECK length(title) < 5")
        with pytest.raises(StoreError, match="violated"):
            await store.insert("events", [event(1)], [("a", 0)], "token")
        return await store.query("SELECT count() AS n FROM {lae}.events")

    assert with_store(tmp_path, go) == [{"n": 0}]


def test_parameters_survive_any_text(tmp_path):
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    letters = [
        "'",
        "\\",
        "\n",
        "\t",
        "\0",
        "\r",
        "\b",
        "[",
        "]",
        ",",
        "{",
        "}",
        "N",
        "n",
        "é",
        "💥",
        "a",
        " ",
        '"',
        "`",
    ]

    async def go(store):
        for _ in range(300):
            values = ["".join(rng.choices(letters, k=rng.randrange(12))) for _ in range(1 + rng.randrange(4))]
            rows = await store.query(
                "SELECT {one:String} AS one, {all:Array(String)} AS every", {"one": values[0], "all": values}
            )
            assert rows == [{"one": values[0], "every": values}]

    with_store(tmp_path, go)


def test_parameter_text_escapes_as_tsv():
    assert parameter_text("a\tb\\") == "a\\tb\\\\"
    assert parameter_text(["it's", "b"]) == "['it\\'s','b']"
    assert parameter_text(7) == "7"


def test_what_is_stored_twice_is_noted_before_it_is_stored(tmp_path):
    async def go(store):
        assert store.events.doubled == 0
        rows = [event(number, time=1e9 + number / 3) for number in range(300)]
        await store.insert("events", rows, [("a", 0)] * 300, "first")
        assert store.events.doubled == 0
        await store.insert("events", [*rows[:7], event(300), event(300)], [("b", 0)] * 9, "again")
        noted = await store.query(
            "SELECT count() AS n FROM {lae}.events WHERE (cluster, host, time, key) IN "
            "(SELECT cluster, host, time, key FROM {lae}.doubled)"
        )
        return store.events.doubled, noted[0]["n"]

    assert with_store(tmp_path, go) == (8, 15)  # what comes twice at once is stored once


def test_what_is_stored_once_by_now_is_noted_no_more(tmp_path):
    async def go(store):
        rows = [event(number) for number in range(20)]
        await store.insert("events", rows, [("a", 0)] * 20, "first")
        await store.insert("events", rows[:9], [("a", 0)] * 9, "first")  # its token says that it is a repetition
        await store.insert("events", rows[9:13], [("b", 0)] * 4, "again")
        before = store.events.doubled
        await store.events.forget_doubled()
        doubled = store.events.doubled
        await store.driver.command("OPTIMIZE TABLE lae.events FINAL")
        await store.events.forget_doubled()
        merged = store.events.doubled
        await store.insert("events", rows[:1], [("c", 0)], "once more")
        return before, doubled, merged, store.events.doubled

    assert with_store(tmp_path, go) == (13, 4, 0, 1)


def test_what_an_earlier_release_stored_twice_is_looked_for_once(tmp_path):
    async def go_back(store):
        rows = [event(number) for number in range(20)]
        for token, some in (("first", rows), ("again", rows[:3])):
            await store.insert("events", some, [("a", 0)] * len(some), token)
        await store.driver.command("ALTER TABLE lae.events DROP COLUMN form")
        await store.driver.command("DROP TABLE lae.doubled SYNC")

    async def look(store):
        before, found = store.events.doubled, await store.query("SELECT count() AS n FROM {events}")
        await store.events.learn_doubled()
        return before, found, store.events.doubled

    async def later(store):
        return store.events.doubled

    with_store(tmp_path, go_back)
    assert with_store(tmp_path, look) == (None, [{"n": 20}], 3)
    assert with_store(tmp_path, later) == 3


def test_sums_stay_those_of_the_rows_whatever_happens_to_them(tmp_path):
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    sums = (
        "SELECT cluster, host, kind, count() AS n, max(received) AS had, max(time) AS newest FROM {lae}.events "
        "GROUP BY cluster, host, kind ORDER BY cluster, host, kind"
    )

    async def go(store):
        async def compare():
            added_up = await store.query(sums)
            read = await store.query(
                sums.replace("FROM {lae}.events", "FROM (SELECT * FROM {lae}.events WHERE NOT ignore(text))")
            )
            assert added_up == read

        for step in range(12):
            rows = [
                event(rng.randrange(60), host=rng.choice("abc"), time=1e9 + rng.randrange(10) * 1e6) for _ in range(20)
            ]
            await store.insert("events", rows, [(f"f{step % 4}", step)] * len(rows), f"token {step}")
            await compare()
            if step % 3 == 1:
                await store.take_back([(f"f{step % 4}", step)])
                await compare()
            if step % 4 == 3:
                await store.forget([f"f{rng.randrange(4)}"])
                await store.driver.command("OPTIMIZE TABLE lae.events FINAL")
                await compare()
        plan = await store.query("EXPLAIN indexes = 1, projections = 1 " + sums)
        return any("heard" in row["explain"] for row in plan)

    assert with_store(tmp_path, go)


def test_parts_of_an_earlier_release_are_added_up_once(tmp_path):
    async def go_back(store):
        await store.insert("events", [event(number) for number in range(20)], [("a", 0)] * 20, "first")
        await store.driver.command("ALTER TABLE lae.events DROP PROJECTION heard SETTINGS mutations_sync = 1")

    async def come_back(store):
        parts = "SELECT countIf(NOT has(projections, 'heard')) AS n FROM system.parts WHERE active AND table = 'events' AND database = 'lae'"
        before = await store.query(parts)
        await store.events.add_up()
        return before, await store.query(parts)

    with_store(tmp_path, go_back)
    before, after = with_store(tmp_path, come_back)
    assert before[0]["n"] > 0
    assert after == [{"n": 0}]


def test_a_store_of_other_kinds_or_an_earlier_release_gets_what_tells_events_apart(tmp_path):
    """Before it is written into all parts it is made of the attributes at each look; the answers are the same."""

    def crash(number, dump):
        attrs = {"upload_file_minidump.sha256": dump, "product": "P", "version": "1"}
        return event(number, kind="crash", attrs=attrs)

    async def before(store):
        await store.insert("events", [crash(1, "a"), crash(2, "a"), crash(3, "b"), event(4)], [("a", 0)] * 4, "first")

    async def look(store):
        ask = f"SELECT uniqExact({store.events.twin}) AS n, max({store.events.release}) AS v FROM {{events}}"
        have = (
            "SELECT count() AS n FROM system.parts_columns WHERE active AND table = 'events' AND database = 'lae' "
            "AND column IN {names:Array(String)}"
        )
        names = {"names": [store.events.twin, store.events.release]}
        first = await store.query(ask), (await store.query(have, names))[0]["n"]
        await store.events.add_up()
        return first, (await store.query(ask), (await store.query(have, names))[0]["n"])

    with_store(tmp_path, before, kinds=Kinds())
    assert with_store(tmp_path, look) == (([{"n": 3, "v": "1"}], 0), ([{"n": 3, "v": "1"}], 2))
