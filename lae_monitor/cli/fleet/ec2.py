"""`lae-monitor fleet ec2`: problems and changes of the fleet's instances on EC2."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_TRY_AGAIN, EXIT_UNAVAILABLE, Invocation, common
from lae_monitor.terminal.table import Cell, Column, Painted, table

if TYPE_CHECKING:
    from lae_monitor.config import Settings
    from lae_monitor.fleet.ec2 import Instance
    from lae_monitor.fleet.ec2_compare import Comparison, Finding, Known
    from lae_monitor.net.furls.status import HostStatus

MAX_NAME: Final = 40  # characters of a name in a table
MAX_ERROR: Final = 400  # characters; boto3 quotes whole answers
_FOLLOWING: Final = {
    "untagged": "tag {instance} with Name and {role}: monitor, node, or both with a comma between them",
    "bad_name": "give {instance} a Name of letters, digits, dots, dashes and underscores",
    "duplicate_name": "give each of {instance} a Name of its own",
    "stopped": "start {instance}, or take its tag {role} away",
    "not_reporting": "lae-monitor fleet status --host {host}",
}


@click.command()
@click.option("--region", "regions", multiple=True, metavar="REGION", help="A region; may be given several times.")
@click.option("--list", "show_list", is_flag=True, help="Print the table of all instances, changed or not.")
@click.option(
    "--tag-role",
    default="lae_role",
    show_default=True,
    metavar="TAG",
    help="The tag that names the role of an instance.",
)
@common
def ec2(invocation: Invocation, regions: tuple[str, ...], show_list: bool, tag_role: str) -> None:
    """Show problems of the instances on EC2, if anything has changed since the last run; else print nothing.

    For cron. Exits with 1 as long as there are problems, printed or not. Uses boto3's configuration, and needs the
    permission ec2:DescribeInstances.

    \b
    lae-monitor fleet ec2 --region eu-north-1
    lae-monitor fleet ec2 --list
    """
    run = _run(invocation, regions, tag_role)
    comparison = run.comparison
    if invocation.as_json:
        invocation.answer(_as_json(run), "")
    else:
        lines = [*(_table(run) if show_list else ()), *_news(run)]
        if lines:
            click.echo("\n".join(lines))
            if following := _following(comparison, tag_role):
                click.echo(f"Next: {following}", err=True)
    raise SystemExit(EXIT_FINDINGS if comparison.findings else 0)


class _Run(NamedTuple):
    """The instances of one run. `before`: the list of the last run; `cluster_of`: the cluster of a host."""

    now: Mapping[str, Sequence[Instance]]
    before: Known | None
    comparison: Comparison
    cluster_of: Callable[[str], str]


def _run(invocation: Invocation, regions: tuple[str, ...], tag_role: str) -> _Run:
    """Asks EC2, compares, writes the journal and the list. Ends the command when one of them fails."""
    from lae_monitor.core.printable import one_line
    from lae_monitor.core.refusals import Refused
    from lae_monitor.core.time import wall_clock
    from lae_monitor.fleet.ec2 import CannotAsk, ask
    from lae_monitor.fleet.ec2_compare import compare
    from lae_monitor.fleet.ec2_list import FILE, PROCESS, Unusable, read_list, write_list
    from lae_monitor.net.furls.status import fleet_status
    from lae_monitor.process.running import AlreadyRunning, only_one
    from lae_monitor.terminal.owner import as_caller, as_owner

    settings = invocation.settings
    state = settings.state.path
    if not state.is_dir():  # made here, it might be root's
        invocation.fail(
            f"there is no {state} to keep the list in", EXIT_UNAVAILABLE, following="lae-monitor check config"
        )
    try:
        with as_owner(state), only_one(state, PROCESS):
            before = read_list(state / FILE)
            with as_caller():  # whose credentials are asked with
                now = ask(regions, tag_role)
            hosts = [host for kind in invocation.kinds.registering for host in fleet_status(settings, kind.name).hosts]
            reporting = {host.host for host in hosts if host.last_heard is not None}
            comparison = compare(before, now, reporting, wall_clock, tag_role)
            run = _Run(now, before, comparison, _clusters(settings, hosts))
            if comparison.changes:
                _journal(settings, run)
            if comparison.known != before:
                write_list(state / FILE, comparison.known)
            return run
    except AlreadyRunning as error:
        invocation.fail(str(error), EXIT_TRY_AGAIN, following="try again when it has ended")
    except CannotAsk as error:
        invocation.fail(one_line(str(error), MAX_ERROR), EXIT_UNAVAILABLE, following=error.following)
    except Unusable as error:
        invocation.fail(
            one_line(str(error)), EXIT_UNAVAILABLE, following=f"remove {state / FILE}: the list begins anew"
        )
    except Refused as error:
        invocation.fail(
            f"the changes were not written to the journal, so the next run shows them again: {error}",
            EXIT_UNAVAILABLE,
            following="lae-monitor archive status",
        )
    except sqlite3.Error as error:
        invocation.fail_for_ledger(error, f"contacts with hosts cannot be read: {error}")
    except OSError as error:
        invocation.fail(
            f"{error.filename or state}: {error.strerror}",
            EXIT_UNAVAILABLE,
            following="run this as the account that owns the state folder",
        )


def _clusters(settings: Settings, hosts: Sequence[HostStatus]) -> Callable[[str], str]:
    """Which cluster a host is in: the one of its FURL or of what it reported, when that is clear; else the fleet's."""
    known: dict[str, set[str]] = {}
    for host in hosts:
        known.setdefault(host.host, set()).add(host.cluster)
    usual = str(settings.fleet.name)

    def cluster_of(host: str) -> str:
        clusters = known.get(host, {usual})
        return next(iter(clusters)) if len(clusters) == 1 else usual

    return cluster_of


