"""A mover on a real archive and a real store below one folder, as `serve` puts them together."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

from lae_monitor.archive import Archive, Journal, Reserve
from lae_monitor.gatherers import FOLDERS, reader
from lae_monitor.mover import Mover
from lae_monitor.mover.ledger import Ledger
from lae_monitor.store import Store
from lae_monitor.store.chdb_driver import ChdbDriver


@asynccontextmanager
async def opened(folder: Path, store_class=Store, find_reader=reader):
    archive = Archive([folder / "archive"], "serve", reserve=Reserve(), hints=folder / "mover.sock")
    await archive.open()
    driver = ChdbDriver(folder / "store", memory=400 << 20)
    store = await store_class(driver).open()
    ledger = Ledger(folder / "mover.db")
    mover = Mover(
        archive, store, ledger,
        folders=tuple(FOLDERS), find_reader=find_reader, hints=folder / "mover.sock", journal=Journal(archive),
    )  # fmt: skip
    try:
        await mover.recover()
        yield mover
    finally:
        mover.ledger.close()
        await driver.close()
        await archive.close()


async def marks(mover: Mover) -> list[str]:
    """The titles of all marks in the store, as they are: not merged, so that a row that is there twice is seen twice."""
    rows = await mover.store.query("SELECT title FROM {lae}.events WHERE kind = 'mark' ORDER BY title")
    return [row["title"] for row in rows]


def run(coroutine):
    return asyncio.run(coroutine)
