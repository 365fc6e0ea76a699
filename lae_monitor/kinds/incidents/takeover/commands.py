"""Commands that take over from flogtool's gatherer: `lae-monitor import`, and `lae-monitor gather incidents --stock DIR`.

Importing also takes the incidents in a node's own folder.
"""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click
import msgspec

from lae_monitor.core.limits import format_size
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import DAY, format_duration
from lae_monitor.terminal.options import (
    EXIT_CONFIG,
    EXIT_FINDINGS,
    EXIT_TRY_AGAIN,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    Import,
    Invocation,
)
from lae_monitor.terminal.owner import as_caller, as_owner
from lae_monitor.terminal.progress import progress
from lae_monitor.terminal.table import Cell, Column, table

if TYPE_CHECKING:
    from pathlib import Path

    from lae_monitor.config import Settings
    from lae_monitor.core.names import HostName
    from lae_monitor.kinds.incidents.takeover.importing import Importer, Summary
    from lae_monitor.kinds.incidents.takeover.plan import Node, Plan

    _Hosts = tuple[HostName | None, dict[str, HostName]]  # the one for all, and a map of them

PROCESS: Final = "import"
KIND: Final = "incidents"
MONTH: Final = 30 * DAY
MAX_NAMED: Final = 100  # of what could not be read; --json names all
MAX_TUBS: Final = 3  # of a node, in the table; --json has all
PATIENCE: Final = 20.0  # seconds that listening waits for old incidents; more of them are imported while it listens
STOP_PATIENCE: Final = 10.0  # seconds for the import to end: what it has begun, it stores
NICENESS: Final = 10  # of the import: nodes come first


def import_incidents(invocation: Invocation, path: Path, wanted: Import) -> None:
    """Never returns: ends the command, with what was done."""
    from lae_monitor.kinds.incidents.takeover import importing  # noqa: F401 - before we become somebody else
    from lae_monitor.kinds.incidents.takeover.folders import find
    from lae_monitor.kinds.incidents.takeover.plan import BadMap, make_plan, read_map
    from lae_monitor.process.running import AlreadyRunning, only_one

    _, host, map_, move, _, dry_run = wanted
    if move:
        invocation.fail(
            "--move is for crashes; incidents stay where they are",
            EXIT_USAGE,
            following="the same without --move, then remove them yourself",
        )
    state = invocation.settings.state.path
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        by_name = read_map(map_) if map_ is not None else {}
        found = find(path)
        with as_owner(state), only_one(state, PROCESS):
            with progress(invocation, "files read") as tell:
                plan = make_plan(found, tell, as_caller)
            done = asyncio.run(_take(invocation, plan, (host, by_name), dry_run=dry_run))
    except BadMap as error:
        invocation.fail(str(error), EXIT_USAGE, following="lae-monitor import --dry-run shows the nodes that there are")
    except AlreadyRunning as error:
        invocation.fail(str(error), EXIT_TRY_AGAIN, following="wait for it, then import again")
    except OSError as error:
        invocation.fail(
            str(error), EXIT_USAGE, following="name flogtool's folder, or one with files incident-*.flog.bz2"
        )
    _report(invocation, plan, *done, dry_run=dry_run)


async def _take(invocation: Invocation, plan: Plan, hosts: _Hosts, *, dry_run: bool) -> tuple[Summary, str]:
    """What was done, and why it ended before the end, if it did."""
    from lae_monitor.archive import ArchiveError, Journal
    from lae_monitor.archive.archive import archive_of
    from lae_monitor.core.names import ClusterName, HostName
    from lae_monitor.core.time import wall_clock
    from lae_monitor.kinds.incidents.metrics import RECEIPTS_LOST
    from lae_monitor.kinds.incidents.takeover.importing import Importer
    from lae_monitor.kinds.incidents.takeover.plan import name_hosts
    from lae_monitor.kinds.receipts import Receipts
    from lae_monitor.net.furls.claims import Claims

    settings = invocation.settings
    archive = archive_of(settings, PROCESS)
    try:
        await archive.open()
    except (ArchiveError, OSError) as error:
        invocation.fail(str(error), EXIT_UNAVAILABLE, following="lae-monitor archive status")
    try:
        cluster = ClusterName(settings.fleet.name)
        receipts = Receipts(Journal(archive), "incident", cluster, wall_clock, lost=RECEIPTS_LOST)
        importer: Importer = Importer(archive, receipts, cluster, dry_run=dry_run, as_caller=as_caller)
        inventory: dict[str, HostName] = {**settings.fleet.inventory}
        for address, place in Claims(settings.credentials / KIND).all().items():
            inventory.setdefault(address, HostName(place.host))
        name_hosts(plan, *hosts, await importer.stored(), inventory)
        try:
            with progress(invocation, "incidents", sum(len(node.incidents) for node in plan.nodes)) as tell:
                await importer.take(plan, lambda summary: tell(summary.imported + summary.already))
        except (ArchiveError, OSError) as error:
            return importer.summary, str(error)
        return importer.summary, ""
    finally:
        await archive.close()


# ---- what is said of it --------------------------------------------------------------------------------------------


def _line(summary: Summary) -> str:
    return (
        f"{summary.imported:,} imported ({format_size(summary.bytes)}), {summary.already:,} there already, "
        f"{len(summary.unreadable):,} not readable"
    )


