"""`lae-monitor fleet register|unregister`: points the nodes of hosts at a gatherer, or away from it, over SSH.

`register` has a command for each kind whose record names an option of tahoe.cfg (`Kind.register`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from lae_monitor.core.kind import Kind, Kinds, load
from lae_monitor.terminal.hosts import Care, Reach, Sources, care, reach, sources
from lae_monitor.terminal.options import EXIT_USAGE, Invocation, common

if TYPE_CHECKING:
    from lae_monitor.fleet.registering import NodeOption, Outcome
    from lae_monitor.fleet.targets import Target

STATS: Final = "stats"  # nodes can be pointed at a stats gatherer, and this release has none
_CLUSTER: Final = click.option(
    "--cluster", metavar="CLUSTER", help="The cluster they belong to; default: fleet.name of the configuration."
)
_HOSTS: Final = click.argument("hosts", nargs=-1, metavar="[HOST]...")
_FURL: Final = click.option(
    "--furl", metavar="FURL", help="The FURL of another gatherer; others can read a command line."
)
_FURL_FILE: Final = click.option(
    "--furl-file",
    metavar="FILE",
    help="A file with the FURL of another gatherer; - is standard input.",
)
_HELP: Final = """Set {option} in the tahoe.cfg of hosts' nodes over SSH, restart the nodes that this changed, and wait until
they are connected. Each host has a FURL of its own. HOST: [NAME=][USER@]ADDRESS[:PORT]; the host's name is NAME, or ADDRESS.

With --host instead, make or show again the FURL of a host, without a connection to it.

\b
lae-monitor fleet register {kind} node1.example node2=10.0.0.7 --identity ~/.ssh/admin.pem
lae-monitor fleet register {kind} --csv customerinfo.csv --column publichost --dry-run
lae-monitor fleet register {kind} --ec2 --region eu-north-1 --host-keys accept-new
lae-monitor fleet register {kind} --host node1 --print-furl
"""


class RegisterGroup(click.Group):
    """A command for each kind that registers hosts, by the name of its events."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(_options(context.ensure_object(Invocation).kinds))

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        kind = context.ensure_object(Invocation).kinds.of_event(name)
        if kind is not None and kind.register:
            return _command_of(kind)
        return stats if name == STATS else None


@click.group(cls=RegisterGroup)
@common
def register(_invocation: Invocation) -> None:
    """Point the nodes of hosts at a gatherer; give a host a credential of its own."""


def _options(kinds: Kinds) -> dict[str, NodeOption]:
    """The option of tahoe.cfg for each command."""
    from lae_monitor.fleet.registering import STATS_GATHERER

    return {STATS: STATS_GATHERER, **{kind.event: load(kind.register) for kind in kinds.registering}}


def _command_of(kind: Kind) -> click.Command:
    option: NodeOption = load(kind.register)

    @click.command(
        kind.event,
        short_help=f"Let hosts report their {kind.name} here.",
        help=_HELP.format(option=option.option, kind=kind.event),
    )
    @_HOSTS
    @click.option("--host", metavar="HOST", help="Make or show the FURL of this host, without a connection to it.")
    @_CLUSTER
    @click.option("--print-furl", is_flag=True, help="With --host: print the FURL itself: a secret.")
    @_FURL
    @_FURL_FILE
    @click.option(
        "--wait",
        type=click.FloatRange(0, 3600),
        default=60,
        show_default=True,
        metavar="SECONDS",
        help="For the hosts to connect to the gatherer; 0 does not wait.",
    )
    @sources
    @reach
    @care
    @common
    def command(
        invocation: Invocation,
        hosts: tuple[str, ...],
        host: str | None,
        cluster: str | None,
        print_furl: bool,
        furl: str | None,
        furl_file: str | None,
        wait: float,
        sources: Sources,
        reach: Reach,
        care: Care,
    ) -> None:
        is_for_hosts = bool(hosts or sources.csv or sources.inventory or sources.configured or sources.ec2)
        if host is not None and is_for_hosts:
            invocation.fail("--host makes a FURL, and touches no host: name hosts without it", EXIT_USAGE)
        if host is not None:
            from lae_monitor.cli.fleet.furls import furl_of

            furl_of(invocation, kind, host, cluster, print_furl=print_furl, dry_run=care.dry_run)
            return
        if not is_for_hosts:
            following = "name hosts, or a list of them; or make the FURL of one with --host HOST"
            invocation.fail("no host is named", EXIT_USAGE, following=following)
        if print_furl:
            invocation.fail("--print-furl goes with --host", EXIT_USAGE)
        _register(invocation, kind, option, hosts, cluster, (furl, furl_file), wait, sources, reach, care)

    made: click.Command = command
    return made


def _register(
    invocation: Invocation,
    kind: Kind,
    option: NodeOption,
    hosts: Sequence[str],
    cluster: str | None,
    furl_or_file: tuple[str | None, str | None],
    wait: float,
    sources: Sources,
    reach: Reach,
    care: Care,
) -> None:
    from lae_monitor.cli.fleet.furls import await_hosts, given_furl, values_of
    from lae_monitor.cli.fleet.work import end
    from lae_monitor.terminal.hosts import chosen, cluster_of, ready

    given = given_furl(invocation, *furl_or_file)
    named = cluster_of(invocation, cluster)
    targets, passed = chosen(invocation, hosts, sources, reach)
    ready(invocation, reach)
    values, refused = values_of(invocation, kind, targets, named, given, dry_run=care.dry_run)
    outcomes = _set(invocation, option, targets, reach, care, values, refused)
    contacts: dict[str, str] = {}
    if given is None and wait and not care.dry_run:
        contacts = await_hosts(invocation, kind, outcomes, named, wait)
    following = "the same without --dry-run" if care.dry_run else _next(kind, outcomes)
    end(invocation, outcomes, passed, contacts, dry_run=care.dry_run, following=following)


