"""A mover on a real archive and a real store below one folder, as `serve` puts them together."""

import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path

from lae_monitor.archive import Archive, Journal, Reserve
from lae_monitor.kinds import KINDS
from lae_monitor.mover import Mover
from lae_monitor.mover.ledger import Ledger
from lae_monitor.store import Store
from lae_monitor.store.chdb_driver import ChdbDriver


@asynccontextmanager
async def opened(folder: Path, store_class=Store, find_reader=None, kinds=KINDS):
    archive = Archive([folder / "archive"], "serve", reserve=Reserve(), hints=folder / "mover.sock")
    await archive.open()
    driver = ChdbDriver(folder / "store", memory=400 << 20)
    store = await store_class(driver, kinds=kinds).open()
    ledger = Ledger(folder / "mover.db")
    mover = Mover(
        archive, store, ledger,
        folders=kinds.folders, find_reader=find_reader or kinds.reader, hints=folder / "mover.sock", journal=Journal(archive),
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


async def receive(mover: Mover, path: str, data: bytes, at: float) -> None:
    """`data` comes into the archive by a clock that says `at`."""
    await mover.archive.store(path, [data])
    os.utime(Path(mover.archive.roots[0].name) / path, (at, at))


class NoStore:
    """In place of a store, where only files matter: it has no rows, and forgets them."""

    kinds = KINDS

    async def query(self, *_ignored):
        return []

    async def forget(self, _paths):
        pass


@asynccontextmanager
async def without_store(folder: Path):
    """A mover that takes every file for moved; quick enough for many days."""
    archive = await Archive([folder / "archive"], "serve", reserve=Reserve()).open()
    ledger = Ledger(folder / "mover.db")
    ledger.moved = lambda _path: 2**40
    mover = Mover(archive, NoStore(), ledger, folders=(), find_reader=KINDS.reader)
    try:
        yield mover
    finally:
        ledger.close()
        await archive.close()
