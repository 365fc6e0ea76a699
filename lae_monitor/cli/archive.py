"""`lae-monitor archive`."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any, Final

import click

from lae_monitor.cli.store import as_owner_of_store, ask
from lae_monitor.core.limits import format_size
from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_TRY_AGAIN, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, common
from lae_monitor.terminal.owner import as_owner
from lae_monitor.terminal.table import table

RETIRE_SECONDS: Final = 3600.0  # a million files take minutes


@click.group()
@common
def archive(_invocation: Invocation) -> None:
    """The accepted reports, as they came. Everything else is made from them."""


@archive.command()
@common
def status(invocation: Invocation) -> None:
    """Health and free space of the roots; state of retention.

    Roots are in order of preference.

    Exits 1 when a root does not work, or when retention has stopped.
    """
    from lae_monitor.archive import Archive
    from lae_monitor.archive.installation import installation

    settings = invocation.settings
    if not any(root.is_dir() for root in settings.archive_roots):  # looking must not make them, as whom ever
        named = ", ".join(map(str, settings.archive_roots))
        invocation.fail(f"there is no archive yet: {named}", EXIT_UNAVAILABLE, following="start it: lae-monitor run")

    async def look() -> list[dict[str, Any]]:
        ours = installation(settings)
        opened = Archive(
            settings.archive_roots,
            "status",
            reserve=settings.archive.reserve.reserve(),
            installation=ours if ours.known() else None,  # looking does not decide which installation this is
        )
        await opened.open()
        try:
            roots = opened.health()
            for root, description in zip(opened.roots, roots, strict=True):
                if root.health == "ok":
                    space = root.files.kernel.space()
                    description |= {"free": space.available, "size": space.total}
            return roots
        finally:
            await opened.close()

    with as_owner(settings.state.path):
        roots = asyncio.run(look())
        why = _retention_stopped(settings.state.path / "mover.db")
    lines = table([""] * 3, map(_cells, roots))
    if why:
        lines += [f"retention stopped: {why}", "Next: lae-monitor archive retire --dry-run"]
    invocation.answer({"roots": roots, "retention": {"stopped": why}}, "\n".join(lines))
    if why or any(root["health"] != "ok" for root in roots):
        raise SystemExit(EXIT_FINDINGS)


def _retention_stopped(ledger: Path) -> str:
    """Why retention stopped, by the mover's ledger, which `serve` may have open; "" if it did not."""
    from lae_monitor.mover.retention import STOPPED, stopped
    from lae_monitor.store.sqlite import look

    try:
        row = look(ledger, lambda db: db.execute("SELECT value FROM facts WHERE name = ?", (STOPPED,)).fetchone())
    except (FileNotFoundError, sqlite3.Error):  # none yet, or damaged: serve says so
        return ""
    found = stopped(row[0]) if row else None
    return found.why if found is not None else ""


@archive.command()
@click.option("--dry-run", is_flag=True, help="List the files that would go; remove nothing.")
@click.option("--confirm", is_flag=True, help="Remove old reports although retention has stopped, or would stop.")
@common
def retire(invocation: Invocation, dry_run: bool, confirm: bool) -> None:
    """Remove reports that are older than [retention] allows, now.

    The same runs daily by itself.

    Retention stops when the clock jumped or less is to be kept, and it would take more than retention.max_share of a kind:
    look with --dry-run, then let it go on with --confirm. Exits 1 when it has stopped.
    """
    found = ask(
        invocation,
        "GET" if dry_run else "POST",
        f"/api/archive/retire{'?confirm=yes' if confirm else ''}",
        seconds=RETIRE_SECONDS,
    )
    if found is None:
        found = as_owner_of_store(invocation, lambda inner: _retire_alone(inner, dry_run=dry_run, confirm=confirm))
    following = "lae-monitor archive status"
    if found["stopped"]:
        following = "lae-monitor archive retire --dry-run lists what would go; --confirm lets it go"
    invocation.answer({**found, "dry_run": dry_run, "next": following}, lambda: _retired(found, dry_run=dry_run))
    if not invocation.as_json:
        click.echo(f"Next: {following}", err=True)
    if found["stopped"]:
        raise SystemExit(EXIT_FINDINGS)


