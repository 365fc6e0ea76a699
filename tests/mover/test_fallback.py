"""While home is broken the fallback root takes what comes; what comes home later is in the store once."""

import asyncio

import spine

from lae_monitor.archive import Archive, Reserve
from lae_monitor.archive.homecoming import bring_home
from lae_monitor.kinds import KINDS
from lae_monitor.mover import Mover
from lae_monitor.mover.ledger import Ledger
from lae_monitor.store import Store
from lae_monitor.store.chdb_driver import ChdbDriver

DEADLINE = 60.0


async def until(condition):
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.05)


def test_what_went_to_the_fallback_root_shows_once(tmp_path):
    home, away = tmp_path / "home", tmp_path / "away"

    async def go():
        archive = Archive([home, away], "serve", reserve=Reserve())
        await archive.open()
        driver = ChdbDriver(tmp_path / "store", memory=400 << 20)
        mover = Mover(
            archive, await Store(driver, kinds=KINDS).open(), Ledger(tmp_path / "mover.db"),
            folders=KINDS.folders, find_reader=KINDS.reader,
        )  # fmt: skip
        await mover.recover()

        async def write(title: str, name: str) -> None:
            line = f'{{"time":"2026-11-22T00:00:00Z","what":"mark","title":"{title}"}}\n'
            await archive.append(f"journal/2026/11/22/{name}.jsonl", line.encode())

        await write("1 at home", "a")
        await mover.catch_up()

        home.rename(tmp_path / "broken")
        home.write_text("no folder")
        await write("2 away", "b")  # acknowledged all the same
        await mover.catch_up()
        assert await spine.marks(mover) == ["1 at home", "2 away"]
        await write("3 away, moved only after it came home", "b")

        home.unlink()
        (tmp_path / "broken").rename(home)
        await until(lambda: archive.roots[0].health == "ok")
        await write("4 at home again", "b")

        async def come_home() -> bool:
            await bring_home(archive)
            return not [path for path in away.rglob("*") if path.is_file() and ".tmp" not in path.parts]

        async with asyncio.timeout(DEADLINE):
            while not await come_home():
                await asyncio.sleep(0.2)
        await mover.catch_up()
        marks = await spine.marks(mover)
        mover.ledger.close()
        await driver.close()
        await archive.close()
        return marks

    assert asyncio.run(go()) == [
        "1 at home",
        "2 away",
        "3 away, moved only after it came home",
        "4 at home again",
    ]
