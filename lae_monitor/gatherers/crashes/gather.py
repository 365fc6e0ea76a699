"""POST /submit: a crash report is durable before its sender reads `CrashID=`."""

import asyncio
from typing import Final

from prometheus_client import Counter, Gauge

from lae_monitor import __version__
from lae_monitor.config import ConfigError
from lae_monitor.core.names import HostName
from lae_monitor.core.refusals import Refused
from lae_monitor.gatherers.context import Context
from lae_monitor.gatherers.crashes.check import fatal, known_hosts
from lae_monitor.gatherers.crashes.config import Settings
from lae_monitor.gatherers.crashes.intake import Intake
from lae_monitor.gatherers.crashes.receipts import Receipts
from lae_monitor.gatherers.crashes.spool import Budget, Spool
from lae_monitor.net.http import HttpLimits, Request, Route, Router, operations, reply, serve
from lae_monitor.net.http_router import RETRY_AFTER

ADDRESS: Final = "/submit"

ACCEPTED: Final = Counter("lae_crashes_accepted_total", "Crash reports that are durable")
REFUSED: Final = Counter("lae_crashes_refused_total", "Crash reports that were refused, by reason code", ["reason"])
BYTES: Final = Counter("lae_crashes_received_bytes_total", "Bytes of crash reports as they came")
IN_PROGRESS: Final = Gauge("lae_crashes_in_progress", "Uploads that are coming in")

LOCAL: Final = HostName("localhost")  # who comes by a Unix socket


async def gather(context: Context) -> None:
    """Serves until `context.stop` is set; then finishes what has begun.

    Raises:
        ConfigError: the settings do not allow to begin.
        OSError: the address cannot be listened on.
    """
    if problems := list(fatal(context.settings)):
        raise ConfigError(problems)
    settings: Settings = context.settings.gatherers["crashes"]
    collector = Collector(context, settings)
    writing = asyncio.create_task(collector.receipts.keep_writing(), name="crash receipts")
    try:
        await serve(
            collector.app,
            settings.listen.host,
            settings.listen.port,
            stop=context.stop,
            ready=lambda url: context.ready(f"Crash reports: POST {url}{ADDRESS}"),
            limits=HttpLimits(head=settings.head_timeout, idle=settings.idle_timeout, body=settings.total_timeout),
        )
    finally:
        collector.receipts.close()
        await writing


class Collector:
    """Answers POST /submit."""

    def __init__(self, context: Context, settings: Settings) -> None:
        self._context = context
        self._settings = settings
        self._hosts = known_hosts(context.settings.fleet.inventory)
        self._budget = Budget()
        self.receipts = Receipts(context.journal, context.cluster, context.clock)
        self.app = Router(
            [
                Route(path=ADDRESS, methods={"POST": self.submit}),
                *operations(context.archive, __version__),
            ],
            trusted_proxies=settings.trusted_proxies,
        )

    async def submit(self, request: Request) -> None:
        """Replies as the Socorro family does: `CrashID=bp-<id>` once it is durable, else `Discarded=<code>`."""
        peer = request.peer
        host = self._hosts.get(peer) or (HostName.from_address(peer) if peer else LOCAL)
        with IN_PROGRESS.track_inprogress():
            try:
                async with Spool(self._context.archive, self._budget, peer) as spool:
                    intake = Intake(request, spool, self._context.clock)
                    accepted = await intake.take(self._settings, host, self._context.cluster)
            except Refused as refused:
                REFUSED.labels(refused.code).inc()
                self.receipts.refused(refused, peer=peer, host=host, size=request.received)
                retry = [("retry-after", str(RETRY_AFTER))] if refused.status == 503 else []
                await reply(request.send, refused.status, f"Discarded={refused.code}", headers=retry)
                return
        ACCEPTED.inc()
        BYTES.inc(request.received)
        self.receipts.accepted(accepted, peer=peer, host=host, size=request.received)
        await reply(request.send, 200, f"CrashID=bp-{accepted.crash_id}\n")
