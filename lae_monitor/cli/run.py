"""`lae-monitor run`, `gather` and `serve`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lae_monitor.core.kind import load
from lae_monitor.terminal.options import EXIT_TRY_AGAIN, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, KindName, common

if TYPE_CHECKING:
    from lae_monitor.config import Settings


@click.command(context_settings={"max_content_width": 120})
@click.argument("kinds", nargs=-1, type=KindName("serve"), metavar="[KIND]...")
@common
def run(invocation: Invocation, kinds: tuple[str, ...]) -> None:
    """Run the whole monitor under one supervisor, until Ctrl-C.

    Without KIND, all gatherers with what belongs to them, such as a crashmover that has destinations, and `serve`; else only
    those named. What ends is
    started again; the log of all comes out as one stream.
    """
    from lae_monitor.service.supervisor import run_all

    def ready(said: dict[str, str]) -> None:
        click.echo("lae-monitor is ready:")
        for name, text in said.items():
            click.echo(f"  {name:<18} {text}")
        following = ("lae-monitor host list", *invocation.kinds.first[:-1], "Ctrl-C stops it")
        click.echo(f"Next: {'; '.join(following)}")
        sys.stdout.flush()

    names = tuple(dict.fromkeys(kinds)) or (*invocation.kinds.names, "serve")
    companions = companions_of(invocation.settings) if not kinds else {}
    sys.exit(_guarded(invocation, lambda: run_all(invocation.settings, names, invocation.config, ready, companions)))


def companions_of(settings: Settings) -> dict[str, list[str]]:
    """The processes beside the gatherers, and their command lines."""
    found: dict[str, list[str]] = {}
    for kind in settings.kinds:
        found |= load(kind.companions)(settings) if kind.companions else {}
    return found


@click.command()
@click.argument("kind", type=KindName(), metavar="KIND")
@click.option(
    "--stock",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Incidents: take the place of flogtool's gatherer in DIR, with its FURL; nodes go on as they are.",
)
@common
def gather(invocation: Invocation, kind: str, stock: Path | None) -> None:
    """Run the gatherer of one KIND, until it is stopped."""
    from lae_monitor.service.gather import gather as run_gatherer

    if stock is None:
        sys.exit(_guarded(invocation, lambda: run_gatherer(kind, invocation.settings)))
    found = invocation.kinds.named(kind)
    if found is None or found.takeover is None or not found.takeover.gather:
        able = " or ".join(kind.name for kind in invocation.kinds if kind.takeover and kind.takeover.gather)
        invocation.fail(f"--stock is for {able}", EXIT_USAGE, following=f"lae-monitor gather {able} --stock DIR")
    take_place = load(found.takeover.gather)
    sys.exit(_guarded(invocation, lambda: take_place(invocation, stock, run_gatherer)))


@click.command()
@common
def serve(invocation: Invocation) -> None:
    """Run mover, store, pages and API, until it is stopped."""
    from lae_monitor.service.serve import serve as run_serve

    sys.exit(_guarded(invocation, lambda: run_serve(invocation.settings)))


def _guarded(invocation: Invocation, start: Callable[[], int]) -> int:
    import sqlite3

    from lae_monitor.core.refusals import Refused
    from lae_monitor.process.running import AlreadyRunning

    try:
        return start()
    except AlreadyRunning as error:
        invocation.fail(str(error), EXIT_TRY_AGAIN, following="stop it first, or give this one another state.path")
    except (OSError, Refused, sqlite3.Error) as error:
        invocation.fail(str(error), EXIT_UNAVAILABLE, following="lae-monitor check config")
