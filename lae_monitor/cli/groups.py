"""`lae-monitor group`."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from lae_monitor.terminal.options import EXIT_FINDINGS, Invocation, common
from lae_monitor.terminal.table import Cell, Column, Painted, table

if TYPE_CHECKING:
    from lae_monitor.query.decisions import Act

COLUMNS: Final = (
    "id", "last", "worst", "kind", Column("count", right=True), "on", "30 days",
    Column("what they have in common", spare=40), "",
)  # fmt: skip
LISTS: Final = (Column(), Column(least=8), Column(), Column(spare=40))  # of one group; set in by an empty column
_SINCE: Final = click.option(
    "--since", default="", metavar="TIME", help="Look back so far: 7d, 2026-11-01. Default: 90d."
)
_NOTE: Final = click.option("--note", default="", metavar="TEXT", help="The reason, kept with the decision.")


@click.group()
@common
def group(_invocation: Invocation) -> None:
    """Groups of events that probably have the same cause, on any host: list, show, merge, close."""


@group.command("list")
@click.option("--kind", multiple=True, metavar="KIND", help="Of this kind: crash, incident. May be repeated.")
@click.option("--product", default="", help="Crashes of this product.")
@_SINCE
@click.option(
    "--state",
    type=click.Choice(["active", "open", "regressed", "closed", "all"]),
    default="active",
    show_default=True,
    help="active: open or regressed.",
)
@click.option(
    "--sort",
    type=click.Choice(["last", "first", "count", "hosts", "level"]),
    default="last",
    show_default=True,
    help="Order: newest event, newest group, most events, most hosts, worst level.",
)
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True, help="Groups at most.")
@common
def list_(invocation: Invocation, kind: tuple[str, ...], **given: Any) -> None:
    """List the groups, the newest event first. Exits 1 when there are none.

    \b
    lae-monitor group list
    lae-monitor group list --kind crash --product Firefox --since 7d --sort count
    """
    from lae_monitor.terminal.answers import answers

    with answers(invocation) as asked:
        found = asked.get("/api/groups", q=f"kind:{','.join(kind)}" if kind else "", **given)
    shown = found["groups"]
    if shown or invocation.as_json:
        invocation.answer(found, lambda: "\n".join(table(COLUMNS, map(_cells, shown))))
    if not invocation.as_json:
        more = f"; shown are the first {len(shown):,}" if len(shown) < found["total"] else ""
        click.echo(f"{found['total']:,} groups since {found['since'][:10]}{more}", err=True)
        following = f"group show {shown[0]['id']}" if shown else "group list --state all, or a longer --since"
        click.echo(f"Next: lae-monitor {following}", err=True)
    if not shown:
        raise SystemExit(EXIT_FINDINGS)


def _cells(found: Mapping[str, Any]) -> list[Cell]:
    from lae_monitor.terminal.table import sparkline, when

    level = found["worst"]
    return [
        found["id"], Painted(when(found["last"]), "debug"), Painted(level, level), found["kind"], _count(found),
        _on(found), sparkline(found["days"], [level] * len(found["days"])), Painted(found["group"], level),
        "" if found["state"] == "open" else f"[{found['state']}]",
    ]  # fmt: skip


def _on(found: Mapping[str, Any]) -> str:
    return f"{found['places']:,} {'host' if found['places'] == 1 else 'hosts'}"


def _count(found: Mapping[str, Any]) -> str:
    """How many came, and how many of them were not the same crash once more."""
    twice = found["separate"] < found["events"]
    return f"{found['events']:,} ({found['separate']:,})" if twice else f"{found['events']:,}"


@group.command()
@click.argument("id_", metavar="ID")
@_SINCE
@common
def show(invocation: Invocation, id_: str, since: str) -> None:
    """Show one group: why its reports belong together, hosts, versions, newest reports, decisions.

    ID is as the list has it; its beginning will do.

    \b
    lae-monitor group show 4f2a9c
    """
    from lae_monitor.terminal.answers import address, answers

    with answers(invocation) as asked:
        found = asked.get(address("api", "groups", id_), since=since)
    invocation.answer(found, lambda: "\n".join([*_facts(found), *_lists(found)]))
    if not invocation.as_json and found["reports"]:
        import shlex

        from lae_monitor.core.printable import one_line

        click.echo(f"Next: lae-monitor report show {shlex.quote(one_line(found['reports'][0]['id']))}", err=True)


def _facts(page: Mapping[str, Any]) -> Iterator[str]:
    from lae_monitor.core.printable import one_line
    from lae_monitor.terminal.table import painted, sparkline, when

    found = page["group"]
    level = found["worst"]
    yield painted(one_line(found["group"]), level)
    yield f"  {one_line(found['title'])}"
    yield f"  id        {found['id']}, {one_line(found['kind'])}, {found['state']}"
    yield f"  count     {_count(found)} on {_on(found)}"
    if found["separate"] < found["events"]:
        yield "            (in brackets: without what came more than once)"
    yield f"  first     {when(found['first'])}, looked at since {when(page['since'])}"
    yield f"  last      {when(found['last'])}"
    yield f"  24 hours  {sparkline(found['hours'], [level] * len(found['hours']))}|"
    yield f"  30 days   {sparkline(found['days'], [level] * len(found['days']))}|"
    yield f"  why       {one_line(found['why'])}"
    if found["into"]:
        yield f"  merged    into {one_line(found['into'])}, and counted there"
    if found["closed"]:
        yield f"  closed    {when(found['closed'])}"
    if found["note"]:
        yield f"  note      {one_line(found['note'])}"


def _span(one: Mapping[str, Any]) -> tuple[Cell, ...]:
    from lae_monitor.terminal.table import when

    return "", one["events"], f"{when(one['first'])} to {when(one['last'])}"


def _lists(page: Mapping[str, Any]) -> Iterator[str]:
    from lae_monitor.core.printable import one_line
    from lae_monitor.terminal.table import event_lines, painted, when

    yield "\n" + painted("Hosts", bold=True)
    yield from table(LISTS, ((*_span(one), f"{one['host'] or 'no host'} ({one['cluster']})") for one in page["hosts"]))
    if page["versions"]:
        yield "\n" + painted("Versions", bold=True)
    yield from table(LISTS, ((*_span(one), one["version"]) for one in page["versions"]))
    if page["members"]:
        yield "\n" + painted("Merged into it", bold=True)
    yield from table(LISTS, (("", one["events"], one["id"], one["group"]) for one in page["members"]))
    if page["decisions"]:
        yield "\n" + painted("Decisions", bold=True)
    for step in page["decisions"]:
        said = " ".join(filter(None, (step["act"], step["into"] and f"into {step['into']}", step["note"])))
        yield f"  {when(step['time'])}  {one_line(step['by'])}: {one_line(said)}"
    yield "\n" + painted("Newest reports", bold=True)
    for row, line in zip(page["reports"], event_lines(page["reports"]), strict=True):
        yield line + ("  (came before already)" if row["id"] in page["twice"] else "")


@group.command()
@click.argument("from_", metavar="FROM...", nargs=-1, required=True)
@click.argument("into", metavar="INTO")
@_NOTE
@common
def merge(invocation: Invocation, from_: tuple[str, ...], into: str, note: str) -> None:
    """Merge groups into another one, which counts their events from then on.

    \b
    lae-monitor group merge 4f2a9c 81b07e 0c55d1 --note "all from the same free()"
    """
    _decide(invocation, "merge", from_, note=note, into=into)


@group.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@_NOTE
@common
def unmerge(invocation: Invocation, ids: tuple[str, ...], note: str) -> None:
    """Take merged groups out of the group that counts them.

    \b
    lae-monitor group unmerge 4f2a9c
    """
    _decide(invocation, "unmerge", ids, note=note)


@group.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@_NOTE
@common
def close(invocation: Invocation, ids: tuple[str, ...], note: str) -> None:
    """Close groups. If one happens again, it comes back as regressed.

    \b
    lae-monitor group close 4f2a9c --note "mended in 1.20.1"
    """
    _decide(invocation, "close", ids, note=note)


@group.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@_NOTE
@common
def reopen(invocation: Invocation, ids: tuple[str, ...], note: str) -> None:
    """Reopen closed groups.

    \b
    lae-monitor group reopen 4f2a9c
    """
    _decide(invocation, "reopen", ids, note=note)


def _decide(invocation: Invocation, act: Act, ids: Sequence[str], *, note: str, into: str = "") -> None:
    """Decides of each group in turn."""
    from urllib.parse import urlencode

    from lae_monitor.terminal.answers import address, answers

    by = getpass.getuser()
    fields = {name: value for name, value in (("note", note), ("into", into), ("by", by)) if value}
    with answers(invocation, decides=True) as asked:
        changed = [asked.post(f"{address('api', 'groups', id_, act)}?{urlencode(fields)}") for id_ in ids]
    done = {"close": "closed", "reopen": "open again", "merge": "merged", "unmerge": "by itself again"}[act]

    def text() -> str:
        return "\n".join(
            f"{one['id']}: {done}" + (f" into {one['decided']['into']}" if act == "merge" else "") for one in changed
        )

    invocation.answer(changed, text)
    if not invocation.as_json:
        shown = changed[0]["decided"]["into"] if act == "merge" else changed[0]["id"]
        click.echo(f"Next: lae-monitor group show {shown}", err=True)
