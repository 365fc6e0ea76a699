"""The part of `lae-monitor import` that takes over crashes: those of Antenna or Socorro, or of a tar file."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from lae_monitor.core.limits import TiB, format_size
from lae_monitor.core.time import DAY, format_duration
from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_TRY_AGAIN, EXIT_UNAVAILABLE, EXIT_USAGE, Import, Invocation
from lae_monitor.terminal.owner import as_caller, as_owner
from lae_monitor.terminal.progress import progress

if TYPE_CHECKING:
    from lae_monitor.kinds.crashes.takeover.found import Finds
    from lae_monitor.kinds.crashes.takeover.importer import Importer, Summary
    from lae_monitor.mover.ages import Rules

PROCESS: Final = "import"
MONTH: Final = 30 * DAY
UNLIMITED: Final = 1024 * TiB  # the default of max_kept
MAX_NAMED: Final = 100  # of what could not be read; --json names all


def take_over(invocation: Invocation, path: Path, wanted: Import) -> None:
    """Takes over the crashes below `path`; ends the command, with what was done."""
    from lae_monitor.kinds.crashes.takeover import importer  # noqa: F401 - before we become somebody else
    from lae_monitor.kinds.crashes.takeover.found import find
    from lae_monitor.mover import ages  # noqa: F401
    from lae_monitor.process.running import AlreadyRunning

    layout, name, map_, move, yes, dry_run = wanted
    if map_ is not None:
        invocation.fail("--map is for incidents", EXIT_USAGE, following="--host NAME, for crashes of one host")
    try:
        found = find(path, layout)
    except OSError as error:
        following = "name the folder that holds the days, such as 20261122, or flogtool's, with gatherer.tac"
        invocation.fail(str(error), EXIT_USAGE, following=following)
    state = invocation.settings.state.path
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with as_owner(state):
            if move and not dry_run:
                _ask_to_move(invocation, path, layout, name, yes=yes)
            summary, error_text = asyncio.run(_import(invocation, found, name, move=move, dry_run=dry_run))
    except AlreadyRunning as error:
        invocation.fail(str(error), EXIT_TRY_AGAIN, following="wait for it, then import again")
    _report(invocation, summary, error_text, dry_run=dry_run)


async def _import(invocation: Invocation, found: Finds, host: Any, *, move: bool, dry_run: bool) -> tuple[Summary, str]:
    """What was done, and why it ended before the end, if it did."""
    from lae_monitor.archive import ArchiveError
    from lae_monitor.archive.archive import archive_of
    from lae_monitor.core.names import ClusterName
    from lae_monitor.kinds.crashes.takeover.importer import Importer
    from lae_monitor.process.running import only_one

    settings = invocation.settings
    archive = archive_of(settings, PROCESS)
    with only_one(settings.state.path, PROCESS):
        try:
            await archive.open()
        except (ArchiveError, OSError) as error:
            invocation.fail(str(error), EXIT_UNAVAILABLE, following="lae-monitor archive status")
        try:
            importer: Importer = Importer(
                archive, ClusterName(settings.fleet.name), host, move=move, dry_run=dry_run, as_caller=as_caller
            )
            try:
                with progress(invocation, "crashes") as tell:
                    await importer.take(found, lambda summary: tell(_count(summary)))
            except (ArchiveError, OSError) as error:
                return importer.summary, str(error)
            return importer.summary, ""
        finally:
            await archive.close()


def _ask_to_move(invocation: Invocation, path: Path, layout: str, host: Any, *, yes: bool) -> None:
    """Says what retention would take within a month of what is imported; returns when the sources may be removed."""
    from lae_monitor.kinds.crashes.takeover.found import find
    from lae_monitor.mover.ages import rules_of

    kept = rules_of(invocation.settings)
    products = kept.of("crashes")
    if min(kept.keep["crashes"], *products.keep.values(), MONTH) < MONTH or products.room < UNLIMITED:
        with as_caller():
            found = find(path, layout)
        summary, _ = asyncio.run(_import(invocation, found, host, move=True, dry_run=True))
        losses = list(_within_a_month(kept, summary, asyncio.run(_bytes_of_crashes(invocation))))
    else:
        losses = []
    sentence = "; ".join(losses) or "retention takes none of it"
    if not invocation.as_json:
        click.echo(f"within a month of the import: {sentence}", err=True)
    if yes:
        return
    if sys.stdin.isatty() and not invocation.as_json:
        if click.confirm(f"Import, and remove from {path} what was read back?", err=True):
            return
        invocation.fail("nothing was imported", EXIT_USAGE, following="without --move, what is there stays there")
    if losses:
        invocation.fail(
            f"nothing was imported: within a month, {sentence}",
            EXIT_USAGE,
            following="a longer [retention]; or leave out --move; or --yes",
        )


def _within_a_month(kept: Rules, summary: Summary, present: int) -> Iterator[str]:
    """What retention would take, a sentence each; `present`: bytes of crashes that the archive has."""
    products = kept.of("crashes")
    for product, count in sorted(summary.products.items()):
        seconds = products.keep.get(product, kept.keep["crashes"])
        if seconds < MONTH:
            key = "product_retention" if product in products.keep else "retention.crashes"
            yield f"all {count:,} of {product or 'no product'} go after {format_duration(seconds)} ({key})"
    excess = present + summary.bytes - products.room
    if excess > 0:
        yield f"{format_size(excess)} go at once, the oldest first (max_kept = {format_size(products.room)})"


async def _bytes_of_crashes(invocation: Invocation) -> int:
    from lae_monitor.archive import Archive
    from lae_monitor.mover.ages import folders_of

    archive = await Archive(invocation.settings.archive_roots, PROCESS).open()
    try:
        return sum([entry.size async for _, entries in folders_of(archive, "crashes") for entry in entries])
    finally:
        await archive.close()


def _count(summary: Summary) -> int:
    return summary.imported + summary.already + len(summary.unreadable)


def _line(summary: Summary) -> str:
    return (
        f"{summary.imported:,} imported ({format_size(summary.bytes)}), {summary.already:,} there already, "
        f"{len(summary.unreadable):,} not readable, {summary.removed:,} removed"
    )


def _report(invocation: Invocation, summary: Summary, error_text: str, *, dry_run: bool) -> None:
    from lae_monitor.core.printable import one_line

    following = "lae-monitor search kind:crash"
    code = 0
    if summary.unreadable:
        code, following = EXIT_FINDINGS, "look at what could not be read; it was left where it is"
    if error_text:
        code, following = EXIT_TRY_AGAIN, "lae-monitor archive status; then import again, it goes on where it was"

    def text() -> str:
        named = [
            f"not readable: {one_line(where)}: {one_line(why, 300)}" for where, why in summary.unreadable[:MAX_NAMED]
        ]
        more = len(summary.unreadable) - len(named)
        rest = [f"and {more:,} more; --json names all"] if more else []
        stopped = [f"stopped: {error_text}"] if error_text else []
        return "\n".join([*named, *rest, *stopped, ("would be: " if dry_run else "") + _line(summary)])

    invocation.answer(
        {
            "imported": summary.imported,
            "already": summary.already,
            "removed": summary.removed,
            "bytes": summary.bytes,
            "unreadable": [item._asdict() for item in summary.unreadable],
            "error": error_text,
            "dry_run": dry_run,
            "next": following,
        },
        text,
    )
    if not invocation.as_json:
        click.echo(f"Next: {following}", err=True)
    raise SystemExit(code)
