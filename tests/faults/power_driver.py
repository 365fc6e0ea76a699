"""A mover whose store and ledger lie on a device that will lose its power: `python power_driver.py FOLDER`.

Checks the store as `serve` does at its start, says what titles it has then, and goes on moving and merging until it is killed.
"""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "mover"))

import spine

from lae_monitor.archive import Journal
from lae_monitor.mover.checking import Checks
from lae_monitor.store import schema, store


async def merge(mover) -> None:
    for table in ("events", "moves"):
        await mover.store.driver.command(f"OPTIMIZE TABLE lae.{table}")
    if "LAE_UNSYNCED" in os.environ:  # as the engine does half a minute later with old_parts_lifetime = 0
        for row in await mover.store.query("SELECT path FROM system.parts WHERE database = 'lae' AND NOT active"):
            shutil.rmtree(row["path"], ignore_errors=True)


async def main(folder: Path) -> None:
    async with spine.opened(folder) as mover:
        await mover.catch_up()
        if "LAE_UNCHECKED" not in os.environ:
            await Checks(mover, Journal(mover.archive)).check()
            await mover.catch_up()
        await merge(mover)
        print(json.dumps([await spine.marks(mover), mover.state.read_again, mover.state.broken_parts]), flush=True)
        while True:
            await mover.step()
            await merge(mover)


if "LAE_UNSYNCED" in os.environ:  # merges as chDB would have them
    schema.DURABLE = store.DURABLE = (
        *schema.DURABLE[:2],
        "old_parts_lifetime = 0",
        "min_rows_to_fsync_after_merge = 0",
    )
asyncio.run(main(Path(sys.argv[1])))
