"""`lae-monitor fleet ...`: hosts, their credentials, and who of them is heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from lae_monitor.cli.fleet_ec2 import ec2
from lae_monitor.cli.fleet_status import status
from lae_monitor.cli.options import EXIT_CONFIG, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, common

if TYPE_CHECKING:
    from lae_monitor.fleet.registry import Registration

_THIS_HOST: Final = ("localhost", "127.0.0.1", "[::1]")  # in a FURL: only nodes beside us can follow it


@click.group()
@common
def fleet(_invocation: Invocation) -> None:
    """Register hosts, see who of them is heard, and what drifts on EC2."""


fleet.add_command(status)
fleet.add_command(ec2)


@fleet.group()
@common
def register(_invocation: Invocation) -> None:
    """Give a host a credential of its own."""


@register.command()
@click.option("--host", required=True, metavar="HOST", help="The name under which its incidents are shown.")
@click.option(
    "--cluster", metavar="CLUSTER", help="The cluster it belongs to; default: fleet.name of the configuration."
)
@click.option("--print-furl", is_flag=True, help="Print the FURL itself: a secret.")
@click.option(
    "--dry-run", is_flag=True, help="Make nothing: show the FURL if there is one, else say that it would be made."
)
@common
def incident(invocation: Invocation, host: str, cluster: str | None, print_furl: bool, dry_run: bool) -> None:
    """Make, or show again, the FURL by which a host's nodes report incidents. The host is not touched.

    \b
    lae-monitor fleet register incident --host node1 --print-furl
    """  # noqa: D301 - \b is click's mark for lines that it does not wrap
    from lae_monitor.cli.owner import as_owner  # noqa: PLC0415 - only this command needs it
    from lae_monitor.core.refusals import Refused  # noqa: PLC0415
    from lae_monitor.fleet.registry import register_incident, registered_incident  # noqa: PLC0415

    made: Registration | None
    try:
        with as_owner(invocation.settings.state.path):
            made = (registered_incident if dry_run else register_incident)(invocation.settings, host, cluster)
    except Refused as refused:
        if refused.code == "bad_config":
            invocation.fail(str(refused), EXIT_CONFIG, following="correct it, then lae-monitor check config")
        invocation.fail(str(refused), EXIT_USAGE)
    except OSError as error:
        invocation.fail(
            f"credentials: {error}", EXIT_UNAVAILABLE, following="run this as the account that owns the state folder"
        )
    if made is None:
        invocation.answer({"host": host, "new": True}, f"{host} has no FURL yet: one would be made")
        return
    shown = {"furl": made.furl.reveal()} if print_furl else {}
    invocation.answer(
        {"cluster": made.cluster, "host": made.host, "path": str(made.path), "new": made.new, **shown},
        made.furl.reveal() if print_furl else str(made.path),
    )
    if not invocation.as_json:
        if any(f":{name}:" in made.furl.reveal() for name in _THIS_HOST):
            click.echo(
                "This FURL leads to localhost: from elsewhere nobody reaches us by it. gatherers.incidents.location says "
                "how nodes do; after a change of it, show the FURL again.",
                err=True,
            )
        click.echo(
            f"Next: on {made.host}, set log_gatherer.furl in section [node] of tahoe.cfg to this FURL, and restart the node;"
            f" then lae-monitor fleet status --host {made.host}",
            err=True,
        )
