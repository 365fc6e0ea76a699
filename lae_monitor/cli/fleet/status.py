"""`lae-monitor fleet status`: connections of hosts to the gatherer by whose FURLs they are registered."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, common

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lae_monitor.core.kind import Kind
    from lae_monitor.net.furls.status import FleetStatus, HostStatus


class _Looked(NamedTuple):
    """What was found of one kind."""

    kind: Kind
    found: FleetStatus
    running: bool


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
    """Show which hosts are connected to a gatherer that gives them FURLs, since when and from where, and the last contact
    with each.

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
    kinds = invocation.kinds.registering
    if not kinds:
        invocation.fail("no kind of reports gives its hosts FURLs", EXIT_USAGE)
    try:
        hosts, group = [HostName(name) for name in names], ClusterName(cluster) if cluster is not None else None
    except Refused as refused:
        invocation.fail(str(refused), EXIT_USAGE)
    looked: list[_Looked] = []
    try:
        with as_owner(settings.state.path):
            for kind in kinds:
                found = fleet_status(settings, kind.name, hosts, group)
                looked.append(_Looked(kind, found, found.is_open or runs(settings.state.path, process_of(kind.name))))
    except sqlite3.Error as error:
        invocation.fail_for_ledger(error, str(error))
    except OSError as error:
        invocation.fail(
            f"{error.filename}: {error.strerror}",
            EXIT_UNAVAILABLE,
            following="run this as the account that owns the state folder",
        )
    looked = _each_once(looked)
    verdicts = [_verdict(*one, connected) for one in looked]
    code, problem = next((verdict for verdict in verdicts if verdict[0]), (0, _joined(text for _, text in verdicts)))
    following = min(_following(*one, max(connected or 0, 1)) for one in looked)[1]
    data = {
        "gatherer": {"running": all(one.running for one in looked)},
        "hosts": [{"kind": one.kind.event, **_as_json(host)} for one in looked for host in one.found.hosts],
        "next": following,
    }
    if code:
        data["error"] = problem
    nothing = f"no host has a FURL, and none ever connected: {settings.state.path}"
    invocation.answer(data, lambda: "\n".join(_table(looked)) if data["hosts"] else nothing)
    if not invocation.as_json:
        if problem:
            click.echo(f"lae-monitor: {problem}", err=True)
        click.echo(f"Next: {following}", err=True)
    raise SystemExit(code)


def _each_once(looked: list[_Looked]) -> list[_Looked]:
    """Without hosts that were asked for and that a kind does not know, where another kind does, or said so before."""
    known = {host.host for one in looked for host in one.found.hosts if _is_known(host)}
    result = []
    for one in looked:
        hosts = [host for host in one.found.hosts if _is_known(host) or host.host not in known]
        known |= {host.host for host in hosts}
        result.append(one._replace(found=one.found._replace(hosts=hosts)))
    return result


def _is_known(host: HostStatus) -> bool:
    return host.registered or host.last_heard is not None or bool(host.addresses) or bool(host.connections)


def _joined(problems: Iterable[str]) -> str:
    return "; ".join(problem for problem in problems if problem)


def _verdict(kind: Kind, found: FleetStatus, running: bool, wanted: int | None) -> tuple[int, str]:
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


def _following(kind: Kind, found: FleetStatus, running: bool, wanted: int) -> tuple[int, str]:
    """What to do next, after how urgent it is: about what keeps all from reporting, else about a host that does not."""
    if not running:
        return -3, f"start it: lae-monitor run, or lae-monitor gather {kind.name}"
    if not found.is_open:
        return -2, "the gatherer does not say who is connected: try again in a moment; if it stays so, restart it"
    if not found.hosts:
        return -1, f"lae-monitor fleet register {kind.event} --host HOST"
    advice = [text for host in found.hosts if (text := _advice(host, kind, wanted))]
    first = found.hosts[0]
    return min(advice) if advice else (9, f"lae-monitor host show {first.host} --cluster {first.cluster}")


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


def _table(looked: list[_Looked]) -> list[str]:
    """A row for each host of each kind; which kind is said where there are several."""
    from lae_monitor.terminal.table import Cell, Column, Painted, table, when

    several = len(looked) > 1

    def cells(kind: Kind, host: HostStatus) -> list[Cell]:
        times = _as_json(host)
        last_contact = when(times["last_heard"]) if host.last_heard is not None else _NEVER
        since = when(times["connected_since"]) if host.connections else "-"
        row = (
            *((kind.event,) if several else ()),
            host.host,
            host.cluster,
            host.connections,
            since,
            last_contact,
            host.peer or "-",
            _note(host, last_contact),
        )
        return [Painted(cell, "" if host.connections else "warning") for cell in row]

    names = ("host", "cluster", "connections", "since", "last heard", "from", Column(spare=20))
    rows = [cells(one.kind, host) for one in looked for host in one.found.hosts]
    return table(("kind", *names) if several else names, rows)