async def _retire_alone(invocation: Invocation, *, dry_run: bool, confirm: bool) -> dict[str, Any]:
    from lae_monitor.mover.ages import rules_of
    from lae_monitor.mover.retention import Retention
    from lae_monitor.process.running import AlreadyRunning, only_one, opened_archive
    from lae_monitor.service.serve import PROCESS, opened_mover
    from lae_monitor.store import StoreError

    settings = invocation.settings
    if not settings.state.path.is_dir():
        invocation.fail(
            f"nothing runs on {settings.state.path}, and nothing is stored yet",
            EXIT_UNAVAILABLE,
            following="start it: lae-monitor run",
        )
    try:
        with only_one(settings.state.path, PROCESS):
            async with opened_archive(settings, PROCESS) as archive, opened_mover(settings, archive) as mover:
                retention = Retention(mover, rules_of(settings))
                if dry_run:
                    return (await retention.plan(confirmed=confirm)).as_json()
                gone, plan = await retention.run(confirmed=confirm)
                return {**plan.as_json(), "gone": gone}
    except AlreadyRunning as error:
        invocation.fail(str(error), EXIT_TRY_AGAIN, following="try again; if that does not help, look at its log")
    except StoreError as error:
        invocation.fail(str(error), EXIT_UNAVAILABLE, following="lae-monitor store status")


def _retired(found: dict[str, Any], *, dry_run: bool) -> str:
    lines = [f"newest receipt, to which ages count: {found['newest'] or 'none yet, so nothing is due'}"]
    rows = (
        (
            name,
            kind["due_files"],
            f"of {kind['files']:,} files due, {format_size(kind['due_bytes'])} of {format_size(kind['bytes'])}",
        )
        for name, kind in found["kinds"].items()
    )
    lines += table([""] * 3, rows)
    if dry_run:
        lines += [f"due: {file['path']}  received {file['received']}" for file in found["due"]]
        lines += [f"and {found['more']:,} more"] if found["more"] else []
    lines += [f"cannot be true: {file['path']}  received {file['received']}" for file in found["doubtful"]]
    if found["doubtful_files"]:
        lines.append(f"{found['doubtful_files']:,} receipts cannot be true: the clock was wrong; they do not count")
    if found["stopped"]:
        lines.append(f"stopped: {found['stopped']}")
    if not dry_run:
        lines.append(f"removed: {found['gone']:,} files")
    return "\n".join(lines)


@archive.command()
@click.argument("root", type=click.Path(path_type=Path, file_okay=False))
@common
def adopt(invocation: Invocation, root: Path) -> None:
    """Accept ROOT as a root of this installation.

    For a new disk, an emptied one, or one of another installation.

    Mount its disk first. Everything that runs notices within seconds.

    \b
    lae-monitor archive adopt /srv/archive
    """
    from lae_monitor.archive.files import ArchiveError
    from lae_monitor.archive.identity import FILE, NotOurs
    from lae_monitor.archive.installation import installation

    settings = invocation.settings
    configured = {folder.absolute() for folder in settings.archive_roots}
    is_configured = root.absolute() in configured
    if not is_configured and not root.is_dir():
        invocation.fail(
            f"{root} is no folder, and none of archive.roots: {', '.join(map(str, settings.archive_roots))}",
            EXIT_USAGE,
            following="lae-monitor archive status",
        )
    with as_owner(settings.state.path):
        try:
            ours = installation(settings)
            is_empty = ours.is_empty(root)
            before = ours.adopt(root)
        except (ArchiveError, NotOurs, OSError) as error:
            invocation.fail(str(error), EXIT_UNAVAILABLE, following="lae-monitor check config")
    following = "lae-monitor archive status" if is_configured else f"add {root} to archive.roots"

    def text() -> str:
        lines = [f"{root} is a root of this installation" + (f"; it was one of {before[:8]}" if before else "")]
        if is_empty:
            lines.append(
                f"It holds no reports. If its disk is not mounted, undo this before you mount it: rm {root / FILE}"
            )
        return "\n".join([*lines, f"Next: {following}"])

    invocation.answer({"root": str(root), "empty": is_empty, "was": before, "next": following}, text)


def _cells(root: dict[str, Any]) -> tuple[str, str, str]:
    free = f"{format_size(root['free'])} free of {format_size(root['size'])}" if "free" in root else root["error"]
    return root["health"], str(root["root"]), free
