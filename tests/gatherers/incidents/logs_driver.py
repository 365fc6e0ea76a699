"""The driver of the gatherer, for tests of what nodes log: logs_driver.py CONFIG asyncio|uvloop LIMITS.

`archive.refuses` among the limits: until SIGUSR1, nothing is appended to logs.
"""

import asyncio
import json
import logging
import signal
import sys
from importlib import import_module
from pathlib import Path

import uvloop

from lae_monitor.archive import Archive, Full, Journal
from lae_monitor.config import load
from lae_monitor.core.limits import Reserve
from lae_monitor.gatherers import sections
from lae_monitor.gatherers.context import Context
from lae_monitor.gatherers.incidents.gather import gather
from lae_monitor.net import tubs


class Refusing(Archive):
    """Takes no logs while `refuses` is set."""

    refuses = False

    async def append(self, path, data, *, head=b""):
        if self.refuses and "/logs/" in path:
            raise Full("as the test wants it")
        return await super().append(path, data, head=head)


async def main(config, limits):
    settings = load(config, sections())
    archive = Refusing(settings.archive_roots, "gather-incidents", reserve=Reserve(size=1))
    archive.refuses = limits.pop("archive.refuses", False)
    await archive.open()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, setattr, archive, "refuses", False)
    tubs.start_reactor()
    for name, value in limits.items():
        module, _, constant = name.rpartition(".")
        found = import_module(f"lae_monitor.{module}")
        assert hasattr(found, constant)
        setattr(found, constant, value)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    context = Context(
        settings=settings, archive=archive, journal=Journal(archive), stop=stop,
        ready=lambda text: print(text, flush=True),
    )  # fmt: skip
    try:
        await gather(context)
    finally:
        await archive.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    run = uvloop.run if sys.argv[2] == "uvloop" else asyncio.run
    run(main(Path(sys.argv[1]), json.loads(sys.argv[3])))
