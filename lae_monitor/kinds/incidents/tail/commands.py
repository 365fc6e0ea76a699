"""`lae-monitor fleet tail HOST`: what a host's nodes log, as they log it."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import click

from lae_monitor.kinds.incidents.nodes.commands import CLUSTER, ending
from lae_monitor.terminal.options import EXIT_TRY_AGAIN, EXIT_UNAVAILABLE, Invocation, common

if TYPE_CHECKING:
    from lae_monitor.core.secrets import Furl

_LEVELS: Final = ("NOISY", "OPERATIONAL", "UNUSUAL", "INFREQUENT", "CURIOUS", "WEIRD", "SCARY", "BAD")


@click.command()
@click.argument("host", metavar="HOST")
@CLUSTER
@click.option(
    "--catch-up", is_flag=True, help="Begin with what the nodes remember, a hundred events of each facility and level."
)
@click.option(
    "--level",
    type=click.Choice(_LEVELS, case_sensitive=False),
    default="NOISY",
    show_default=True,
    help="Show events from this level on.",
)
@click.option("--print-furl", is_flag=True, help="Print the FURL for flogtool tail instead: a secret.")
@common
def tail(invocation: Invocation, host: str, cluster: str | None, catch_up: bool, level: str, print_furl: bool) -> None:
    """Show what the nodes of a host log, as they log it, until Ctrl-C. Secrets are left out.

    It goes through the incident gatherer, to which nodes are connected. With --print-furl, flogtool tail can do the same
    from anywhere, and shows events as they are, with secrets.

    \b
    lae-monitor fleet tail node1 --catch-up --level WEIRD
    lae-monitor fleet tail node1 --print-furl
    """
    from lae_monitor.kinds.incidents.tail.tails import from_here, register_tail

    with ending(invocation):
        made = register_tail(invocation.settings, host, cluster)
        furl = from_here(invocation.settings, made.furl)
    if print_furl:
        command = f"flogtool tail {made.path}"
        invocation.answer(
            {
                "cluster": made.cluster,
                "host": made.host,
                "path": str(made.path),
                "furl": made.furl.reveal(),
                "command": command,
            },
            made.furl.reveal(),
        )
        if not invocation.as_json:
            click.echo(f"Next: {command}, or elsewhere flogtool tail with the FURL itself", err=True)
            click.echo(f"To end it: remove {made.path}; a running gatherer sees it at once", err=True)
        return
    _watch(invocation, furl, made.host, catch_up=catch_up, least=level.upper())


def _watch(invocation: Invocation, furl: Furl, host: str, *, catch_up: bool, least: str) -> None:
    import asyncio

    from lae_monitor.net import tubs
    from lae_monitor.net.tubs.client import Unreachable

    try:
        asyncio.run(_show(invocation, furl, host, catch_up=catch_up, least=least))
    except Unreachable as error:
        invocation.fail(
            f"no incident gatherer answers here: {error}",
            EXIT_UNAVAILABLE,
            following="start it: lae-monitor gather incidents, or its unit",
        )
    except tubs.RemoteError as error:
        invocation.fail(str(error), EXIT_TRY_AGAIN, following="try again in a moment")
    except (tubs.Disconnected, TimeoutError) as error:
        invocation.fail(f"the tail ended: {error}", EXIT_TRY_AGAIN, following="the same command again")


async def _show(invocation: Invocation, furl: Furl, host: str, *, catch_up: bool, least: str) -> None:
    import asyncio

    from lae_monitor.kinds.incidents.classify.facts import LEVELS
    from lae_monitor.kinds.incidents.wire.event import level_of
    from lae_monitor.net import tubs

    tubs.start_reactor()
    from lae_monitor.kinds.incidents.tail.client import tail as events_of

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def begin(versions: dict[str, Any]) -> None:
        if not invocation.as_json:
            click.echo(f"{host}: {_shown(versions)}; Ctrl-C ends", err=True)

    async with aclosing(events_of(furl, stop, catch_up=catch_up, on_versions=begin)) as events:
        async for event in events:
            if level_of(event) >= LEVELS[least] or event.get("facility") == "lae-monitor":
                _echo(invocation, event)


def _shown(versions: Mapping[str, Any]) -> str:
    from lae_monitor.kinds.incidents.wire.render import presentable

    own = {"lae-monitor", "host"}
    text = ", ".join(f"{name} {value}" for name, value in sorted(versions.items()) if name not in own)
    return presentable(text, 400)


def _echo(invocation: Invocation, event: Mapping[str, Any]) -> None:
    from lae_monitor.kinds.incidents.wire import event as events
    from lae_monitor.kinds.incidents.wire.render import message, plain_text, presentable

    failure = events.failure(event)
    if not invocation.as_json:
        click.echo("\n".join([events.line(event), *(f"    {line}" for line in failure.splitlines())]))
        return
    line = {
        "time": events.when(event),
        "level": events.level_name(event),
        "facility": events.facility(event),
        "message": message(event),
        "failure": failure,
        "incarnation": presentable(events.run_of(event), 100),
        "num": presentable(plain_text(event.get("num")), 40),
        "umid": presentable(plain_text(event.get("umid") or ""), 100),
    }
    invocation.answer(line, "")