def _next(kind: Kind, outcomes: Sequence[Outcome]) -> str:
    status = "lae-monitor fleet status"
    return f"lae-monitor {kind.trial} {outcomes[0].target.name}, or {status}" if kind.trial else status


@click.command(short_help="Let hosts report their numbers to a stats gatherer.")
@_HOSTS
@_FURL
@_FURL_FILE
@sources
@reach
@care
@common
def stats(
    invocation: Invocation,
    hosts: tuple[str, ...],
    furl: str | None,
    furl_file: str | None,
    sources: Sources,
    reach: Reach,
    care: Care,
) -> None:
    """Set stats_gatherer.furl in the tahoe.cfg of hosts' storage servers over SSH, and restart those that this changed.
    Tahoe-LAFS 1.15 and older know that option. This release has no stats gatherer of its own: give the FURL of yours.

    \b
    lae-monitor fleet register stats node1.example --furl-file stats_gatherer.furl --identity ~/.ssh/admin.pem
    """
    from lae_monitor.cli.fleet.furls import given_furl
    from lae_monitor.cli.fleet.work import end
    from lae_monitor.fleet.registering import STATS_GATHERER
    from lae_monitor.terminal.hosts import chosen, ready

    given = given_furl(invocation, furl, furl_file)
    if given is None:
        following = "give the FURL of yours with --furl-file"
        invocation.fail("this release has no stats gatherer of its own", EXIT_USAGE, following=following)
    targets, passed = chosen(invocation, hosts, sources, reach)
    ready(invocation, reach)
    values: dict[str, str | None] = {target.name: given.reveal() for target in targets}
    outcomes = _set(invocation, STATS_GATHERER, targets, reach, care, values, {})
    following = "the same without --dry-run" if care.dry_run else "see whether your stats gatherer hears them"
    end(invocation, outcomes, passed, {}, dry_run=care.dry_run, following=following)


class _Registered(click.ParamType[str]):
    """What hosts can be registered for."""

    name = "kind"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        assert context is not None
        known = click.Choice(sorted(_options(context.ensure_object(Invocation).kinds)))
        return str(known.convert(value, parameter, context))


@click.command(short_help="Let hosts report no more.")
@click.argument("kind", type=_Registered(), metavar="KIND")
@_HOSTS
@_CLUSTER
@click.option("--revoke", is_flag=True, help="Revoke their FURLs, too, even if a host cannot be reached.")
@sources
@reach
@care
@common
def unregister(
    invocation: Invocation,
    kind: str,
    hosts: tuple[str, ...],
    cluster: str | None,
    revoke: bool,
    sources: Sources,
    reach: Reach,
    care: Care,
) -> None:
    """Remove the gatherer's FURL from the tahoe.cfg of hosts' nodes over SSH, leaving an empty comment, and restart the
    nodes that this changed. Their reports stay. KIND is incident or stats.

    \b
    lae-monitor fleet unregister incident node1.example --revoke
    """
    from lae_monitor.cli.fleet.furls import revoked_of
    from lae_monitor.cli.fleet.work import end
    from lae_monitor.terminal.hosts import chosen, cluster_of, ready

    own = invocation.kinds.of_event(kind)
    if revoke and own is None:
        names = ", ".join(one.name for one in invocation.kinds.registering)
        invocation.fail(f"only FURLs of our own gatherer can be revoked: those of {names}", EXIT_USAGE)
    named = cluster_of(invocation, cluster)
    targets, passed = chosen(invocation, hosts, sources, reach)
    ready(invocation, reach)
    no_values: dict[str, str | None] = dict.fromkeys((str(one.name) for one in targets), None)
    outcomes = _set(invocation, _options(invocation.kinds)[kind], targets, reach, care, no_values, {})
    begun = [outcome.target for outcome in outcomes if outcome.code != "not_begun"]
    revoked = revoked_of(invocation, own, begun, named) if own is not None and revoke and not care.dry_run else []
    if revoked and not invocation.as_json:
        click.echo(f"FURL revoked: {', '.join(revoked)}", err=True)
    following = "the same without --dry-run" if care.dry_run else "lae-monitor fleet status"
    end(
        invocation,
        outcomes,
        passed,
        {},
        dry_run=care.dry_run,
        following=following,
        more={"revoked": revoked} if revoke else {},
    )


def _set(
    invocation: Invocation,
    option: NodeOption,
    targets: Sequence[Target],
    reach: Reach,
    care: Care,
    values: Mapping[str, str | None],
    refused: Mapping[str, Outcome],
) -> list[Outcome]:
    """Sets the option on the hosts that have a value; with the outcomes in `refused`, in the order of `targets`."""
    from lae_monitor.cli.fleet.work import files, work
    from lae_monitor.fleet.registering import Order

    order = Order(
        option.section,
        option.option,
        values.__getitem__,
        files(care, option.nodes),
        care.command,
        always=care.restart_always,
        dry_run=care.dry_run,
    )
    able = [target for target in targets if target.name in values]
    outcomes = {outcome.target.name: outcome for outcome in work(invocation, able, reach, care, order)} | dict(refused)
    return [outcomes[target.name] for target in targets]