def _journal(settings: Settings, run: _Run) -> None:
    import asyncio

    from lae_monitor.archive import Journal
    from lae_monitor.fleet.ec2_list import PROCESS, journal_changes
    from lae_monitor.process.running import opened_archive

    async def write() -> None:
        async with opened_archive(settings, PROCESS) as archive:
            changes, findings = run.comparison.changes, run.comparison.findings
            await journal_changes(Journal(archive), changes, findings, run.cluster_of)

    asyncio.run(write())


# ---- what people see -------------------------------------------------------------------------------------------------


def _news(run: _Run) -> Iterator[str]:
    """All findings, once something has changed; else nothing."""
    from lae_monitor.fleet.ec2_compare import NEWS

    found = run.comparison
    if not found.changes and not found.cleared:
        return
    last = {finding.key for finding in run.before.findings} if run.before is not None else set()
    again = {change.finding.key for change in found.changes if change.how == "new"}
    rows = [
        ("new" if finding.key in again or finding.key not in last else "still", finding) for finding in found.findings
    ]
    for how, finding in found.changes:
        if finding.kind == "begins":
            yield f"{finding.text[:1].upper()}{finding.text[1:]}."
        elif how == "over" or finding.kind in NEWS:
            rows.append((how, finding))
    rows.sort(key=lambda row: ["new", "over", "still"].index(row[0]))
    yield from table((Column(least=5), Column(), Column(least=15), Column(spare=40)), (_cells(*row) for row in rows))
    if found.cleared:
        count = sum(instance.exists for instances in run.now.values() for instance in instances)
        faded = ", ".join(f"{_host(finding)} {_words(finding.kind)}" for finding in found.faded)
        yield f"Everything appears to be working again: {count} instance{'s' * (count != 1)}, no findings." + (
            f" Told last time, and not repeated: {faded}." if faded else ""
        )


def _cells(how: str, finding: Finding) -> tuple[Cell, ...]:
    from lae_monitor.fleet.ec2_compare import NEWS

    is_wrong = how != "over" and finding.kind not in NEWS
    text = ", ".join(finding.instances) if how == "over" else finding.text
    return how, _host(finding), Painted(_words(finding.kind), "warning" if is_wrong else ""), text


def _host(finding: Finding) -> str:
    return finding.host[:MAX_NAME] or "-"  # a checked name


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _following(found: Comparison, tag_role: str) -> str:
    from lae_monitor.core.printable import one_line

    new = [change.finding for change in found.changes if change.how == "new" and change.finding in found.findings]
    for finding in [*new, *found.findings]:
        text = _FOLLOWING.get(finding.kind, "lae-monitor host show {host}")
        return text.format(host=finding.host, instance=", ".join(finding.instances), role=one_line(tag_role))
    return ""


def _table(run: _Run) -> list[str]:
    """Every instance, and what is wrong with it."""
    from lae_monitor.core.time import format_time
    from lae_monitor.terminal.table import when

    kinds = _kinds(run.comparison)

    def cells(one: Instance) -> tuple[Cell, ...]:
        found = ", ".join(map(_words, kinds.get(one.id, ())))
        launched = when(format_time(one.launched)) if one.launched else "-"
        return (
            one.name or "-", one.id, one.region, one.state, one.role or "-", one.private or "-", one.public or "-",
            launched, Painted(found, "warning") if found else "-",
        )  # fmt: skip

    columns = (
        Column("name", spare=12), "id", "region", "state", Column("role", spare=7), "private", "public", "launched",
        "finding",
    )  # fmt: skip
    return table(columns, (cells(one) for instances in run.now.values() for one in instances))


def _kinds(found: Comparison) -> dict[str, list[str]]:
    """The kinds of findings of each instance."""
    kinds: dict[str, list[str]] = {}
    for finding in found.findings:
        for instance in finding.instances:
            kinds.setdefault(instance, []).append(finding.kind)
    return kinds


def _as_json(run: _Run) -> dict[str, Any]:
    from lae_monitor.core.time import format_time

    kinds = _kinds(run.comparison)

    def as_row(finding: Finding) -> dict[str, Any]:
        return {
            "finding": finding.kind, "cluster": run.cluster_of(finding.host), "host": finding.host,
            "instances": finding.instances, "regions": finding.regions, "text": finding.text,
        }  # fmt: skip

    return {
        "instances": [
            {
                "id": one.id, "region": one.region, "name": one.name, "role": one.role, "state": one.state,
                "private": one.private, "public": one.public,
                "launched": format_time(one.launched) if one.launched else None, "findings": kinds.get(one.id, []),
            }
            for instances in run.now.values()
            for one in instances
        ],
        "findings": [as_row(finding) for finding in run.comparison.findings],
        "changes": [{"change": change.how, **as_row(change.finding)} for change in run.comparison.changes],
    }  # fmt: skip
