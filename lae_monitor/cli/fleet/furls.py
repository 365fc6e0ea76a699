"""FURLs for `fleet register` and `unregister`: made, shown, revoked; and whether hosts connect by them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NoReturn

import click

from lae_monitor.terminal.hosts import text_of
from lae_monitor.terminal.options import EXIT_CONFIG, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation

if TYPE_CHECKING:
    from lae_monitor.core.kind import Kind
    from lae_monitor.core.secrets import Furl
    from lae_monitor.fleet.registering import NodeOption, Outcome
    from lae_monitor.fleet.targets import Target
    from lae_monitor.net.furls.registry import Registration
    from lae_monitor.net.furls.status import Awaited

_THIS_HOST: Final = ("localhost", "127.0.0.1", "[::1]")  # in a FURL: only nodes on this host can use it


def given_furl(invocation: Invocation, furl: str | None, file: str | None) -> Furl | None:
    """The FURL of another gatherer, from the command line or from a file."""
    from lae_monitor.core.refusals import Refused
    from lae_monitor.core.secrets import Furl

    if furl is not None and file is not None:
        invocation.fail("give --furl or --furl-file, not both", EXIT_USAGE)
    text = text_of(invocation, "--furl-file", file) if file is not None else furl
    if text is None:
        return None
    try:
        return Furl(text)
    except Refused:
        where = "--furl" if furl is not None else f"--furl-file {file}"
        invocation.fail(f"{where}: no FURL (pb://TUBID@HINTS/SWISSNUM)", EXIT_USAGE)


def values_of(
    invocation: Invocation, kind: Kind, targets: Sequence[Target], cluster: str, given: Furl | None, *, dry_run: bool
) -> tuple[dict[str, str | None], dict[str, Outcome]]:
    """The FURL of each host, and the outcome of hosts for which none can be made."""
    from lae_monitor.core.refusals import Refused
    from lae_monitor.fleet.registering import Outcome
    from lae_monitor.fleet.trouble import Trouble

    if given is not None:
        return {target.name: given.reveal() for target in targets}, {}
    values: dict[str, str | None] = {}
    refused: dict[str, Outcome] = {}
    for target in targets:
        try:
            registration = _registration(invocation, kind, target.name, cluster, dry_run=dry_run)
            values[target.name] = registration.furl.reveal() if registration is not None else "pb://to-be-made"
        except (Refused, OSError) as error:
            if not isinstance(error, Refused) or error.code == "bad_config":
                _fail_for_credentials(invocation, error)
            refused[target.name] = Outcome(target)
            refused[target.name].fail(Trouble("no_furl", str(error), "do what that says, then try again"))
    if not invocation.as_json and any(_is_for_this_host(value or "") for value in values.values()):
        _warn_of_location(kind, "These FURLs point", "them", "run the same command again")
    return values, refused


def furl_of(
    invocation: Invocation,
    kind: Kind,
    host: str,
    cluster: str | None,
    *,
    print_furl: bool,
    dry_run: bool,
) -> None:
    """Makes or shows the FURL of a host, without a connection to it."""
    from lae_monitor.core.kind import load
    from lae_monitor.core.refusals import Refused

    try:
        made = _registration(invocation, kind, host, cluster, dry_run=dry_run)
    except (Refused, OSError) as error:
        _fail_for_credentials(invocation, error)
    if made is None:
        invocation.answer({"host": host, "new": True}, f"{host} has no FURL yet: one would be made")
        return
    shown = {"furl": made.furl.reveal()} if print_furl else {}
    invocation.answer(
        {"cluster": made.cluster, "host": made.host, "path": str(made.path), "new": made.new, **shown},
        made.furl.reveal() if print_furl else str(made.path),
    )
    if not invocation.as_json:
        if _is_for_this_host(made.furl.reveal()):
            _warn_of_location(kind, "This FURL points", "it", "show the FURL again")
        option: NodeOption = load(kind.register)
        click.echo(
            f"Next: on {made.host}, set {option.option} in section [{option.section}] of tahoe.cfg to this FURL, and "
            f"restart the node; then lae-monitor fleet status --host {made.host}",
            err=True,
        )


def _registration(
    invocation: Invocation, kind: Kind, host: str, cluster: str | None, *, dry_run: bool
) -> Registration | None:
    from lae_monitor.net.furls.registry import Registry
    from lae_monitor.terminal.owner import as_owner

    with as_owner(invocation.settings.state.path):
        registry = Registry(invocation.settings, kind.name)
        return registry.registered(host, cluster) if dry_run else registry.register(host, cluster)


def _is_for_this_host(furl: str) -> bool:
    return any(f":{name}:" in furl for name in _THIS_HOST)


def _warn_of_location(kind: Kind, subject: str, them: str, again: str) -> None:
    click.echo(
        f"{subject} to localhost, so only nodes on this host can use {them}. Set gatherers.{kind.name}.location to an "
        f"address that nodes can reach, then {again}.",
        err=True,
    )


def revoked_of(invocation: Invocation, kind: Kind, targets: Sequence[Target], cluster: str) -> list[str]:
    """Revokes the FURLs of hosts; returns the names of those that had one."""
    from lae_monitor.core.refusals import Refused
    from lae_monitor.net.furls.registry import Registry
    from lae_monitor.terminal.owner import as_owner

    try:
        with as_owner(invocation.settings.state.path):
            registry = Registry(invocation.settings, kind.name)
            return [one.name for one in targets if registry.revoke(one.name, cluster)]
    except (Refused, OSError) as error:
        _fail_for_credentials(invocation, error)


def _fail_for_credentials(invocation: Invocation, error: Exception) -> NoReturn:
    from lae_monitor.core.refusals import Refused

    if isinstance(error, Refused):
        is_config = error.code == "bad_config"
        following = "correct it, then lae-monitor check config" if is_config else ""
        invocation.fail(str(error), EXIT_CONFIG if is_config else EXIT_USAGE, following=following)
    following = "run this as the account that owns the state folder"
    invocation.fail(f"credentials: {error}", EXIT_UNAVAILABLE, following=following)


# ---- connections -----------------------------------------------------------------------------------------------------


def await_hosts(
    invocation: Invocation, kind: Kind, outcomes: Sequence[Outcome], cluster: str, wait: float
) -> dict[str, str]:
    """Waits until the hosts on which all went well are connected to the gatherer; others fail.

    Returns:
        The word of each connected host for the column `heard`.
    """
    from lae_monitor.fleet.trouble import Trouble
    from lae_monitor.net.furls.ledger import Snapshot
    from lae_monitor.net.furls.status import await_connections, snapshot
    from lae_monitor.terminal.owner import as_owner

    settings = invocation.settings
    waiting = {outcome.target.name: awaited(outcome, cluster) for outcome in outcomes}

    def ask() -> Snapshot:
        with as_owner(settings.state.path):
            return snapshot(settings, kind.name)

    try:
        now, missing = await_connections([one for many in waiting.values() for one in many], wait, ask)
    except KeyboardInterrupt:
        why = "Ctrl-C came before it was known whether its nodes are heard"
        for outcome in outcomes:
            if waiting[outcome.target.name]:
                outcome.fail(Trouble("not_heard", why, "lae-monitor fleet status"))
        return {}
    except (sqlite3.Error, OSError) as error:
        invocation.fail(
            f"the gatherer's connections cannot be read: {error}",
            EXIT_UNAVAILABLE,
            following="lae-monitor fleet status",
        )
    contacts: dict[str, str] = {}
    for outcome in outcomes:
        name = outcome.target.name
        absent = [one for one in waiting[name] if one in missing]
        if absent and not now.is_open:
            why = f"no {kind.event} gatherer runs here, so no node can connect"
            outcome.fail(Trouble("no_gatherer", why, f"lae-monitor gather {kind.name}; then lae-monitor fleet status"))
        elif absent:
            since = "" if absent[0].since is None else " since its restart"
            outcome.fail(
                Trouble(
                    "not_heard",
                    f"{missing[absent[0]]} of {absent[0].peers} nodes heard{since}, after {wait:g} s",
                    f"see whether it can reach {settings.gatherers[kind.name].location}, and {_log_of(outcome)} on it; "
                    f"if the nodes were not restarted, the same again with --restart-always",
                )
            )
        elif waiting[name]:
            begun = outcome.begun
            times = [one.since for one in now.connections if (one.cluster, one.host) == (cluster, name)]
            contacts[name] = "connected" if begun is None else f"{max(max(times) - begun, 0):.0f} s after the restart"
    return contacts


def awaited(outcome: Outcome, cluster: str) -> list[Awaited]:
    """The connections of a host to wait for: of all its nodes, and of changed nodes since their restart."""
    from lae_monitor.net.furls.status import Awaited

    name = outcome.target.name
    changed = sum(node.state == "changed" for node in outcome.nodes)
    if outcome.code or (changed and outcome.begun is None):
        return []
    again = [Awaited(cluster, name, changed or outcome.present, outcome.begun)] if outcome.begun is not None else []
    return [*again, Awaited(cluster, name, outcome.present, None)]


def _log_of(outcome: Outcome) -> str:
    node = next(node for node in outcome.nodes if node.state != "missing")
    return f"{node.path.removesuffix('/tahoe.cfg')}/logs/twistd.log"
