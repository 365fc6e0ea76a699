"""The FURLs that hosts are registered by: made, shown, ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from lae_monitor.cli.fleet_register_work import no_credentials
from lae_monitor.terminal.options import Invocation

if TYPE_CHECKING:
    from lae_monitor.core.secrets import Furl
    from lae_monitor.fleet.registering import Outcome
    from lae_monitor.fleet.targets import Target
    from lae_monitor.kinds.incidents.nodes.registry import Registration

_THIS_HOST: Final = ("localhost", "127.0.0.1", "[::1]")  # in a FURL: only nodes beside us can follow it


def values_of(
    invocation: Invocation, targets: Sequence[Target], cluster: str, given: Furl | None, *, dry_run: bool
) -> tuple[dict[str, str | None], dict[str, Outcome]]:
    """The FURL of each host, and those for which none can be made."""
    from lae_monitor.core.refusals import Refused
    from lae_monitor.fleet.registering import Outcome
    from lae_monitor.fleet.trouble import Trouble
    from lae_monitor.kinds.incidents.nodes.registry import register_incident, registered_incident
    from lae_monitor.terminal.owner import as_owner

    if given is not None:
        return {target.name: given.reveal() for target in targets}, {}
    values: dict[str, str | None] = {}
    refused: dict[str, Outcome] = {}
    made: Registration | None
    for target in targets:
        try:
            with as_owner(invocation.settings.state.path):
                made = (registered_incident if dry_run else register_incident)(
                    invocation.settings, target.name, cluster
                )
            values[target.name] = made.furl.reveal() if made is not None else "pb://to-be-made"
        except (Refused, OSError) as error:
            if not isinstance(error, Refused) or error.code == "bad_config":
                no_credentials(invocation, error)
            refused[target.name] = Outcome(target)
            refused[target.name].fail(Trouble("no_furl", str(error), "do what that says, then try again"))
    if not invocation.as_json and any(_leads_nowhere_else(value or "") for value in values.values()):
        click.echo(
            "These FURLs lead to localhost: from elsewhere nobody reaches us by them. gatherers.incidents.location says how "
            "nodes do; after a change of it, the same again.",
            err=True,
        )
    return values, refused


def revoked_of(invocation: Invocation, targets: Sequence[Target], cluster: str) -> list[str]:
    from lae_monitor.core.refusals import Refused
    from lae_monitor.kinds.incidents.nodes.registry import revoke_incident
    from lae_monitor.terminal.owner import as_owner

    try:
        with as_owner(invocation.settings.state.path):
            return [one.name for one in targets if revoke_incident(invocation.settings, one.name, cluster)]
    except (Refused, OSError) as error:
        no_credentials(invocation, error)


def furl_of(invocation: Invocation, host: str, cluster: str | None, *, print_furl: bool, dry_run: bool) -> None:
    """Makes or shows the FURL of a host, which is not touched."""
    from lae_monitor.core.refusals import Refused
    from lae_monitor.kinds.incidents.nodes.registry import register_incident, registered_incident
    from lae_monitor.terminal.owner import as_owner

    made: Registration | None
    try:
        with as_owner(invocation.settings.state.path):
            made = (registered_incident if dry_run else register_incident)(invocation.settings, host, cluster)
    except (Refused, OSError) as error:
        no_credentials(invocation, error)
    if made is None:
        invocation.answer({"host": host, "new": True}, f"{host} has no FURL yet: one would be made")
        return
    shown = {"furl": made.furl.reveal()} if print_furl else {}
    invocation.answer(
        {"cluster": made.cluster, "host": made.host, "path": str(made.path), "new": made.new, **shown},
        made.furl.reveal() if print_furl else str(made.path),
    )
    if not invocation.as_json:
        if _leads_nowhere_else(made.furl.reveal()):
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


def _leads_nowhere_else(furl: str) -> bool:
    return any(f":{name}:" in furl for name in _THIS_HOST)
