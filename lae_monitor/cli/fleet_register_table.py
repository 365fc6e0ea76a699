"""What became of hosts: a line for each, with what is wrong below; a table on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from lae_monitor.terminal.table import Cell, Column, Painted, table

if TYPE_CHECKING:
    from lae_monitor.fleet.registering import Node, Outcome

MAX_OUTPUT: Final = 12  # lines of what a restart said
MAX_LINE: Final = 200  # characters of one
_COLUMNS: Final = ("host", "address", Column("nodes", spare=20), Column("restart", spare=16), "heard", "")
_STATES: Final = {"equal": "unchanged", "missing": "not there", "untouched": "not changed"}


def as_json(outcome: Outcome, heard: str | None, *, dry_run: bool) -> dict[str, Any]:
    """One host, with every value as it is."""
    target = outcome.target
    told = {
        "host": target.name,
        "address": target.address,
        "result": "failed" if outcome.code else "changed" if outcome.changed else "equal",
        "nodes": [
            {"node": node.name, "path": node.path, "state": node.state, **({"diff": node.diff} if dry_run else {})}
            for node in outcome.nodes
        ],
        "restart": outcome.command or None,
        "status": outcome.status,
        "output": outcome.output,
        "heard": heard,
    }
    trouble = {"error": outcome.code, "message": outcome.why, "next": outcome.following}
    return told | (trouble if outcome.code else {})


def show(outcomes: Sequence[Outcome], heard: Mapping[str, str], *, dry_run: bool) -> None:
    """Prints the results; of a dry run, what would be changed, too."""
    from lae_monitor.core.printable import printable

    if dry_run:
        for outcome in outcomes:
            for node in outcome.nodes:
                if node.diff:
                    click.echo(f"# {outcome.target.name}\n{printable(node.diff)}")
    rows = [_row(outcome, heard.get(outcome.target.name, "-"), dry_run=dry_run) for outcome in outcomes]
    click.echo("\n".join(table(_COLUMNS, rows)))
    for line in _troubles(outcomes):
        click.echo(line, err=True)


def _row(outcome: Outcome, heard: str, *, dry_run: bool) -> tuple[Cell, ...]:
    nodes = ", ".join(f"{node.name} {_state(node, dry_run=dry_run)}" for node in outcome.nodes)
    if outcome.status is not None:
        restart = "done" if outcome.status == 0 else f"status {outcome.status}"
    elif outcome.begun is not None:
        restart = "unknown"
    else:
        restart = f"would be {outcome.command}" if dry_run and outcome.command else "-"
    result = outcome.code.replace("_", " ") if outcome.code else "ok"
    level = "error" if outcome.code else "good" if outcome.changed else ""
    return outcome.target.name, outcome.target.address, nodes or "-", restart, heard, Painted(result, level)


def _state(node: Node, *, dry_run: bool) -> str:
    if node.state == "changed":
        return "would change" if dry_run else "changed"
    return _STATES.get(node.state, node.state)


def _troubles(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What is wrong on each host, what it said, and what to do about it."""
    from lae_monitor.core.printable import one_line

    for outcome in outcomes:
        if not outcome.code:
            continue
        yield f"lae-monitor: {outcome.target.name}: {one_line(outcome.why)}"
        lines = outcome.output.splitlines()
        for line in lines[-MAX_OUTPUT:]:
            yield f"    {one_line(line, MAX_LINE)}"
        yield f"    to do: {one_line(outcome.following)}"
