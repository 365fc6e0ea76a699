"""A mover in a process of its own, to be killed: `python mover_driver.py FOLDER`. Says `ready` when it moves."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "mover"))

import spine


async def main() -> None:
    async with spine.opened(Path(sys.argv[1])) as mover:
        print("ready", flush=True)
        await mover.run(asyncio.Event())


asyncio.run(main())
