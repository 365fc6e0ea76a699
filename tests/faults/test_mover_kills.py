"""kill -9 of the mover at random moments, while its files grow: everything acknowledged is in the store, once.

The oracle is this process: it appends to the archive itself and knows what was acknowledged. LAE_KILLS sets how often.
"""

import asyncio
import itertools
import os
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from lae_monitor.archive import Archive, Journal, Reserve

sys.path.insert(0, str(Path(__file__).parent.parent / "mover"))
import spine

KILLS = int(os.environ.get("LAE_KILLS_MOVER", os.environ.get("LAE_KILLS", "5")))
DRIVER = Path(__file__).parent / "mover_driver.py"


@pytest.mark.kills
@pytest.mark.timeout(120 + 20 * KILLS)
def test_nothing_is_lost_and_nothing_doubled_when_the_mover_is_killed(tmp_path):
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    acknowledged: list[str] = []
    serial = itertools.count()

    async def write_on(journal: Journal, stop: asyncio.Event) -> None:
        while not stop.is_set():
            for _ in range(rng.randrange(1, 30)):
                title = f"{next(serial):08}"
                await journal.write("mark", title=title, host=f"h{rng.randrange(4)}")
                acknowledged.append(title)
            await asyncio.sleep(rng.random() * 0.05)

    async def kill_often() -> None:
        archive = Archive([tmp_path / "archive"], "oracle", reserve=Reserve(), hints=tmp_path / "mover.sock")
        await archive.open()
        others = Archive([tmp_path / "archive"], "oracle-2", reserve=Reserve(), hints=tmp_path / "mover.sock")
        await others.open()
        stop = asyncio.Event()
        writers = [asyncio.create_task(write_on(Journal(each), stop)) for each in (archive, others)]
        for _ in range(KILLS):
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(DRIVER), str(tmp_path), stdout=asyncio.subprocess.PIPE
            )
            assert (await asyncio.wait_for(process.stdout.readline(), 120)).strip() == b"ready"
            await asyncio.sleep(rng.random() * 0.6)  # the moment of the kill is what is tried here
            process.kill()
            await process.wait()
        stop.set()
        await asyncio.gather(*writers)
        await archive.close()
        await others.close()

    async def look() -> list[str]:
        async with spine.opened(tmp_path) as mover:
            await mover.catch_up()
            assert not mover.ledger.quarantined()
            return await spine.marks(mover)

    asyncio.run(kill_often())
    assert len(acknowledged) > KILLS
    shown = Counter(asyncio.run(look()))
    assert set(acknowledged) - set(shown) == set()
    assert {title: times for title, times in shown.items() if times > 1} == {}
