"""Options of the commands that work on hosts over SSH: which hosts, how they are reached, and how carefully."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from lae_monitor.terminal.options import EXIT_UNAVAILABLE, EXIT_USAGE, Invocation

if TYPE_CHECKING:
    from lae_monitor.fleet.access import Access
    from lae_monitor.fleet.targets import Passed, Target

USER: Final = "customer"
SSH_PORT: Final = 22
MAX_VALUE: Final = 64 * 1024  # characters of a value in a file
MAX_PARALLEL: Final = 64  # hosts at a time; each takes a thread and a connection

_FILE: Final = click.Path(path_type=Path, dir_okay=False)


class Reach(NamedTuple):
    """How hosts are reached."""

    identity: Path | None
    user: str | None
    port: int
    known_hosts: Path
    host_keys: str
    timeout: float
    sudo: bool

    @property
    def access(self) -> Access:
        from lae_monitor.fleet.access import Access

        accept_new = self.host_keys == "accept-new"
        return Access(
            self.user or USER, self.port, self.identity, self.known_hosts, accept_new, self.timeout, self.sudo
        )


class Sources(NamedTuple):
    """Where hosts come from, beside those that are named."""

    ec2: bool
    regions: tuple[str, ...]
    tag_role: str
    private: bool
    inventory: Path | None
    group: str
    configured: bool
    csv: Path | None
    column: str
    name_column: str


class Care(NamedTuple):
    """What is done there, and how."""

    nodes: tuple[str, ...]
    restart: str
    no_restart: bool
    restart_always: bool
    parallel: int
    dry_run: bool

    @property
    def command(self) -> str | None:
        """As an Order has it."""
        return None if self.no_restart else self.restart


_REACH: Final = (
    click.option(
        "--identity", type=_FILE, metavar="FILE", help="The private key; default: the agent's, and ~/.ssh/id_*."
    ),
    click.option("--user", metavar="USER", help=f"The account that the nodes belong to; default {USER}."),
    click.option(
        "--port", type=click.IntRange(1, 65535), default=SSH_PORT, show_default=True, help="The port of its sshd."
    ),
    click.option(
        "--known-hosts",
        type=_FILE,
        default=Path("~/.ssh/known_hosts"),
        show_default=True,
        metavar="FILE",
        help="Known host keys, in addition to /etc/ssh/ssh_known_hosts.",
    ),
    click.option(
        "--host-keys",
        type=click.Choice(["strict", "accept-new"]),
        default="strict",
        show_default=True,
        help="Refuse a host with an unknown key, or accept and keep the key. A changed key is always refused.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(1, 600),
        default=30,
        show_default=True,
        metavar="SECONDS",
        help="Limit for a connection, and for each answer.",
    ),
    click.option(
        "--sudo",
        is_flag=True,
        help="Edit files of other accounts by sudo -n python3, which must not ask for a password there.",
    ),
)
_SOURCES: Final = (
    click.option("--ec2", is_flag=True, help="The running EC2 instances with the tag value node."),
    click.option(
        "--region", "regions", multiple=True, metavar="REGION", help="With --ec2: a region; may be given several times."
    ),
    click.option(
        "--tag-role", default="lae_role", show_default=True, metavar="TAG", help="With --ec2: the name of the tag."
    ),
    click.option("--private", is_flag=True, help="With --ec2: connect to the private addresses."),
    click.option(
        "--inventory",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The hosts of an Ansible inventory, as ansible-inventory reads it.",
    ),
    click.option(
        "--group",
        default="all",
        show_default=True,
        metavar="GROUP",
        help="With --inventory: only the hosts of this group.",
    ),
    click.option("--configured", is_flag=True, help="The hosts of fleet.inventory in the configuration."),
    click.option("--csv", type=_FILE, metavar="FILE", help="The hosts in a CSV file."),
    click.option(
        "--column", default="publichost", show_default=True, metavar="NAME", help="With --csv: the column of addresses."
    ),
    click.option(
        "--name-column",
        default="",
        metavar="NAME",
        help="With --csv: the column of names; default: addresses are names.",
    ),
)
_CARE: Final = (
    click.option(
        "--nodes", multiple=True, metavar="FOLDER", help="A node's folder on the hosts; may be given several times."
    ),
    click.option(
        "--restart",
        default="",
        metavar="COMMAND",
        help="The command that restarts nodes; default: ~/restart.sh if it exists, else their units tahoe@NODE.",
    ),
    click.option(
        "--no-restart", is_flag=True, help="Restart nothing: nodes read their configuration at their next start."
    ),
    click.option("--restart-always", is_flag=True, help="Restart even if nothing changed, as after a failed restart."),
    click.option(
        "--parallel",
        type=click.IntRange(1, MAX_PARALLEL),
        default=8,
        show_default=True,
        metavar="N",
        help="Hosts at a time.",
    ),
    click.option("--dry-run", is_flag=True, help="Show the changes, and make none."),
)


def reach(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options of Reach, and its `reach`."""
    return _gathered(function, "reach", Reach, _REACH)


def sources(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options of Sources, and its `sources`."""
    return _gathered(function, "sources", Sources, _SOURCES)


def care(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options of Care, and its `care`."""
    return _gathered(function, "care", Care, _CARE)


def _gathered(
    function: Callable[..., Any], name: str, kind: Any, options: tuple[Callable[..., Any], ...]
) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        kwargs[name] = kind(**{field: kwargs.pop(field) for field in kind._fields})
        return function(*args, **kwargs)

    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


# ---- what they mean --------------------------------------------------------------------------------------------------


def chosen(
    invocation: Invocation, hosts: Sequence[str], sources: Sources, reach: Reach
) -> tuple[list[Target], list[Passed]]:
    """The chosen hosts, and those of lists that are passed over. Ends the command when there are none."""
    from lae_monitor.core.printable import one_line
    from lae_monitor.fleet import targets
    from lae_monitor.fleet.ec2 import CannotAsk

    names = invocation.settings.fleet.inventory
    passed: list[Passed] = []
    try:
        listed = targets.from_arguments(hosts, names)
        if sources.csv is not None:
            more, passed_over = targets.from_csv(sources.csv, sources.column, sources.name_column, names)
            listed, passed = listed + more, passed + passed_over
        if sources.configured:
            listed += targets.from_configuration(names)
        if sources.inventory is not None:
            of_group = targets.from_ansible(sources.inventory, sources.group)
            listed += [one._replace(user="") for one in of_group] if reach.user else of_group
        if sources.ec2:
            more, passed_over = targets.from_ec2(sources.regions, sources.tag_role, private=sources.private)
            listed, passed = listed + more, passed + passed_over
        once = targets.each_once(listed)
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
    """Ends the command if the key cannot be used: every host would fail for it."""
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
    """The content of an option's file; - is standard input. Ends the command when it cannot be read."""
    try:
        with click.open_file(path, encoding="utf-8-sig") as file:
            return str(file.read(MAX_VALUE))
    except (OSError, UnicodeDecodeError) as error:
        invocation.fail(f"{option} {path}: {getattr(error, 'strerror', None) or 'that is no text'}", EXIT_USAGE)


def cluster_of(invocation: Invocation, cluster: str | None) -> str:
    """The cluster, by default the fleet's. Ends the command for an invalid name."""
    from lae_monitor.core.names import ClusterName
    from lae_monitor.core.refusals import Refused

    try:
        return ClusterName(cluster or invocation.settings.fleet.name)
    except Refused as refused:
        invocation.fail(str(refused), EXIT_USAGE)
