"""From a node's log in the archive to the store: in pieces, over a broken disk, exactly once, and gone when it is old."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from lae_monitor.archive import Archive, Journal, Reserve
from lae_monitor.archive.homecoming import bring_home
from lae_monitor.core.names import Place
from lae_monitor.kinds import KINDS
from lae_monitor.kinds.incidents.metrics import RECEIPTS_LOST
from lae_monitor.kinds.incidents.node_logs.file import LogFile, Losses, Room
from lae_monitor.kinds.receipts import Receipts
from lae_monitor.mover import Mover
from lae_monitor.mover.ages import Rules
from lae_monitor.mover.ledger import Ledger
from lae_monitor.mover.retention import Retention
from lae_monitor.store import Store
from lae_monitor.store.chdb_driver import ChdbDriver

NOW = 1795305600.0 + 3600  # 2026-11-22, one o'clock
PLACE = Place("lae", "node1")
EARLIER = NOW - 90_000
DAY = "incidents/lae/logs/node1/2026/11/22.flog"
PATIENCE = 60.0


def event(number, size=10):
    return {
        "num": number,
        "time": EARLIER,
        "level": 30,
        "incarnation": ["aa", None],
        "message": f"{number} {'x' * size}",
    }


async def write(archive, numbers, size=10, now=NOW):
    """As the gatherer does; it is there when this returns."""
    receipts = Receipts(Journal(archive, lambda: now), "incident", "lae", lambda: now, lost=RECEIPTS_LOST)
    file = LogFile(PLACE, archive, lambda: now, Losses(receipts), Room())
    for number in numbers:
        file.add(event(number, size), "t" * 32, now)
    await file.finish()


async def with_store(folder, roots, go):
    archive = await Archive(roots, "serve", reserve=Reserve()).open()
    driver = ChdbDriver(folder / "store", memory=400 << 20)
    mover = Mover(
        archive,
        await Store(driver, kinds=KINDS).open(),
        Ledger(folder / "mover.db"),
        folders=KINDS.folders,
        find_reader=KINDS.reader,
    )
    try:
        await mover.recover()
        return await go(mover)
    finally:
        mover.ledger.close()
        await driver.close()
        await archive.close()


async def numbers(mover):
    rows = await mover.store.query(
        "SELECT toInt64(attrs['num']) AS num FROM {lae}.events FINAL WHERE kind = 'log' AND host = 'node1' ORDER BY num"
    )
    return [row["num"] for row in rows]


def test_a_file_larger_than_a_span_is_moved_in_pieces_while_it_grows(tmp_path):
    async def go(mover):
        await write(mover.archive, range(900), 1_500)
        await mover.catch_up()
        before = await numbers(mover)
        await write(mover.archive, range(900, 1_000))
        await write(mover.archive, range(995, 1_005))  # some once more, as after a restart
        await mover.catch_up()
        return before, await numbers(mover)

    before, after = asyncio.run(with_store(tmp_path, [tmp_path / "home"], go))
    assert (tmp_path / "home" / DAY).stat().st_size > 1 << 20
    assert before == [*range(900)]
    assert after == [*range(1_005)]


def test_what_went_to_a_fallback_root_is_readable_alone_and_shows_once(tmp_path):
    home, away = tmp_path / "home", tmp_path / "away"

    async def go(mover):
        await write(mover.archive, range(5), now=NOW - 86_400)
        await mover.catch_up()
        home.rename(tmp_path / "broken")
        home.write_text("no folder")
        await write(mover.archive, range(3, 8))
        await mover.catch_up()
        (piece,) = away.glob("incidents/lae/logs/node1/2026/11/22.*.flog")
        dumped = subprocess.run(
            [Path(sys.executable).parent / "flogtool", "dump", piece], capture_output=True, text=True, check=True
        )
        home.unlink()
        (tmp_path / "broken").rename(home)
        async with asyncio.timeout(PATIENCE):
            while mover.archive.roots[0].health != "ok":
                await asyncio.sleep(0.05)
            while piece.exists():
                await bring_home(mover.archive)
                await asyncio.sleep(0.2)
        await write(mover.archive, range(8, 10))
        await mover.catch_up()
        return dumped.stdout, await numbers(mover)

    dumped, shown = asyncio.run(with_store(tmp_path, [home, away], go))
    assert [f"#{number} " in dumped for number in range(3, 8)] == [True] * 5
    assert shown == [*range(10)]
    names = sorted(path.name for path in home.glob("incidents/lae/logs/node1/2026/11/*.flog"))
    assert [name[:3] for name in names] == ["21.", "22.", "22."]


def test_old_logs_go_with_their_rows(tmp_path):
    async def go(mover):
        gatherer = await Archive([tmp_path / "home"], "gather-incidents", reserve=Reserve()).open()
        await write(gatherer, range(3), now=NOW - 400 * 86400.0)
        await gatherer.close()  # what somebody writes to does not go
        for path in (tmp_path / "home/incidents/lae/logs").rglob("*.flog"):
            os.utime(path, (NOW - 400 * 86400.0,) * 2)
        await write(mover.archive, range(3, 5))
        await mover.catch_up()
        rules = Rules(keep={"incidents": 365 * 86400.0})
        gone, _ = await Retention(mover, rules).run(confirmed=True)
        return gone, await numbers(mover)

    assert asyncio.run(with_store(tmp_path, [tmp_path / "home"], go)) == (1, [3, 4])
