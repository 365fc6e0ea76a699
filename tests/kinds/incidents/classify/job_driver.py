"""Runs the classifying job alone, as the incident gatherer does: job_driver.py CONFIG. Ends at SIGTERM.

A line CLUSTER HOST NAME on its input stores the file NAME.flog.bz2 that lies beside the configuration, and tells the job.
"""

import asyncio
import logging
import signal
import sys
from pathlib import Path

from lae_monitor.archive import Archive, Journal
from lae_monitor.config import load
from lae_monitor.core.limits import Reserve
from lae_monitor.core.names import Place
from lae_monitor.kinds import KINDS
from lae_monitor.kinds.context import Context
from lae_monitor.kinds.incidents.classify.job import Classifying
from lae_monitor.kinds.incidents.stored import path_of


async def take(reader, folder, archive, job):
    while line := await reader.readline():
        cluster, host, name = line.decode().split()
        place = Place(cluster, host)
        span = await archive.store(path_of(place, name), [(folder / f"{name}.flog.bz2").read_bytes()])
        job.stored(place, span)


async def main(config):
    settings = load(config, KINDS, {})
    archive = await Archive(settings.archive_roots, "gather-incidents", reserve=Reserve(size=1)).open()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    job = Classifying(Context(settings=settings, archive=archive, journal=Journal(archive), stop=stop))
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks = [asyncio.create_task(job.run()), asyncio.create_task(take(reader, config.parent, archive, job))]
    print("running", flush=True)
    await stop.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await job.stop()
    await archive.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    if sys.argv[2] == "uvloop":
        import uvloop

        uvloop.run(main(Path(sys.argv[1])))
    else:
        asyncio.run(main(Path(sys.argv[1])))
