"""Crashmovers to be killed: `python crashmover_driver.py FOLDER`.

For each line on standard input one is forked, before which nothing of it has begun but the imports. Says `pid N`, and
`ended STATUS` when it is gone.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import uvloop

from lae_monitor.archive import Archive, Reserve
from lae_monitor.kinds.crashes.crashmover import config, routes
from lae_monitor.kinds.crashes.crashmover.lane import Telling
from lae_monitor.kinds.crashes.crashmover.ledger import Ledger
from lae_monitor.kinds.crashes.crashmover.mover import Mover
from lae_monitor.kinds.crashes.crashmover.posting import Publisher
from lae_monitor.kinds.crashes.crashmover.source import Source

FOLDER = Path(sys.argv[1])
SETTINGS = config.Settings(
    destinations=[
        config.Antenna(fs_root=FOLDER / "antenna"),
        config.Socorro(fs_root=FOLDER / "legacy"),
        config.Socorro(name="new", style="new", fs_root=FOLDER / "new"),
        config.Tar(folder=FOLDER / "tar"),
        config.Tar(name="parts", folder=FOLDER / "parts", per=7),
    ],
    interval=0.02,
)


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    archive = await Archive([FOLDER / "archive"], "crashmover", reserve=Reserve(size=0)).open()
    made = routes.routes_of(SETTINGS, time.time)
    with Ledger(FOLDER / "crashmover.db") as ledger:
        source = Source(archive, ledger, made, time.time)
        telling = Telling(SETTINGS, ledger, Publisher(), time.time)
        await Mover(SETTINGS, source, ledger, made, telling, time.time).run_forever(stop)
    await archive.close()


for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        uvloop.run(main())
        os._exit(0)
    print("pid", child, flush=True)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
