"""Crash gatherers to be killed: `python crash_gatherer_driver.py FOLDER`.

For each line on standard input one gatherer is forked, before which nothing of it has begun but the imports: they would
cost more than all the rest. Says `pid N`, `port N` and, when it is gone, `ended STATUS`.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from lae_monitor.archive import Archive, Journal, Reserve
from lae_monitor.config import Listen
from lae_monitor.config.settings import Settings as AllSettings
from lae_monitor.kinds.context import Context
from lae_monitor.kinds.crashes.config import Settings
from lae_monitor.kinds.crashes.gather import gather


def ready(text: str) -> None:
    print("port", urlsplit(text.rpartition(" ")[2]).port, flush=True)


async def main() -> None:
    archive = Archive([Path(sys.argv[1])], "gather-crashes", reserve=Reserve(size=0))
    await archive.open()
    settings = AllSettings(gatherers={"crashes": Settings(listen=Listen("127.0.0.1:0"))})
    context = Context(settings=settings, archive=archive, journal=Journal(archive), ready=ready)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, context.stop.set)
    try:
        await gather(context)
    finally:
        await archive.close()


for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        uvloop.run(main())
        os._exit(0)
    print("pid", child, flush=True)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
