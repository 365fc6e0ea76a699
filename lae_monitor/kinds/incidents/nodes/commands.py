"""`lae-monitor fleet rotate|revoke|claim|unclaim`: whose FURLs are let in, and whose addresses are whose."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from lae_monitor.terminal.options import (
    EXIT_CONFIG,
    EXIT_FINDINGS,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    Invocation,
    common,
)

if TYPE_CHECKING:
    from lae_monitor.kinds.incidents.nodes.unclaimed import Unclaimed

KIND: Final = "incidents"
CLUSTER: Final = click.option(
    "--cluster", metavar="CLUSTER", help="The cluster it belongs to; default: fleet.name of the configuration."
)
_WHEN: Final = "a running gatherer sees it within five seconds"


@contextmanager
def ending(invocation: Invocation) -> Iterator[None]:
    """Acts as the account that owns the state folder; an error ends the command."""
    from lae_monitor.core.refusals import Refused
    from lae_monitor.terminal.owner import as_owner

    try:
        with as_owner(invocation.settings.state.path):
            yield
    except Refused as refused:
        if refused.code == "no_such_host":
            invocation.fail(
                refused.detail, EXIT_FINDINGS, following="lae-monitor fleet status, for those that have one"
            )
        if refused.code in {"bad_config", "bad_furl"}:
            invocation.fail(str(refused), EXIT_CONFIG, following="correct it, then lae-monitor check config")
        invocation.fail(str(refused), EXIT_USAGE)
    except sqlite3.Error as error:
        invocation.fail_for_ledger(error, f"the gatherer's connections cannot be read: {error}")
    except OSError as error:
        invocation.fail(
            f"{error.filename}: {error.strerror}",
            EXIT_UNAVAILABLE,
            following="run this as the account that owns the state folder",
        )


def _next(invocation: Invocation, text: str) -> None:
    if not invocation.as_json:
        click.echo(f"Next: {text}", err=True)


@click.command()
@click.argument("host", metavar="HOST")
@CLUSTER
@click.option(
    "--grace",
    default="1d",
    show_default=True,
    metavar="DURATION",
    help="How long the old FURL is let in; 0 ends it now.",
)
@click.option("--print-furl", is_flag=True, help="Print the new FURL itself: a secret.")
@common
def rotate(invocation: Invocation, host: str, cluster: str | None, grace: str, print_furl: bool) -> None:
    """Make a new FURL for a host, beside which the old one goes on being let in for a while. Nothing is restarted.

    \b
    lae-monitor fleet rotate node1 --print-furl
    lae-monitor fleet rotate node1 --grace 0
    """
    from lae_monitor.core.time import format_time, parse_duration, wall_clock
    from lae_monitor.net.furls.registry import Registry

    with ending(invocation):
        seconds = parse_duration(grace)
        made = Registry(invocation.settings, KIND).rotate(host, cluster, seconds)
    until = format_time(wall_clock() + seconds, digits=0) if seconds else None
    shown = {"furl": made.furl.reveal()} if print_furl else {}
    invocation.answer(
        {"cluster": made.cluster, "host": made.host, "path": str(made.path), "old_until": until, **shown},
        made.furl.reveal() if print_furl else str(made.path),
    )
    if not invocation.as_json:
        click.echo(f"The old FURL is let in until {until}." if until else "The old FURL is let in no more.", err=True)
    _next(
        invocation,
        f"on {made.host}, set log_gatherer.furl in section [node] of tahoe.cfg to the new FURL, and restart the node;"
        f" then lae-monitor fleet status --host {made.host}",
    )


@click.command()
@click.argument("host", metavar="HOST")
@CLUSTER
@common
def revoke(invocation: Invocation, host: str, cluster: str | None) -> None:
    """End every FURL of a host. Its nodes are shown out, and let in no more; what they reported stays.

    \b
    lae-monitor fleet revoke node1
    """
    from lae_monitor.net.furls.registry import Registry

    with ending(invocation):
        had = Registry(invocation.settings, KIND).revoke(host, cluster)
    invocation.answer(
        {"host": host, "revoked": had}, f"{host} is let in no more; {_WHEN}" if had else f"{host} has no FURL"
    )
    _next(invocation, f"lae-monitor fleet register incident --host {host}, when it is to have a new one")
    if not had:
        raise SystemExit(EXIT_FINDINGS)


@click.command()
@click.argument("address", metavar="[ADDRESS]", required=False)
@click.option("--host", metavar="HOST", help="Whose incidents those of ADDRESS are.")
@CLUSTER
@click.option("--list", "listed", is_flag=True, help="Show the addresses that nobody claimed.")
@common
def claim(invocation: Invocation, address: str | None, host: str | None, cluster: str | None, listed: bool) -> None:
    """What comes from an address by the unregistered FURL, and what came, belongs to a host from now on.

    \b
    lae-monitor fleet claim --list
    lae-monitor fleet claim 10.0.0.7 --host node7
    """
    if listed == (address is not None) or (host is None) == (not listed):
        invocation.fail(
            "name an ADDRESS and its --host, or ask for the --list of those that nobody claimed", EXIT_USAGE
        )
    if address is None or host is None:
        _list(invocation)
        return
    from lae_monitor.kinds.incidents.nodes.unclaimed import claim as claim_address

    with ending(invocation):
        named, place = claim_address(invocation.settings, address, host, cluster)
    invocation.answer(
        {"address": named, "cluster": place.cluster, "host": place.host},
        f"what comes from {named} is of {place.cluster}/{place.host}; {_WHEN}, and moves there what came before",
    )
    _next(invocation, f"lae-monitor fleet status --host {place.host}")


def _list(invocation: Invocation) -> None:
    from lae_monitor.core.time import format_time
    from lae_monitor.kinds.incidents.nodes.unclaimed import unclaimed

    with ending(invocation):
        found = unclaimed(invocation.settings)

    def as_json(one: Unclaimed) -> dict[str, Any]:
        heard = format_time(one.last_heard) if one.last_heard is not None else None
        return one._asdict() | {"last_heard": heard}

    rows = [as_json(one) for one in found]
    invocation.answer({"unclaimed": rows}, lambda: "\n".join(_table(rows)) if rows else "no address is unclaimed")
    if rows:
        _next(invocation, f"lae-monitor fleet claim {rows[0]['host']} --host HOST")


def _table(rows: list[dict[str, Any]]) -> list[str]:
    from lae_monitor.terminal.table import table, when

    names = ("host", "cluster", "incidents", "connections")
    heard = (when(row["last_heard"]) if row["last_heard"] else "never heard" for row in rows)
    return table((*names, "last heard"), ((*(row[name] for name in names), next(heard)) for row in rows))


@click.command()
@click.argument("address", metavar="ADDRESS")
@common
def unclaim(invocation: Invocation, address: str) -> None:
    """What comes from an address from now on is shown under the address again; what was moved stays where it is.

    \b
    lae-monitor fleet unclaim 10.0.0.7
    """
    from lae_monitor.kinds.incidents.nodes.unclaimed import unclaim as unclaim_address

    with ending(invocation):
        had = unclaim_address(invocation.settings, address)
    invocation.answer(
        {"address": address, "unclaimed": had}, f"{address} is claimed no more; {_WHEN}" if had else "nobody claimed it"
    )
    _next(invocation, "lae-monitor fleet claim --list")
    if not had:
        raise SystemExit(EXIT_FINDINGS)
