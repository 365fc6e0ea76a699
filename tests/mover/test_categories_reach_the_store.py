"""What incidents were found to be comes from the journal into the store, holds there, and survives a rebuild."""

from spine import opened, run

from lae_monitor.archive import Journal
from lae_monitor.core.time import parse_time
from lae_monitor.kinds import KINDS
from lae_monitor.kinds.incidents.questions import categories_of_incident
from lae_monitor.mover.rebuild import rebuild
from lae_monitor.store import Store
from lae_monitor.store.chdb_driver import ChdbDriver
from lae_monitor.store.store import STEPS

NOW = parse_time("2026-11-22T12:00:00Z")


def entry(name, categories, time):
    return {"cluster": "lae", "host": "node1", "id": name, "categories": categories, "rules": "r", "time": time}


def test_the_newest_answer_is_moved_and_survives_a_rebuild(tmp_path):
    async def go():
        async with opened(tmp_path) as mover:
            journal = Journal(mover.archive)
            await journal.write_all("categories", [entry("a", "unknown", NOW), entry("b", "x,y", NOW)])
            await mover.catch_up()
            await journal.write_all("categories", [entry("a", "disk-full", NOW + 1)])
            await mover.catch_up()
            before = [await categories_of_incident(mover.store, "lae", "node1", name) for name in "abc"]
            await rebuild(mover)
            after = [await categories_of_incident(mover.store, "lae", "node1", name) for name in "abc"]
            return before, after

    before, after = run(go())
    assert [one and one.categories for one in before] == [["disk-full"], ["x", "y"], None]
    assert after == before


def test_a_store_of_an_earlier_release_gets_the_table_once(tmp_path):
    async def opened_store(*, old):
        driver = ChdbDriver(tmp_path / "store", memory=400 << 20)
        try:
            store = await Store(driver, kinds=KINDS).open()
            if old:  # as the release before left it
                await driver.command("DROP TABLE lae.categories SYNC")
                await driver.command("DELETE FROM lae.migrations WHERE version > 1 SETTINGS lightweight_deletes_sync=2")
            await store.query("SELECT count() AS n FROM {lae}.migrations")
            return await store.query("SELECT version FROM {lae}.migrations ORDER BY version"), (
                [] if old else await store.query("SELECT * FROM {lae}.categories")
            )
        finally:
            await driver.close()

    assert run(opened_store(old=True))[0] == [{"version": 1}]
    for _ in range(2):
        assert run(opened_store(old=False)) == ([{"version": step.version} for step in STEPS], [])
