"""`lae-monitor fleet register|unregister`: points the nodes of hosts at a gatherer, or away from it, over SSH."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import click

from lae_monitor.cli.fleet_register_options import Care, Reach, Sources, care, reach, sources
from lae_monitor.terminal.options import EXIT_USAGE, Invocation, common

if TYPE_CHECKING:
    from lae_monitor.fleet.registering import Outcome
    from lae_monitor.fleet.targets import Target

_CLUSTER: Final = click.option(
    "--cluster", metavar="CLUSTER", help="The cluster they belong to; default: fleet.name of the configuration."
)
_HOSTS: Final = click.argument("hosts", nargs=-1, metavar="[HOST]...")
_FURL: Final = click.option("--furl", metavar="FURL", help="Of another gatherer; others can read a command line.")
_FURL_FILE: Final = click.option(
    "--furl-file",
    metavar="FILE",
    help="The file that has the FURL of another gatherer; - reads it.",
)


@click.group()
@common
def register(_invocation: Invocation) -> None:
    """Point the nodes of hosts at a gatherer; give a host a credential of its own."""


@register.command(short_help="Let hosts report their incidents here.")
@_HOSTS
@click.option("--host", metavar="HOST", help="Make or show the FURL of this host, and touch none.")
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
    help="For the gatherer to hear the hosts; 0 does not look.",
)
@sources
@reach
@care
@common
def incident(
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
    """Set log_gatherer.furl in the tahoe.cfg of hosts' nodes over SSH, restart the nodes that this changed, and wait until
    they are heard. Each host has a FURL of its own. HOST: [NAME=][USER@]ADDRESS[:PORT], shown under NAME, else its address.

    With --host instead, make or show again the FURL of a host, which is not touched.

    \b
    lae-monitor fleet register incident node1.example node2=10.0.0.7 --identity ~/.ssh/admin.pem
    lae-monitor fleet register incident --csv customerinfo.csv --column publichost --dry-run
    lae-monitor fleet register incident --ec2 --region eu-north-1 --host-keys accept-new
    lae-monitor fleet register incident --host node1 --print-furl
    """
    is_for_hosts = bool(hosts or sources.csv or sources.inventory or sources.configured or sources.ec2)
    if host is not None and is_for_hosts:
        invocation.fail("--host makes a FURL, and touches no host: name hosts without it", EXIT_USAGE)
    if host is not None:
        from lae_monitor.cli.fleet_register_furls import furl_of

        furl_of(invocation, host, cluster, print_furl=print_furl, dry_run=care.dry_run)
        return
    if not is_for_hosts:
        following = "name hosts, or a list of them; or make the FURL of one with --host HOST"
        invocation.fail("no host is named", EXIT_USAGE, following=following)
    if print_furl:
        invocation.fail("--print-furl goes with --host", EXIT_USAGE)
    from lae_monitor.cli.fleet_register_furls import values_of
    from lae_monitor.cli.fleet_register_work import (
        chosen,
        cluster_of,
        end,
        given_furl,
        ready,
        verify,
    )

    given = given_furl(invocation, furl, furl_file)
    named = cluster_of(invocation, cluster)
    targets, passed = chosen(invocation, hosts, sources, reach)
    ready(invocation, reach)
    values, refused = values_of(invocation, targets, named, given, dry_run=care.dry_run)
    outcomes = _registered(invocation, "incident", targets, reach, care, values, refused)
    heard: dict[str, str] = {}
    if given is None and wait and not care.dry_run:
        heard = verify(invocation, outcomes, named, wait)
    following = "the same without --dry-run" if care.dry_run else _next(outcomes)
    end(invocation, outcomes, passed, heard, dry_run=care.dry_run, following=following)


@register.command(short_help="Let hosts report their numbers to a stats gatherer.")
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
    from lae_monitor.cli.fleet_register_work import chosen, end, given_furl, ready

    given = given_furl(invocation, furl, furl_file)
    if given is None:
        following = "give the FURL of yours with --furl-file"
        invocation.fail("this release has no stats gatherer of its own", EXIT_USAGE, following=following)
    targets, passed = chosen(invocation, hosts, sources, reach)
    ready(invocation, reach)
    values: dict[str, str | None] = {target.name: given.reveal() for target in targets}
    outcomes = _registered(invocation, "stats", targets, reach, care, values, {})
    following = "the same without --dry-run" if care.dry_run else "see whether your stats gatherer hears them"
    end(invocation, outcomes, passed, {}, dry_run=care.dry_run, following=following)


@click.command(short_help="Let hosts report no more.")
@click.argument("kind", type=click.Choice(["incident", "stats"]))
@_HOSTS
@_CLUSTER
@click.option("--revoke", is_flag=True, help="Let them in no more, too, whether they are reached or not.")
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
    """Take the gatherer's FURL out of the tahoe.cfg of hosts' nodes over SSH, leaving an empty comment, and restart the
    nodes that this changed. What they reported stays.

    \b
    lae-monitor fleet unregister incident node1.example --revoke
    """
    from lae_monitor.cli.fleet_register_furls import revoked_of
    from lae_monitor.cli.fleet_register_work import chosen, cluster_of, end, ready

    if revoke and kind != "incident":
        invocation.fail("only FURLs of our own gatherer can be revoked: those of incidents", EXIT_USAGE)
    named = cluster_of(invocation, cluster)
    targets, passed = chosen(invocation, hosts, sources, reach)
    ready(invocation, reach)
    outcomes = _registered(
        invocation, kind, targets, reach, care, dict.fromkeys((one.name for one in targets), None), {}
    )
    begun = [outcome.target for outcome in outcomes if outcome.code != "not_begun"]
    revoked = [] if not revoke or care.dry_run else revoked_of(invocation, begun, named)
    if revoked and not invocation.as_json:
        click.echo(f"Let in no more: {', '.join(revoked)}", err=True)
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


# ---- the parts -----------------------------------------------------------------------------------------------------


def _registered(
    invocation: Invocation,
    kind: str,
    targets: Sequence[Target],
    reach: Reach,
    care: Care,
    values: Mapping[str, str | None],
    refused: Mapping[str, Outcome],
) -> list[Outcome]:
    """Does it on the hosts that have a value; with those of `refused`, which have none, in the order of `targets`."""
    from lae_monitor.cli.fleet_register_work import files, work
    from lae_monitor.fleet.registering import KINDS, Order

    of = KINDS[kind]
    order = Order(
        of.section,
        of.option,
        values.__getitem__,
        files(care, of.nodes),
        care.command,
        always=care.restart_always,
        dry_run=care.dry_run,
    )
    able = [target for target in targets if target.name in values]
    done = {outcome.target.name: outcome for outcome in work(invocation, able, reach, care, order)} | dict(refused)
    return [done[target.name] for target in targets]


def _next(outcomes: Sequence[Outcome]) -> str:
    return f"lae-monitor fleet test-incident {outcomes[0].target.name}, or lae-monitor fleet status"
