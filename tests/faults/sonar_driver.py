"""Starts a gatherer of samples for each line on standard input, and prints its process id and URL.

Run as a program by the test that kills them. Each is forked from here, because an interpreter that has to import everything
anew takes longer than the life it is given.
"""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import uvloop

from lae_monitor.archive import Archive, Journal, Reserve
from lae_monitor.config import Settings
from lae_monitor.config.settings import State
from lae_monitor.config.values import Listen
from lae_monitor.kinds.context import Context
from lae_monitor.kinds.sonar.config import Settings as SonarSettings
from lae_monitor.kinds.sonar.gather import gather


async def live(folder: Path) -> None:
    own = SonarSettings(listen=Listen("127.0.0.1:0"))
    settings = Settings(state=State(path=folder), gatherers={"sonar": own})
    archive = await Archive(settings.archive_roots, "gather-sonar", reserve=Reserve(size=0)).open()

    def ready(text: str) -> None:
        print(os.getpid(), re.search(r"http://[^/]+", text)[0], flush=True)

    await gather(Context(settings=settings, archive=archive, journal=Journal(archive), ready=ready))


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            uvloop.run(live(Path(line.strip())))


if __name__ == "__main__":
    assert asyncio  # imported before the fork
    main()
