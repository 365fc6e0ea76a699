"""Runs the incident gatherer alone, as `lae-monitor gather incidents` does, for tests: driver.py CONFIG asyncio|uvloop LIMITS.

Twisted's reactor is installed once a process, so a test that needs a gatherer starts one of these. Prints a line once it
listens; ends at SIGTERM.
"""

import asyncio
import json
import logging
import resource
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

import uvloop

from lae_monitor.archive import Archive, Full, Journal
from lae_monitor.archive.kernel import Kernel
from lae_monitor.config import load
from lae_monitor.core.limits import Reserve
from lae_monitor.kinds import KINDS
from lae_monitor.kinds.context import Context
from lae_monitor.kinds.incidents import gather as gather_module
from lae_monitor.kinds.incidents.gather import gather
from lae_monitor.net import tubs
from lae_monitor.net.furls import door


class SlowKernel(Kernel):
    """Takes its time to give an incident its name, and says so."""

    def rename(self, source, target):
        if "/incident-" in target:
            print("storing", flush=True)
            time.sleep(1.5)
        super().rename(source, target)


class Refusing(Archive):
    """Takes nothing that nodes log while `refuses_logs` is set."""

    refuses_logs = False

    async def append(self, path, data, *, head=b""):
        if self.refuses_logs and "/logs/" in path:
            raise Full("as the test wants it")
        return await super().append(path, data, head=head)


def make_room(archive):
    archive.refuses_logs = False
    for root in archive.roots:
        root.files.reserve = Reserve(size=1)


def tell_hooks():
    """Has the gatherer print what its hooks are told."""

    class Telling(door.Door):
        def __init__(self, furls, gatherer, *rest):
            super().__init__(furls, gatherer, *rest)
            shared = gatherer.shared
            shared.on_stored.append(lambda place, span: print("stored", *place, span.path, span.end, flush=True))
            shared.on_stored.insert(0, lambda _place, _span: 1 / 0)
            self.on_connected.append(self.tell)
            self.finders.append(lambda swissnum: print("asked for", swissnum, flush=True))

        def tell(self, node):
            there = self.peers(*node.place)
            print("connected", *node.place, there == [node], node.remote.getRemoteTubID(), flush=True)
            raise ValueError("a hook that fails")

    gather_module.Door = Telling


async def main(config, limits):
    settings = load(config, KINDS)
    if limits.pop("hooks", False):
        tell_hooks()
    if most := limits.pop("descriptors", None):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    kernel = SlowKernel if limits.pop("slow", False) else Kernel
    full = limits.pop("full", False)  # the archive takes nothing until SIGUSR1
    archive = Refusing(
        settings.archive_roots, "gather-incidents", reserve=Reserve(size=1 << 60 if full else 1), kernel=kernel
    )
    archive.refuses_logs = limits.pop("refuses_logs", False)  # until SIGUSR1, too
    await archive.open()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, make_room, archive)
    tubs.start_reactor()
    for name, value in limits.items():
        module, _, constant = name.rpartition(".")
        found = import_module(f"lae_monitor.{module}")
        assert hasattr(found, constant)
        setattr(found, constant, value)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    try:
        await gather(
            Context(
                settings=settings,
                archive=archive,
                journal=Journal(archive),
                stop=stop,
                ready=lambda text: print(text, flush=True),
            )
        )
    finally:
        await archive.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    run = uvloop.run if sys.argv[2] == "uvloop" else asyncio.run
    run(main(Path(sys.argv[1]), json.loads(sys.argv[3])))
