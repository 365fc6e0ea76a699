"""`lae-monitor fleet rotate|revoke|claim|unclaim`: the FURLs of hosts, and the hosts of addresses."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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
    from lae_monitor.config import Settings

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
    help="How long the old FURL stays valid; 0 ends it now.",
)
@click.option("--print-furl", is_flag=True, help="Print the new FURL itself: a secret.")
@common
def rotate(invocation: Invocation, host: str, cluster: str | None, grace: str, print_furl: bool) -> None:
    """Make a new FURL for a host. The old one stays valid for a while. Nothing is restarted.

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
        click.echo(f"The old FURL is valid until {until}." if until else "The old FURL is no longer valid.", err=True)
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
    """Revoke every FURL of a host. Its nodes are disconnected, and cannot connect again. Their reports stay.

    \b
    lae-monitor fleet revoke node1
    """
    from lae_monitor.net.furls.registry import Registry

    with ending(invocation):
        had = Registry(invocation.settings, KIND).revoke(host, cluster)
    invocation.answer(
        {"host": host, "revoked": had}, f"{host} cannot connect any more; {_WHEN}" if had else f"{host} has no FURL"
    )
    _next(invocation, f"lae-monitor fleet register incident --host {host}, when it is to have a new one")
    if not had:
        raise SystemExit(EXIT_FINDINGS)


@click.command()
@click.argument("address", metavar="[ADDRESS]", required=False)
@click.option("--host", metavar="HOST", help="The host that the incidents from ADDRESS belong to.")
@CLUSTER
@click.option("--list", "listed", is_flag=True, help="Show the addresses that are not claimed.")
@common
def claim(invocation: Invocation, address: str | None, host: str | None, cluster: str | None, listed: bool) -> None:
    """Say that incidents from an address by the unregistered FURL, old and new, belong to a host.

    \b
    lae-monitor fleet claim --list
    lae-monitor fleet claim 10.0.0.7 --host node7
    """
    if listed == (address is not None) or (host is None) == (not listed):
        invocation.fail("name an ADDRESS and its --host, or ask for the --list of unclaimed addresses", EXIT_USAGE)
    if address is None or host is None:
        _list(invocation)
        return
    from lae_monitor.net.furls.registry import Registry

    with ending(invocation):
        named, place = Registry(invocation.settings, KIND).claim(address, host, cluster)
    invocation.answer(
        {"address": named, "cluster": place.cluster, "host": place.host},
        f"incidents from {named} belong to {place.cluster}/{place.host}; {_WHEN}, and moves older ones there",
    )
    _next(invocation, f"lae-monitor fleet status --host {place.host}")


class Unclaimed(NamedTuple):
    """A host that is named by its address: how many incidents the archive has of it, and its last contact, if any."""

    cluster: str
    host: str
    incidents: int
    last_heard: float | None
    connections: int


def _list(invocation: Invocation) -> None:
    from lae_monitor.core.time import format_time

    with ending(invocation):
        hosts = _unclaimed(invocation.settings)

    def as_json(host: Unclaimed) -> dict[str, Any]:
        contact = format_time(host.last_heard) if host.last_heard is not None else None
        return host._asdict() | {"last_heard": contact}

    rows = [as_json(host) for host in hosts]
    invocation.answer({"unclaimed": rows}, lambda: "\n".join(_table(rows)) if rows else "no address is unclaimed")
    if rows:
        _next(invocation, f"lae-monitor fleet claim {rows[0]['host']} --host HOST")


def _unclaimed(settings: Settings) -> list[Unclaimed]:
    """The unclaimed addresses with a contact or an incident.

    Raises:
        sqlite3.Error, OSError: the gatherer's database, the credentials or the archive cannot be read.
    """
    from lae_monitor.core.names import Place
    from lae_monitor.kinds.incidents.read import SUFFIX
    from lae_monitor.kinds.incidents.stored import folder
    from lae_monitor.net.furls.claims import Claims, is_address
    from lae_monitor.net.furls.status import fleet_status

    cluster = settings.fleet.name
    status = {host.host: host for host in fleet_status(settings, KIND).hosts if host.cluster == cluster}
    stored = {entry.name for entry in _entries(settings, f"incidents/{cluster}/incidents") if entry.is_dir()}
    hosts = {name for name in stored if is_address(name)} | {name for name, host in status.items() if host.unclaimed}
    hosts -= {name for name, host in status.items() if host.registered}
    hosts -= {str(address) for address in Claims(settings.credentials / KIND).all()}
    unclaimed = []
    for name in sorted(hosts):
        files = _entries(settings, folder(Place(cluster, name)))
        count = sum(entry.name.endswith(SUFFIX) for entry in files)
        known = status.get(name)
        unclaimed.append(
            Unclaimed(cluster, name, count, known.last_heard if known else None, known.connections if known else 0)
        )
    return unclaimed


def _entries(settings: Settings, below: str) -> Iterator[os.DirEntry[str]]:
    for root in settings.archive_roots:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(f"{root}/{below}") as entries:
            yield from list(entries)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    from lae_monitor.terminal.table import table, when

    names = ("host", "cluster", "incidents", "connections")
    heard = (when(row["last_heard"]) if row["last_heard"] else "never heard" for row in rows)
    return table((*names, "last heard"), ((*(row[name] for name in names), next(heard)) for row in rows))


@click.command()
@click.argument("address", metavar="ADDRESS")
@common
def unclaim(invocation: Invocation, address: str) -> None:
    """Show new incidents from an address under the address again. Incidents that were moved stay where they are.

    \b
    lae-monitor fleet unclaim 10.0.0.7
    """
    from lae_monitor.net.furls.registry import Registry

    with ending(invocation):
        had = Registry(invocation.settings, KIND).unclaim(address)
    invocation.answer(
        {"address": address, "unclaimed": had},
        f"{address} is no longer claimed; {_WHEN}" if had else f"{address} is not claimed",
    )
    _next(invocation, "lae-monitor fleet claim --list")
    if not had:
        raise SystemExit(EXIT_FINDINGS)
