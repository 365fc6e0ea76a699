"""Works on hosts, tells what became of each, and ends the command: what register, unregister and set-option share."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from lae_monitor.terminal.options import EXIT_CONFIG, EXIT_FINDINGS, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation
from lae_monitor.terminal.progress import progress

if TYPE_CHECKING:
    from lae_monitor.cli.fleet_register_options import Care, Reach, Sources
    from lae_monitor.core.secrets import Furl
    from lae_monitor.fleet.registering import Order, Outcome
    from lae_monitor.fleet.targets import Passed, Target
    from lae_monitor.kinds.incidents.nodes.heard import Awaited

MAX_VALUE: Final = 64 * 1024  # characters of a value in a file


def chosen(
    invocation: Invocation, hosts: Sequence[str], sources: Sources, reach: Reach
) -> tuple[list[Target], list[Passed]]:
    """The hosts that are meant, and those of lists that are passed over. Ends the command when there are none."""
    from lae_monitor.core.printable import one_line
    from lae_monitor.fleet import targets
    from lae_monitor.fleet.ec2 import CannotAsk

    names = invocation.settings.fleet.inventory
    passed: list[Passed] = []
    try:
        found = targets.from_arguments(hosts, names)
        if sources.csv is not None:
            more, passed_over = targets.from_csv(sources.csv, sources.column, sources.name_column, names)
            found, passed = found + more, passed + passed_over
        if sources.configured:
            found += targets.from_configuration(names)
        if sources.inventory is not None:
            listed = targets.from_ansible(sources.inventory, sources.group)
            found += [one._replace(user="") for one in listed] if reach.user else listed
        if sources.ec2:
            more, passed_over = targets.from_ec2(sources.regions, sources.tag_role, private=sources.private)
            found, passed = found + more, passed + passed_over
        once = targets.each_once(found)
    except targets.BadTargets as error:
        invocation.fail(one_line(str(error)), EXIT_USAGE, following=error.following)
    except CannotAsk as error:
        invocation.fail(one_line(str(error), 400), EXIT_UNAVAILABLE, following=error.following)
    for name, why in () if invocation.as_json else passed:
        click.echo(f"lae-monitor: {one_line(name)} is passed over: {one_line(why)}", err=True)
    if not once:
        following = "name hosts, or say --csv FILE, --inventory FILE, --configured or --ec2"
        invocation.fail("no host is named", EXIT_USAGE, following=following)
    return once, passed


def ready(invocation: Invocation, reach: Reach) -> None:
    """Ends the command if the key cannot be used: that would be the trouble of every host."""
    if reach.identity is None:
        return
    import stat

    import paramiko

    try:
        paramiko.PKey.from_path(reach.identity)
    except OSError as error:
        invocation.fail(f"{reach.identity}: {error.strerror}", EXIT_USAGE, following="name a private key")
    except (TypeError, paramiko.PasswordRequiredException):
        following = "ssh-add it to an agent, and leave --identity away"
        invocation.fail(f"{reach.identity} has a passphrase", EXIT_USAGE, following=following)
    except Exception:  # noqa: BLE001 - one kind for each way in which a file can be no key
        following = "name a private key, as ssh-keygen or EC2 makes them"
        invocation.fail(f"{reach.identity} is no private key that can be read", EXIT_USAGE, following=following)
    if reach.identity.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        click.echo(f"lae-monitor: others can read the private key {reach.identity}: chmod 600 it", err=True)


def text_of(invocation: Invocation, option: str, path: str) -> str:
    """What is in the file of an option; - is standard input. Ends the command when it cannot be read."""
    try:
        with click.open_file(path, encoding="utf-8-sig") as file:
            return str(file.read(MAX_VALUE))
    except (OSError, UnicodeDecodeError) as error:
        invocation.fail(f"{option} {path}: {getattr(error, 'strerror', None) or 'that is no text'}", EXIT_USAGE)


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


def files(care: Care, default: Sequence[str]) -> list[str]:
    """The tahoe.cfg of each node."""
    from lae_monitor.fleet.registering import FILE

    return [f"{node.rstrip('/')}/{FILE}" for node in care.nodes or default]


def work(invocation: Invocation, targets: Sequence[Target], reach: Reach, care: Care, order: Order) -> list[Outcome]:
    """Does it on every host; in the order in which they were named. Ctrl-C ends it after the hosts that are begun."""
    from lae_monitor.fleet.registering import work_on_all

    outcomes: dict[str, Outcome] = {}
    with _stopped_by_ctrl_c() as stop, progress(invocation, "hosts", len(targets)) as tell:
        for outcome in work_on_all(targets, reach.access, order, care.parallel, stop):
            outcomes[outcome.target.name] = outcome
            tell(len(outcomes), f"{outcome.target.name} {outcome.code or 'is done'}")
    return [outcomes[target.name] for target in targets]


@contextmanager
def _stopped_by_ctrl_c() -> Iterator[Event]:
    """An event that Ctrl-C sets, once; a second Ctrl-C is as ever."""
    stop = Event()
    before = signal.getsignal(signal.SIGINT)

    def interrupted(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        stop.set()
        click.echo("lae-monitor: no further host is begun; waiting for those that are", err=True)

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def verify(invocation: Invocation, outcomes: Sequence[Outcome], cluster: str, wait: float) -> dict[str, str]:
    """Waits until the incident gatherer has heard the hosts on which all went well; others become trouble.

    Returns:
        What to say of each host.
    """
    from lae_monitor.fleet.trouble import Trouble
    from lae_monitor.kinds.incidents.nodes import heard
    from lae_monitor.kinds.incidents.state import Seen
    from lae_monitor.terminal.owner import as_owner

    settings = invocation.settings
    waiting = {outcome.target.name: awaited(outcome, cluster) for outcome in outcomes}

    def ask() -> Seen:
        with as_owner(settings.state.path):
            return heard.seen(settings)

    try:
        now, silent = heard.await_heard([one for many in waiting.values() for one in many], wait, ask)
    except KeyboardInterrupt:
        why = "Ctrl-C came before it was known whether its nodes are heard"
        for outcome in outcomes:
            if waiting[outcome.target.name]:
                outcome.fail(Trouble("not_heard", why, "lae-monitor fleet status"))
        return {}
    except (sqlite3.Error, OSError) as error:
        invocation.fail(
            f"who was heard cannot be read: {error}", EXIT_UNAVAILABLE, following="lae-monitor fleet status"
        )
    said: dict[str, str] = {}
    for outcome in outcomes:
        name = outcome.target.name
        missing = [one for one in waiting[name] if one in silent]
        if missing and not now.is_open:
            why = "no incident gatherer runs here, so nobody can be heard"
            outcome.fail(Trouble("no_gatherer", why, "lae-monitor gather incidents; then lae-monitor fleet status"))
        elif missing:
            since = "" if missing[0].since is None else " since its restart"
            outcome.fail(
                Trouble(
                    "not_heard",
                    f"{silent[missing[0]]} of {missing[0].nodes} nodes heard{since}, after {wait:g} s",
                    f"see whether it can reach {settings.gatherers['incidents'].location}, and {_log_of(outcome)} on it; "
                    f"if the nodes were not restarted, the same again with --restart-always",
                )
            )
        elif waiting[name]:
            begun = outcome.begun
            times = [one.since for one in now.connections if (one.cluster, one.host) == (cluster, name)]
            said[name] = "connected" if begun is None else f"{max(max(times) - begun, 0):.0f} s after the restart"
    return said


def awaited(outcome: Outcome, cluster: str) -> list[Awaited]:
    """What the gatherer is to hear of a host: all its nodes, and those that were changed since their restart."""
    from lae_monitor.kinds.incidents.nodes.heard import Awaited

    name = outcome.target.name
    changed = sum(node.state == "changed" for node in outcome.nodes)
    if outcome.code or (changed and outcome.begun is None):
        return []
    again = [Awaited(cluster, name, changed or outcome.present, outcome.begun)] if outcome.begun is not None else []
    return [*again, Awaited(cluster, name, outcome.present, None)]


def _log_of(outcome: Outcome) -> str:
    node = next(node for node in outcome.nodes if node.state != "missing")
    return f"{node.path.removesuffix('/tahoe.cfg')}/logs/twistd.log"


def end(
    invocation: Invocation,
    outcomes: Sequence[Outcome],
    passed: Sequence[Passed],
    heard: dict[str, str],
    *,
    dry_run: bool,
    following: str,
    more: dict[str, Any] | None = None,
) -> NoReturn:
    """Shows what became of every host. Exits with 1 when it did not go well on one."""
    from lae_monitor.cli.fleet_register_table import as_json, show

    failed = [outcome for outcome in outcomes if outcome.code]
    following = failed[0].following if failed else following
    if invocation.as_json:
        data = {
            "hosts": [as_json(outcome, heard.get(outcome.target.name), dry_run=dry_run) for outcome in outcomes],
            "passed_over": [one._asdict() for one in passed],
            "next": following,
            **(more or {}),
        }
        invocation.answer(data, "")
    else:
        show(outcomes, heard, dry_run=dry_run)
        if following:
            click.echo(f"Next: {following}", err=True)
    raise SystemExit(EXIT_FINDINGS if failed else 0)


def no_credentials(invocation: Invocation, error: Exception) -> NoReturn:
    """Ends the command whose FURL cannot be made or read."""
    from lae_monitor.core.refusals import Refused

    if isinstance(error, Refused):
        is_config = error.code == "bad_config"
        following = "correct it, then lae-monitor check config" if is_config else ""
        invocation.fail(str(error), EXIT_CONFIG if is_config else EXIT_USAGE, following=following)
    following = "run this as the account that owns the state folder"
    invocation.fail(f"credentials: {error}", EXIT_UNAVAILABLE, following=following)


def cluster_of(invocation: Invocation, cluster: str | None) -> str:
    """The cluster that is meant. Ends the command for what can be none."""
    from lae_monitor.core.names import ClusterName
    from lae_monitor.core.refusals import Refused

    try:
        return ClusterName(cluster or invocation.settings.fleet.name)
    except Refused as refused:
        invocation.fail(str(refused), EXIT_USAGE)
