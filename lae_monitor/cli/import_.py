"""`lae-monitor import`: takes over what an older collector has."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from lae_monitor.cli.options import EXIT_FINDINGS, EXIT_TRY_AGAIN, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, common
from lae_monitor.cli.owner import as_caller, as_owner
from lae_monitor.core.limits import format_size
from lae_monitor.core.refusals import Refused

if TYPE_CHECKING:
    from lae_monitor.gatherers.crashes.crashmover.found import Finds
    from lae_monitor.gatherers.crashes.crashmover.importer import Importer, Summary

PROCESS: Final = "import"
TELL_EVERY: Final = 2.0  # seconds
MAX_NAMED: Final = 100  # of what could not be read; --json names all


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--layout",
    type=click.Choice(["auto", "antenna", "socorro", "tar", "flogtool"]),
    default="auto",
    help="Whose crashes, or incidents, they are; default: what is found there.",
)
@click.option("--move", is_flag=True, help="Remove each crash from PATH once it was read back from the archive.")
@click.option("--dry-run", is_flag=True, help="Read everything, and say what would be done.")
@click.option("--host", metavar="NAME", help="The host that they are of; default: what they say of themselves.")
@click.option(
    "--map",
    "map_",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Incidents: hosts by TubID, as lines `TubID,host`, or as TOML in a file *.toml.",
)
@common
def import_(
    invocation: Invocation, path: Path, layout: str, move: bool, dry_run: bool, host: str | None, map_: Path | None
) -> None:
    """Take over what an older collector has below PATH.

    Crashes: the files of Antenna or of the Socorro collector, or a tar file. Incidents: the folder of flogtool's incident
    gatherer, or a node's own logs/incidents.

    Each keeps its id. What is in the archive already is skipped, what cannot be read is named and left where it is.
    Gatherers and `serve` may run meanwhile.

    \b
    Exit code 0 when everything was taken over, 1 when something could not be read, 75 when the archive is full.
    """  # noqa: D301 - \b is click's mark for lines that it does not wrap
    from lae_monitor.cli.import_incidents import import_incidents  # noqa: PLC0415 - quick start of the command line
    from lae_monitor.core.names import HostName  # noqa: PLC0415
    from lae_monitor.gatherers.crashes.crashmover import importer  # noqa: F401, PLC0415 - before we become somebody else
    from lae_monitor.gatherers.crashes.crashmover.found import find  # noqa: PLC0415
    from lae_monitor.gatherers.incidents.importing_found import is_flogtool  # noqa: PLC0415
    from lae_monitor.service.process import AlreadyRunning  # noqa: PLC0415

    try:
        name = HostName(host) if host else None
        if layout == "flogtool" or (layout == "auto" and is_flogtool(path)):
            if move:
                invocation.fail("--move: incidents stay where they are", EXIT_USAGE, following="remove them afterwards")
            import_incidents(invocation, path, name, map_, dry_run=dry_run)
        if map_ is not None:
            invocation.fail("--map is for incidents", EXIT_USAGE, following="--host NAME, for crashes of one host")
        found = find(path, layout)
    except Refused as refused:
        invocation.fail(f"--host: {refused}", EXIT_USAGE)
    except OSError as error:
        following = "name the folder that holds the days, such as 20261122, or flogtool's, with gatherer.tac"
        invocation.fail(str(error), EXIT_USAGE, following=following)
    state = invocation.settings.state.path
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with as_owner(state):
            summary, error_text = asyncio.run(_import(invocation, found, name, move=move, dry_run=dry_run))
    except AlreadyRunning as error:
        invocation.fail(str(error), EXIT_TRY_AGAIN, following="wait for it, then import again")
    _report(invocation, summary, error_text, dry_run=dry_run)


async def _import(invocation: Invocation, found: Finds, host: Any, *, move: bool, dry_run: bool) -> tuple[Summary, str]:
    """What was done, and why it ended before the end, if it did."""
    from lae_monitor.archive import Archive, ArchiveError  # noqa: PLC0415
    from lae_monitor.core.names import ClusterName  # noqa: PLC0415
    from lae_monitor.gatherers.crashes.crashmover.importer import Importer  # noqa: PLC0415
    from lae_monitor.service.process import MOVER_SOCKET, only_one  # noqa: PLC0415

    settings = invocation.settings
    archive = Archive(
        settings.archive_roots,
        PROCESS,
        reserve=settings.archive.reserve.reserve(),
        hints=settings.state.path / MOVER_SOCKET,
    )
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
                await importer.take(found, _teller(invocation))
            except (ArchiveError, OSError) as error:
                return importer.summary, str(error)
            return importer.summary, ""
        finally:
            await archive.close()


def _teller(invocation: Invocation) -> Any:
    told = time.monotonic()

    def tell(summary: Summary) -> None:
        nonlocal told
        if time.monotonic() - told >= TELL_EVERY and not invocation.as_json:
            told = time.monotonic()
            click.echo(f"so far: {_line(summary)}", err=True)

    return tell


def _line(summary: Summary) -> str:
    return (
        f"{summary.imported:,} imported ({format_size(summary.bytes)}), {summary.already:,} there already, "
        f"{len(summary.unreadable):,} not readable, {summary.removed:,} removed"
    )


def _report(invocation: Invocation, summary: Summary, error_text: str, *, dry_run: bool) -> None:
    from lae_monitor.query.printable import one_line  # noqa: PLC0415

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
