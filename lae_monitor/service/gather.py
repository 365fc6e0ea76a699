"""`lae-monitor gather KIND`: one gatherer, alone in its process."""

import asyncio
import logging

from lae_monitor.archive import Journal
from lae_monitor.config import Settings
from lae_monitor.kinds.context import Context
from lae_monitor.process.logs import set_up_log
from lae_monitor.process.running import log_settings, notify, only_one, opened_archive, run_until_stopped

log = logging.getLogger(__name__)


def gather(kind: str, settings: Settings) -> int:
    """Runs the gatherer of `kind` until it is stopped.

    Raises:
        AlreadyRunning
    """
    process = f"gather-{kind}"
    found = settings.kinds.named(kind)
    assert found is not None
    set_up_log(process, settings.log.format)
    log_settings(settings, gatherer=kind)

    def ready(text: str) -> None:
        log.info("%s", text)
        notify("READY=1", f"STATUS={text}")

    async def main(stop: asyncio.Event) -> None:
        async with opened_archive(settings, process) as archive:
            context = Context(settings=settings, archive=archive, journal=Journal(archive), stop=stop, ready=ready)
            await found.part("gather:gather")(context)
        log.info("stopped")

    with only_one(settings.state.path, process):
        return run_until_stopped(main)
