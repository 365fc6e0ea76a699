"""`lae-monitor host`."""

from collections.abc import Mapping
from typing import Any, Final

import click

from lae_monitor.core.kind import Kinds
from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_USAGE, Invocation, common
from lae_monitor.terminal.table import Cell, Column, Painted, sparkline, table

WIDTH: Final = 56  # characters of the overview of a host
COLUMNS: Final = (
    "host", "cluster", "last 24 hours", "worst", "heard", Column("reported in 24 h (and in all)", spare=29),
)  # fmt: skip


@click.group()
@common
def host(_invocation: Invocation) -> None:
    """The hosts, and one host's timeline."""


@host.command(name="list")
@click.option("--cluster", default="", help="Only the hosts of this cluster.")
@common
def list_hosts(invocation: Invocation, cluster: str) -> None:
    """List all hosts that ever reported, the worst first: last 24 hours, last contact, kinds of reports.

    \b
    lae-monitor host list
    lae-monitor host list --cluster hpc.uio.no --json
    """
    from lae_monitor.core.printable import one_line
    from lae_monitor.terminal.answers import answers

    with answers(invocation) as asked:
        answer = asked.get("/api/hosts", cluster=cluster)
    hosts = answer["hosts"]
    if not hosts and cluster and not invocation.as_json:
        message = f"no host of cluster {one_line(cluster)} has reported"
        invocation.fail(message, EXIT_FINDINGS, following="lae-monitor host list, for all clusters")
    if not hosts and not invocation.as_json:
        invocation.fail("no host has reported yet", EXIT_FINDINGS, following=", or ".join(invocation.kinds.first))
    invocation.answer(answer, lambda: "\n".join(table(COLUMNS, map(_cells, hosts))))
    if not hosts:
        raise SystemExit(EXIT_FINDINGS)
    if not invocation.as_json:
        click.echo(f"Next: lae-monitor host show {one_line(hosts[0]['host'])}", err=True)


def _cells(found: Mapping[str, Any]) -> list[Cell]:
    from lae_monitor.terminal.table import when

    counts = (
        f"{kind} {found['counts_24h'].get(kind, 0):,} ({total:,})" for kind, total in sorted(found["counts"].items())
    )
    heard = f"silent since {when(found['silent_since'])}" if found["silent"] else _ago(found["silent_for"])
    return [
        found["host"], found["cluster"], sparkline(found["hours"], found["hours_worst"]),
        Painted(found["worst"] or "-", found["worst"]), Painted(heard, "warning" if found["silent"] else ""),
        ", ".join(counts),
    ]  # fmt: skip


def _ago(seconds: float | None) -> str:
    from lae_monitor.core.time import format_duration

    if seconds is None:
        return "never"
    return "now" if seconds < 1 else format_duration(seconds)


@host.command()
@click.argument("name", metavar="HOST")
@click.option("--cluster", default="", help="Which one, when clusters share a host's name.")
@click.option("--since", default="7d", show_default=True, help="How far back: 2h, 7d, 2026-11-22.")
@click.option("--limit", type=click.IntRange(1, 5_000), default=100, show_default=True, help="Events at most.")
@click.option("--routine", is_flag=True, help="Also show routine runs of Sonar.")
@common
def show(invocation: Invocation, name: str, cluster: str, since: str, limit: int, routine: bool) -> None:
    """One host's timeline, the newest first.

    \b
    lae-monitor host show ml6.hpc.uio.no
    lae-monitor host show storage3 --cluster lae --since 2d
    """
    from lae_monitor.query.grammar import Filter, Query, Text
    from lae_monitor.query.writing import format_query
    from lae_monitor.terminal.answers import address, answers

    query = format_query(Query((Filter("since", (Text(since),)),)))
    with answers(invocation) as asked:
        cluster = cluster or _cluster_of(invocation, asked.get("/api/hosts", host=name)["hosts"], name)
        page = asked.get(
            address("host", cluster or "-", name) + ".json", q=query, limit=limit, routine="1" if routine else None
        )
    invocation.answer(page, lambda: _timeline(page))
    if not invocation.as_json:
        _following(page, limit, invocation.kinds)
    if not page["events"] and not page["gaps"]:
        raise SystemExit(EXIT_FINDINGS)


def _cluster_of(invocation: Invocation, found: list[dict[str, Any]], name: str) -> str:
    from lae_monitor.core.printable import one_line

    if not found:
        invocation.fail(f"no host is named {one_line(name)}", EXIT_FINDINGS, following="lae-monitor host list")
    if len(found) > 1:
        clusters = ", ".join(sorted(one_line(item["cluster"]) for item in found))
        invocation.fail(
            f"{one_line(name)} is in several clusters: {clusters}",
            EXIT_USAGE,
            following="say which with --cluster NAME",
        )
    return str(found[0]["cluster"])


def _timeline(page: Mapping[str, Any]) -> str:
    from lae_monitor.core.printable import one_line
    from lae_monitor.terminal.table import event_lines, painted, when

    summary = page["summary"]
    name = painted(one_line(page["host"]), bold=True)
    lines = [
        f"{name}  {one_line(page['cluster'])}  last heard {when(summary['last_heard'])}"
        + (painted(f"  silent since {when(summary['silent_since'])}", "warning") if summary["silent"] else "")
    ]
    if page["node"]:
        lines.append(f"  {one_line(page['node']['description'])}, {page['node']['cores']} cores")
    counts, worst = _overview(page["activity"])
    lines += [f"  {page['span']:>3} {sparkline(counts, worst)}", ""]
    lines += event_lines(page["events"], with_host=False)
    for gap in page["gaps"]:
        lines.append(painted(f"{when(gap['end'])}  no samples since {when(gap['start'])}", "warning"))
    return "\n".join(lines)


def _overview(activity: Mapping[str, Any]) -> tuple[list[int], list[str]]:
    """Events and worst levels in WIDTH pieces of the overview's time."""
    from lae_monitor.terminal.table import worse

    pieces = max((activity["until"] - activity["since"]) / activity["bucket"], 1.0)
    counts, worst = [0] * WIDTH, [""] * WIDTH
    for bucket in activity["buckets"]:
        at = min(int(bucket["at"] / pieces * WIDTH), WIDTH - 1)
        counts[at] += bucket["events"]
        worst[at] = worse(worst[at], bucket["worst"])
    return counts, worst


def _following(page: Mapping[str, Any], limit: int, kinds: Kinds) -> None:
    from lae_monitor.core.printable import one_line

    events = page["events"]
    if page["older"]:
        click.echo(f"shown are the newest {limit}; further ones with --limit", err=True)
    for kind in kinds:
        if kind.runs and not page["routine"] and page["summary"]["counts"].get(kind.event):
            click.echo(f"{kind.runs} with nothing wrong are left out; with --routine they are shown", err=True)
    following = f"lae-monitor report show {one_line(events[0]['id'])}" if events else "a longer time: --since 30d"
    click.echo(f"Next: {following}", err=True)
