"""`lae-monitor crashmover`: hands stored crashes on, until it is stopped or until everything was tried."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lae_monitor import __version__
from lae_monitor.archive import Archive
from lae_monitor.config import ConfigError, Listen, Settings
from lae_monitor.core.time import wall_clock
from lae_monitor.kinds.crashes.crashmover import config, routes
from lae_monitor.kinds.crashes.crashmover.check import check
from lae_monitor.kinds.crashes.crashmover.lane import Telling
from lae_monitor.kinds.crashes.crashmover.ledger import FILE, Ledger
from lae_monitor.kinds.crashes.crashmover.mover import Mover, Outcome
from lae_monitor.kinds.crashes.crashmover.posting import Publisher
from lae_monitor.kinds.crashes.crashmover.source import Source
from lae_monitor.net.http import Access, Router, operations, serve
from lae_monitor.process.logs import set_up_log
from lae_monitor.process.running import log_settings, notify, only_one, opened_archive, run_until_stopped
from lae_monitor.store.aside import notices

log = logging.getLogger(__name__)

PROCESS = "crashmover"
SECTION = "crashes.crashmover"


def own_settings(settings: Settings) -> config.Settings:
    """[gatherers.crashes.crashmover], when it can be begun with.

    Raises:
        ConfigError
    """
    if problems := list(check(settings)):
        raise ConfigError(problems)
    own: config.Settings = settings.gatherers[SECTION]
    if not own.destinations:
        raise ConfigError(
            [
                "gatherers.crashes.crashmover.destinations: there are none, so crashes have nowhere to go; "
                "lae-monitor config explain gatherers.crashes.crashmover.destinations tells which there can be"
            ]
        )
    return own


def run_forever(settings: Settings) -> int:
    """Runs the crashmover until it is stopped.

    Raises:
        AlreadyRunning, ConfigError
    """
    own = own_settings(settings)
    set_up_log(PROCESS, settings.log.format)
    log_settings(settings, gatherer=SECTION)

    async def main(stop: asyncio.Event) -> None:
        async with _opened(settings, own) as (archive, mover):
            serving = asyncio.create_task(_serve_metrics(settings, archive, stop))
            log.info("crashes go to %s", ", ".join(destination.title for destination in own.destinations))
            notify("READY=1", "STATUS=moving crashes")
            try:
                await mover.run_forever(stop)
            finally:
                stop.set()
                await serving
        log.info("stopped")

    with only_one(settings.state.path, PROCESS):
        return run_until_stopped(main)


def run_once(settings: Settings, count: int | None) -> Outcome:
    """Tries each crash that waits once: all, or `count` of them.

    Raises:
        AlreadyRunning, ConfigError
    """
    own = own_settings(settings)
    set_up_log(PROCESS, settings.log.format)
    outcome = Outcome()

    async def main(stop: asyncio.Event) -> None:
        nonlocal outcome
        async with _opened(settings, own) as (_, mover):
            outcome = mover.outcome
            await mover.run_once(stop, count)

    with only_one(settings.state.path, PROCESS):
        run_until_stopped(main)
    return outcome


@asynccontextmanager
async def _opened(settings: Settings, own: config.Settings) -> AsyncIterator[tuple[Archive, Mover]]:
    try:
        destinations = routes.routes_of(own, wall_clock)
    except routes.NotMade as error:
        raise ConfigError([f"gatherers.crashes.crashmover.{error}"]) from error
    publisher = Publisher()
    try:
        # The archive first: a state folder that has a ledger, and no identity, is that of an earlier release.
        async with opened_archive(settings, PROCESS) as archive:
            with Ledger(settings.state.path / FILE) as ledger:
                source = Source(archive, ledger, destinations, wall_clock)
                telling = Telling(own, ledger, publisher, wall_clock)
                yield archive, Mover(own, source, ledger, destinations, telling, wall_clock)
    finally:
        routes.close(destinations)
        publisher.close()


async def _serve_metrics(settings: Settings, archive: Archive, stop: asyncio.Event) -> None:
    """`/metrics` and the health addresses, where they are wanted."""
    own = own_settings(settings)
    if not own.metrics_listen:
        return
    listen = Listen.parse(own.metrics_listen)
    try:
        await serve(
            Router(operations(archive, __version__, warnings=notices, access=Access(settings.credentials))),
            listen.host,
            listen.port,
            stop=stop,
            ready=lambda url: log.info("figures: %s/metrics", url),
        )
    except OSError as error:
        log.error("gatherers.crashes.crashmover.metrics_listen: %s", error)  # noqa: TRY400 - the address is all there is to know
