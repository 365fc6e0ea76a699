"""`lae-monitor fleet status`: connections of hosts to the gatherer by whose FURLs they are registered."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final

import click

from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, common

if TYPE_CHECKING:
    from lae_monitor.core.kind import Kind
    from lae_monitor.net.furls.status import FleetStatus, HostStatus

_NEVER: Final = "never heard"


@click.command()
@click.option("--host", "names", multiple=True, metavar="HOST", help="Only this host; may be given several times.")
@click.option("--cluster", metavar="CLUSTER", help="Only the hosts of this cluster.")
@click.option(
    "--connected",
    type=click.IntRange(min=0),
    metavar="N",
    help="Exit with 0 only if each of these hosts has at least N connections open.",
)
@common
def status(invocation: Invocation, names: tuple[str, ...], cluster: str | None, connected: int | None) -> None:
    """Show which hosts are connected to the incident gatherer, since when and from where, and the last contact with each.

    \b
    lae-monitor fleet status
    lae-monitor fleet status --host node1 --connected 2
    """
    from lae_monitor.core.names import ClusterName, HostName
    from lae_monitor.core.refusals import Refused
    from lae_monitor.fleet.running import runs
    from lae_monitor.net.furls.status import fleet_status, process_of
    from lae_monitor.terminal.owner import as_owner

    settings = invocation.settings
    kind = invocation.kinds.registering[0]
    try:
        hosts, group = [HostName(name) for name in names], ClusterName(cluster) if cluster is not None else None
    except Refused as refused:
        invocation.fail(str(refused), EXIT_USAGE)
    try:
        with as_owner(settings.state.path):
            found = fleet_status(settings, kind.name, hosts, group)
            running = found.is_open or runs(settings.state.path, process_of(kind.name))
    except sqlite3.Error as error:
        invocation.fail_for_ledger(error, str(error))
    except OSError as error:
        invocation.fail(
            f"{error.filename}: {error.strerror}",
            EXIT_UNAVAILABLE,
            following="run this as the account that owns the state folder",
        )
    code, problem = _verdict(found, kind, connected, running=running)
    following = _following(found, kind, max(connected or 0, 1), running=running)
    data = {"gatherer": {"running": running}, "hosts": [_as_json(host) for host in found.hosts], "next": following}
    if code:
        data["error"] = problem
    nothing = f"no host has a FURL, and none ever connected: {settings.state.path}"
    invocation.answer(data, lambda: "\n".join(_table(found.hosts)) if found.hosts else nothing)
    if not invocation.as_json:
        if problem:
            click.echo(f"lae-monitor: {problem}", err=True)
        click.echo(f"Next: {following}", err=True)
    raise SystemExit(code)


def _verdict(found: FleetStatus, kind: Kind, wanted: int | None, *, running: bool) -> tuple[int, str]:
    """The exit code, which is 0 unless a number of connections is `wanted`, and what is wrong."""
    if not running:
        return (
            EXIT_UNAVAILABLE if wanted is not None else 0,
            f"the {kind.event} gatherer is not running: nobody is connected",
        )
    if wanted is None:
        return 0, ""
    if not found.hosts:
        return EXIT_FINDINGS, "no host has a FURL, and none ever connected"
    missing = [f"{host.host} has {host.connections} of {wanted}" for host in found.hosts if host.connections < wanted]
    if missing:
        return EXIT_FINDINGS, f"not enough connections: {', '.join(missing)}"
    return 0, ""


def _following(found: FleetStatus, kind: Kind, wanted: int, *, running: bool) -> str:
    """What to do next: about what keeps all from reporting, else about the first host that does not."""
    if not running:
        return f"start it: lae-monitor run, or lae-monitor gather {kind.name}"
    if not found.is_open:
        return "the gatherer does not say who is connected: try again in a moment; if it stays so, restart it"
    if not found.hosts:
        return f"lae-monitor fleet register {kind.event} --host HOST"
    advice = [text for host in found.hosts if (text := _advice(host, kind, wanted))]
    first = found.hosts[0]
    return min(advice)[1] if advice else f"lae-monitor host show {first.host} --cluster {first.cluster}"


def _advice(host: HostStatus, kind: Kind, wanted: int) -> tuple[int, str] | None:
    """What to do about one host, after how urgent it is; None when nothing is."""
    from lae_monitor.core.kind import load

    option = load(kind.register)
    register = f"lae-monitor fleet register {kind.event} --host {host.host} --cluster {host.cluster}"
    if host.unclaimed:
        return 3, f"lae-monitor fleet claim {host.host} --host HOST"
    if host.connections >= wanted:
        return None
    if host.addresses and not host.registered:
        return 2, f"see whether the nodes at {host.addresses[0]} run, and have the unregistered FURL"
    if not host.registered:
        return None if host.last_heard is not None else (0, register)
    setting = (
        f"set {option.option} in section [{option.section}] of tahoe.cfg to what this prints, and restart the node"
    )
    if host.last_heard is None:
        return 1, f"on {host.host}, {setting}: {register} --print-furl"
    return (
        2,
        f"see whether every node on {host.host} runs, has its {option.option}, and reaches gatherers.{kind.name}.location",
    )


def _note(host: HostStatus, last_contact: str) -> str:
    """The remark on a host: a problem, or how it is known without a FURL."""
    if host.silent_since is not None:
        return f"silent since {last_contact}"
    if host.unclaimed:
        return "unclaimed: known by its address alone"
    if host.registered:
        return ""
    if host.addresses:
        return f"by its address: {', '.join(host.addresses)}"
    return "no FURL: cannot connect again" if host.last_heard is not None else "no FURL"


def _as_json(host: HostStatus) -> dict[str, Any]:
    from lae_monitor.core.time import format_time

    times = {
        name: format_time(value) if value is not None else None
        for name, value in (
            ("connected_since", host.connected_since),
            ("last_heard", host.last_heard),
            ("silent_since", host.silent_since),
        )
    }
    return host._asdict() | times


def _table(hosts: list[HostStatus]) -> list[str]:
    from lae_monitor.terminal.table import Cell, Column, Painted, table, when

    def cells(host: HostStatus) -> list[Cell]:
        times = _as_json(host)
        last_contact = when(times["last_heard"]) if host.last_heard is not None else _NEVER
        since = when(times["connected_since"]) if host.connections else "-"
        row = (
            host.host,
            host.cluster,
            host.connections,
            since,
            last_contact,
            host.peer or "-",
            _note(host, last_contact),
        )
        return [Painted(cell, "" if host.connections else "warning") for cell in row]

    return table(("host", "cluster", "connections", "since", "last heard", "from", Column(spare=20)), map(cells, hosts))
