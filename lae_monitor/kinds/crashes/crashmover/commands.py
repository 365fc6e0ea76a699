"""`lae-monitor crashmover`: hands stored crashes on to where the configuration says."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_TRY_AGAIN, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, common
from lae_monitor.terminal.owner import as_owner
from lae_monitor.terminal.table import Column, table

if TYPE_CHECKING:
    from pathlib import Path

    from lae_monitor.kinds.crashes.crashmover.ledger import Records

T = TypeVar("T")


@click.group(invoke_without_command=True)
@click.option("--forever", is_flag=True, help="Go on with what comes, until it is stopped; this is the default.")
@click.option("--all", "everything", is_flag=True, help="Try each crash that waits once, then end.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Try N crashes once, those that wait longest.")
@common
def crashmover(invocation: Invocation, forever: bool, everything: bool, count: int | None) -> None:
    """Hand stored crashes on to the destinations of [gatherers.crashes.crashmover]; the archive keeps them.

    \b
    Exit code 0 when all was sent and published, 1 when a crash or its id became a dead letter, 75 when some are to be tried
    again, 78 when no destination is configured.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    if forever + everything + (count is not None) > 1:
        invocation.fail("--forever, --all and --count exclude each other", EXIT_USAGE)
    from lae_monitor.kinds.crashes.crashmover.run import run_forever, run_once

    with _explained(invocation):
        if not everything and count is None:
            sys.exit(run_forever(invocation.settings))
        outcome = run_once(invocation.settings, count)
    is_left = outcome.failed or (count is None and (outcome.left or outcome.silent))
    code = EXIT_FINDINGS if outcome.dead else EXIT_TRY_AGAIN if is_left else 0
    following = {EXIT_FINDINGS: "lae-monitor crashmover dead", EXIT_TRY_AGAIN: "lae-monitor crashmover --all"}.get(
        code, "lae-monitor crashmover status"
    )
    invocation.answer(
        {**vars(outcome), "next": following},
        f"sent {outcome.sent:,}, not for there {outcome.skipped:,}, dead letters {outcome.dead:,}, "
        f"failed tries {outcome.failed:,}, left {outcome.left:,}"
        + "".join(f"\nnot looked into, see lae-monitor archive status: {root}" for root in outcome.silent),
    )
    _next(invocation, following)
    sys.exit(code)


@crashmover.command()
@click.argument("crash_id", required=False, metavar="[ID]")
@common
def status(invocation: Invocation, crash_id: str | None) -> None:
    """What waits for each destination and what it has; or what became of the crash ID."""
    if crash_id is not None:
        _status_of(invocation, crash_id.removeprefix("bp-"))
        return
    now = time.time()
    found = _look(
        invocation, lambda records: {name: records.backlog(name, now)._asdict() for name in records.destinations()}
    )

    def text() -> str:
        columns = ("destination", "waiting", Column("oldest", right=True), "sent", "not for it", "dead")
        rows = (
            (name, row["waiting"], f"{row['oldest']:.0f}s", row["sent"], row["skipped"], row["dead"])
            for name, row in found.items()
        )
        return "\n".join(table(columns, rows))

    dead = any(row["dead"] for row in found.values())
    following = "lae-monitor crashmover dead" if dead else ""
    invocation.answer({"destinations": found, "next": following}, text)
    _next(invocation, following)


def _status_of(invocation: Invocation, crash_id: str) -> None:
    rows = _look(invocation, lambda records: records.of(crash_id))
    if not rows:
        invocation.fail(
            f"{crash_id}: no destination was ever to get it", EXIT_FINDINGS, following="lae-monitor crashmover --all"
        )
    shown = ((row["destination"], row["state"], row["place"] or row["error"]) for row in rows)
    invocation.answer({"crash_id": crash_id, "destinations": rows}, lambda: "\n".join(table([""] * 3, shown)))


@crashmover.command()
@click.option("--limit", type=click.IntRange(min=1), default=100, help="How many are shown; default 100.")
@common
def dead(invocation: Invocation, limit: int) -> None:
    """The dead letters: crashes that a destination did not get, and why. Exits 1 when there are any."""
    found, count = _look(invocation, lambda records: (records.dead_letters(limit), records.dead_count()))
    letters = [letter._asdict() for letter in found]
    following = "mend what they say, then lae-monitor crashmover retry --all" if letters else ""

    def text() -> str:
        if not letters:
            return "no dead letters"
        shown = table(
            ["", "", Column(spare=40)], ((row["crash_id"], row["destination"], row["error"]) for row in letters)
        )
        return "\n".join([*shown, *([f"and {count - len(letters):,} more"] if count > len(letters) else [])])

    invocation.answer({"count": count, "dead": letters, "next": following}, text)
    _next(invocation, following)
    if letters:
        raise SystemExit(EXIT_FINDINGS)


@crashmover.command()
@click.argument("crash_ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@common
def retry(invocation: Invocation, crash_ids: tuple[str, ...], everything: bool) -> None:
    """Let dead letters be tried again: those of the crashes ID, or --all."""
    if everything == bool(crash_ids):
        invocation.fail("name crash ids, or say --all", EXIT_USAGE, following="lae-monitor crashmover dead")
    from lae_monitor.kinds.crashes.crashmover.ledger import Ledger

    with _ledger(invocation) as path, Ledger(path) as ledger:
        wanted = None if everything else [crash_id.removeprefix("bp-") for crash_id in crash_ids]
        count = ledger.again(wanted, time.time())
    following = "lae-monitor crashmover --all, unless one runs" if count else "lae-monitor crashmover dead"
    invocation.answer({"queued": count, "next": following}, f"{count:,} to be tried again")
    _next(invocation, following)
    if not count:
        raise SystemExit(EXIT_FINDINGS)


def _look(invocation: Invocation, read: Callable[[Records], T]) -> T:
    from lae_monitor.kinds.crashes.crashmover.ledger import look

    with _ledger(invocation) as path:
        return look(path, read)


@contextmanager
def _ledger(invocation: Invocation) -> Iterator[Path]:
    """The path of the ledger, which is there; errors within end the command."""
    from lae_monitor.kinds.crashes.crashmover.ledger import FILE

    path = invocation.settings.state.path / FILE
    with as_owner(invocation.settings.state.path), _explained(invocation):
        if not path.exists():  # looking must not make it, as whom ever
            invocation.fail(
                f"{path}: no crashmover has run yet", EXIT_UNAVAILABLE, following="lae-monitor crashmover --all"
            )
        yield path


@contextmanager
def _explained(invocation: Invocation) -> Iterator[None]:
    """Ends the command with what is wrong."""
    import sqlite3

    from lae_monitor.core.refusals import Refused
    from lae_monitor.process.running import AlreadyRunning

    try:
        yield
    except AlreadyRunning as error:
        invocation.fail(str(error), EXIT_TRY_AGAIN, following="that one does it; lae-monitor crashmover status")
    except (OSError, Refused, sqlite3.Error) as error:
        invocation.fail(str(error), EXIT_UNAVAILABLE, following="lae-monitor check config")


def _next(invocation: Invocation, following: Any) -> None:
    if following and not invocation.as_json:
        click.echo(f"Next: {following}", err=True)
