"""POST /submit: a crash report is durable before its sender reads `CrashID=`."""

import socket
from contextlib import closing
from typing import Final

from lae_monitor import __version__
from lae_monitor.config import ConfigError
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.context import Context
from lae_monitor.kinds.crashes.check import fatal, rules_of, tokens_of
from lae_monitor.kinds.crashes.config import Settings
from lae_monitor.kinds.crashes.intake import replies
from lae_monitor.kinds.crashes.intake.admission import Admission
from lae_monitor.kinds.crashes.intake.collector import Collector
from lae_monitor.kinds.crashes.intake.metrics import Measures
from lae_monitor.kinds.crashes.intake.replies import Style
from lae_monitor.net.http import HttpLimits, Request, Route, Router, operations, reply, serve
from lae_monitor.net.statsd import Statsd, tag

ADDRESS: Final = "/submit"
ELECTRON: Final = "/post"  # what mini-breakpad-server listens on
SENTRY: Final = "/api/"  # and then <project>/minidump/, with a token in the query


async def gather(context: Context) -> None:
    """Serves until `context.stop` is set; then finishes what has begun.

    Raises:
        ConfigError: the settings do not allow to begin.
        OSError: the address cannot be listened on.
    """
    settings: Settings = context.settings.gatherers["crashes"]
    collector = make_collector(context)
    with closing(collector.measures):
        async with collector.receipts:
            await serve(
                application(collector, context, settings),
                settings.listen.host,
                settings.listen.port,
                stop=context.stop,
                ready=lambda url: context.ready(f"Crash reports: POST {url}{ADDRESS}"),
                limits=HttpLimits(
                    head=settings.head_timeout,
                    idle=settings.idle_timeout,
                    body=settings.total_timeout,
                    min_rate=settings.min_rate,
                ),
                explain=lambda code: (replies.refused(Refused(code)), replies.PLAIN),
                trusted_proxies=settings.trusted_proxies,
            )


def make_collector(context: Context) -> Collector:
    """What takes reports, whatever hands them over.

    Raises:
        ConfigError
    """
    if problems := list(fatal(context.settings)):
        raise ConfigError(problems)
    settings: Settings = context.settings.gatherers["crashes"]
    statsd = Statsd(settings.statsd, settings.statsd_prefix, (tag("host", socket.gethostname()),))
    admission = Admission(
        settings, tokens_of(context.settings, context.clock), rules_of(context.settings, context.clock), context.clock
    )
    return Collector(context, settings, admission, Measures(statsd))


def application(collector: Collector, context: Context, settings: Settings) -> Router:
    """The addresses of the collector."""

    async def submit(request: Request) -> None:
        await collector.submit(request, Style.LINES)

    async def post(request: Request) -> None:
        await collector.submit(request, Style.ID)

    async def broken(request: Request) -> None:
        collector.measures.count("collector.health.broken.count")
        await reply(request.send, 500, "internal_error\n")

    return Router(
        [
            Route(path=ADDRESS, methods={"POST": submit}),
            Route(path=ELECTRON, methods={"POST": post}),
            Route(path=SENTRY, methods={"POST": post}, prefix=True),
            Route(path="/__broken__", methods={"GET": broken}),
            *operations(context.archive, __version__, collector.measures.health, access=context.access),
        ],
        trusted_proxies=settings.trusted_proxies,
        explain=replies.elsewhere,
    )