def _report(invocation: Invocation, plan: Plan, summary: Summary, error: str, *, dry_run: bool) -> None:
    code, following = 0, "lae-monitor search kind:incident"
    if dry_run:
        following = "the same without --dry-run; --map FILE, or --host NAME, names hosts as you call them"
    if plan.unused:
        code, following = EXIT_FINDINGS, "look at what the map says of nodes that are not there"
    if summary.unreadable:
        code, following = EXIT_FINDINGS, "look at what could not be read; it was left where it is"
    if error:
        code, following = EXIT_TRY_AGAIN, "lae-monitor archive status; then import again, it goes on where it was"
    data = {
        "nodes": [_as_json(node) for node in plan.nodes],
        "imported": summary.imported,
        "already": summary.already,
        "copies": sum(node.copies for node in plan.nodes),
        "bytes": summary.bytes,
        "unreadable": [{"where": broken.where, "why": broken.why} for broken in summary.unreadable],
        "unused": plan.unused,
        "error": error,
        "dry_run": dry_run,
        "next": following,
    }
    invocation.answer(data, lambda: "\n".join(_text(plan, summary, error, dry_run=dry_run)))
    if not invocation.as_json:
        kept = float(getattr(invocation.settings.retention, KIND))
        if kept < MONTH:
            click.echo(
                f"retention takes all of it {format_duration(kept)} after the import (retention.incidents)", err=True
            )
        click.echo(f"Next: {following}", err=True)
    raise SystemExit(code)


def _as_json(node: Node) -> dict[str, Any]:
    return {
        "tubs": node.tubs,
        "host": node.host,
        "why": node.why,
        "incidents": len(node.incidents),
        "copies": node.copies,
        "unreadable": node.broken,
    }


def _text(plan: Plan, summary: Summary, error: str, *, dry_run: bool) -> list[str]:
    from lae_monitor.core.printable import one_line

    lines = _table(plan)
    lines += [
        f"not readable: {one_line(broken.where)}: {one_line(broken.why, 300)}"
        for broken in summary.unreadable[:MAX_NAMED]
    ]
    if len(summary.unreadable) > MAX_NAMED:
        lines.append(f"and {len(summary.unreadable) - MAX_NAMED:,} more; --json names all")
    lines += [f"the map: no node is {one_line(key)}" for key in plan.unused]
    lines += [f"stopped: {error}"] if error else []
    return [*lines, ("would be: " if dry_run else "") + _line(summary)]


def _table(plan: Plan) -> list[str]:
    def cells(node: Node) -> tuple[Cell, ...]:
        more = f" and {len(node.tubs) - MAX_TUBS} more" if len(node.tubs) > MAX_TUBS else ""
        tubs = ", ".join(tub or "-" for tub in node.tubs[:MAX_TUBS]) + more
        return node.host, node.why, len(node.incidents), node.copies, node.broken, tubs

    columns = ("host", Column("because", spare=20), "incidents", "copies", "bad", Column("TubIDs", spare=34))
    return table(columns, map(cells, sorted(plan.nodes, key=lambda node: node.host)))


# ---- in the place of flogtool's gatherer -------------------------------------------------------------------------------


def gather_stock(invocation: Invocation, folder: Path, gather: Callable[[str, Settings], int]) -> int:
    """Takes the place of flogtool's gatherer in `folder`, and runs until it is stopped; returns the exit code.

    Args:
        gather: runs the gatherer of a kind.

    Raises:
        AlreadyRunning
    """
    from lae_monitor.kinds.incidents.takeover.stock import StillRunning, look, take_over

    settings, given = _given_settings(invocation)
    try:
        stock = look(folder)
        taken = take_over(stock, settings.credentials / KIND, settings.gatherers[KIND], given)
    except StillRunning as error:
        invocation.fail(str(error), EXIT_TRY_AGAIN, following=f"kill $(cat {folder}/twistd.pid), then this again")
    except Refused as refused:
        invocation.fail(refused.detail, EXIT_CONFIG, following="docs/migrating-from-flogtool.md")
    for note in taken.notes:
        click.echo(f"lae-monitor: {note}", err=True)
    ours = msgspec.structs.replace(settings, gatherers={**settings.gatherers, KIND: taken.settings})
    with _importing(invocation, folder, settings):
        try:
            return gather(KIND, ours)
        except OSError as error:
            _explain(invocation, error)


def _given_settings(invocation: Invocation) -> tuple[Settings, set[str]]:
    """The settings, and the keys of the gatherer that are set in them."""
    from lae_monitor.config.load import load_with_origins

    loaded = load_with_origins(invocation.config, invocation.kinds)
    prefix = f"gatherers.{KIND}."
    return loaded.settings, {key.removeprefix(prefix) for key in loaded.origins if key.startswith(prefix)}


def _explain(invocation: Invocation, error: OSError) -> NoReturn:
    if error.errno == errno.EADDRINUSE:
        invocation.fail(
            str(error),
            EXIT_UNAVAILABLE,
            following="stop what has the port, perhaps flogtool's gatherer: ss -ltnp shows it",
        )
    raise error


@contextmanager
def _importing(invocation: Invocation, folder: Path, settings: Settings) -> Iterator[None]:
    """Runs a process that imports the old incidents, unless the archive has them all."""
    from lae_monitor.kinds.incidents.read import SUFFIX
    from lae_monitor.kinds.incidents.takeover.folders import names

    pattern = f"incidents/{settings.fleet.name}/incidents/*/*{SUFFIX}"
    there = {path.name.removesuffix(SUFFIX) for root in settings.archive_roots for path in root.glob(pattern)}
    if not names(folder) - there:
        yield
        return
    options = ["--config", str(invocation.config)] if invocation.config is not None else []
    command = [sys.executable, "-m", "lae_monitor", *options, "import", "--layout", "flogtool", str(folder)]
    # Its answer goes where logs go.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno())  # noqa: S603 - ourselves
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, child.pid, NICENESS)
    try:
        with suppress(subprocess.TimeoutExpired):
            child.wait(PATIENCE)
        yield
    finally:
        child.terminate()
        try:
            child.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
