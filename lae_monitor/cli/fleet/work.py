"""Works on hosts, shows what became of each, and ends the command: what register, unregister and set-option share."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from lae_monitor.terminal.options import EXIT_FINDINGS, Invocation
from lae_monitor.terminal.progress import progress
from lae_monitor.terminal.table import Cell, Column, Painted, table

if TYPE_CHECKING:
    from lae_monitor.fleet.registering import Node, Order, Outcome
    from lae_monitor.fleet.targets import Passed, Target
    from lae_monitor.terminal.hosts import Care, Reach

MAX_OUTPUT: Final = 12  # lines of what a restart said
MAX_LINE: Final = 200  # characters of one
_COLUMNS: Final = ("host", "address", Column("nodes", spare=20), Column("restart", spare=16), "heard", "")
_STATES: Final = {"equal": "unchanged", "missing": "not there", "untouched": "not changed"}


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


def _as_json(outcome: Outcome, contact: str | None, *, dry_run: bool) -> dict[str, Any]:
    """One host, with every value as it is."""
    target = outcome.target
    row = {
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
        "heard": contact,
    }
    problem = {"error": outcome.code, "message": outcome.why, "next": outcome.following}
    return row | (problem if outcome.code else {})


def _show(outcomes: Sequence[Outcome], contacts: Mapping[str, str], *, dry_run: bool) -> None:
    """Prints the results; of a dry run, what would be changed, too."""
    from lae_monitor.core.printable import printable

    if dry_run:
        for outcome in outcomes:
            for node in outcome.nodes:
                if node.diff:
                    click.echo(f"# {outcome.target.name}\n{printable(node.diff)}")
    rows = [_row(outcome, contacts.get(outcome.target.name, "-"), dry_run=dry_run) for outcome in outcomes]
    click.echo("\n".join(table(_COLUMNS, rows)))
    for line in _problems(outcomes):
        click.echo(line, err=True)


def _row(outcome: Outcome, contact: str, *, dry_run: bool) -> tuple[Cell, ...]:
    nodes = ", ".join(f"{node.name} {_state(node, dry_run=dry_run)}" for node in outcome.nodes)
    if outcome.status is not None:
        restart = "done" if outcome.status == 0 else f"status {outcome.status}"
    elif outcome.begun is not None:
        restart = "unknown"
    else:
        restart = f"would be {outcome.command}" if dry_run and outcome.command else "-"
    result = outcome.code.replace("_", " ") if outcome.code else "ok"
    level = "error" if outcome.code else "good" if outcome.changed else ""
    return outcome.target.name, outcome.target.address, nodes or "-", restart, contact, Painted(result, level)


def _state(node: Node, *, dry_run: bool) -> str:
    if node.state == "changed":
        return "would change" if dry_run else "changed"
    return _STATES.get(node.state, node.state)


def _problems(outcomes: Sequence[Outcome]) -> Iterator[str]:
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


def end(
    invocation: Invocation,
    outcomes: Sequence[Outcome],
    passed: Sequence[Passed],
    contacts: Mapping[str, str],
    *,
    dry_run: bool,
    following: str,
    more: dict[str, Any] | None = None,
) -> NoReturn:
    """Shows what became of every host. Exits with 1 when it did not go well on one."""
    failed = [outcome for outcome in outcomes if outcome.code]
    following = failed[0].following if failed else following
    if invocation.as_json:
        data = {
            "hosts": [_as_json(outcome, contacts.get(outcome.target.name), dry_run=dry_run) for outcome in outcomes],
            "passed_over": [one._asdict() for one in passed],
            "next": following,
            **(more or {}),
        }
        invocation.answer(data, "")
    else:
        _show(outcomes, contacts, dry_run=dry_run)
        if following:
            click.echo(f"Next: {following}", err=True)
    raise SystemExit(EXIT_FINDINGS if failed else 0)
