"""`lae-monitor store`."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import click

from lae_monitor.core.limits import format_size
from lae_monitor.terminal.answers import served
from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_TRY_AGAIN, EXIT_UNAVAILABLE, Invocation, common
from lae_monitor.terminal.owner import as_owner
from lae_monitor.terminal.progress import progress
from lae_monitor.terminal.table import Column, table

T = TypeVar("T")


@click.group()
@common
def store(_invocation: Invocation) -> None:
    """The searchable copy of the archive. Delete it, rebuild it: the answers are the same."""


@store.command()
@common
def status(invocation: Invocation) -> None:
    """Tables, rows, bytes; how far the mover is; what is in quarantine."""
    running = ask(invocation, "GET", "/api/store")
    tables: list[dict[str, Any]] = running["tables"] if running else as_owner_of_store(invocation, _tables)
    moving = running["moving"] if running else None

    def text() -> str:
        rows = ((row["table"], int(row["rows"]), format_size(int(row["bytes"])), int(row["parts"])) for row in tables)
        lines = table(("table", "rows", Column("on disk", right=True), "parts"), rows)
        if moving is None:
            lines.append("serve is not running: nothing is moved into the store until it is")
        else:
            lines.append(
                f"mover: {moving['waiting']:,} files still to come, the oldest waits for {moving['oldest']:.1f} s; "
                f"{moving['rows']:,} rows in {moving['batches']:,} batches since the start"
            )
            lines += moving["set_aside"]
            if moving["error"]:
                lines.append(f"mover: {moving['error']}")
        return "\n".join(lines)

    invocation.answer({"tables": tables, "moving": moving}, text)


@store.command()
@common
def rebuild(invocation: Invocation) -> None:
    """Make the store anew from the archive. The old one answers until the new one is whole."""
    began = time.monotonic()
    if ask(invocation, "POST", "/api/store/rebuild"):
        with progress(invocation, "rows") as tell:
            while (state := ask(invocation, "GET", "/api/store/rebuild")) and state["running"]:
                tell(state["rows"])
                time.sleep(0.5)
        if state is None:
            invocation.fail("serve went away meanwhile", EXIT_UNAVAILABLE, following="lae-monitor store rebuild")
        if state["error"]:
            invocation.fail(state["error"], EXIT_FINDINGS, following="lae-monitor store status")
        rows = state["rows"]
    else:
        rows = as_owner_of_store(invocation, _rebuild_alone)
    seconds = time.monotonic() - began
    invocation.answer(
        {"rows": rows, "seconds": round(seconds, 3)},
        f"rebuilt: {rows:,} rows in {seconds:.1f} s\nNext: lae-monitor store status",
    )


def ask(invocation: Invocation, method: str, path: str, *, seconds: float = 30) -> dict[str, Any] | None:
    """What a running `serve` answers; None when none runs on this state folder."""
    running = served(invocation, seconds=seconds)
    if running is None:
        return None
    answer: dict[str, Any] = running.post(path) if method == "POST" else running.get(path)
    return answer


def _nothing_yet(invocation: Invocation) -> NoReturn:
    invocation.fail(
        f"nothing runs on {invocation.settings.state.path}, and nothing is stored yet",
        EXIT_UNAVAILABLE,
        following="start it: lae-monitor run",
    )


def as_owner_of_store(invocation: Invocation, job: Callable[[Invocation], Coroutine[Any, Any, T]]) -> T:
    with as_owner(invocation.settings.state.path):
        return asyncio.run(job(invocation))


async def _tables(invocation: Invocation) -> list[dict[str, Any]]:
    from lae_monitor.service.serve import opened_store
    from lae_monitor.store import StoreError

    if not invocation.settings.store_path.is_dir():  # looking must not make it, as whom ever
        _nothing_yet(invocation)
    try:
        async with opened_store(invocation.settings) as opened:
            return await opened.status()
    except StoreError as error:
        invocation.fail(str(error), EXIT_UNAVAILABLE, following="lae-monitor serve")


async def _rebuild_alone(invocation: Invocation) -> int:
    from lae_monitor.archive.identity import NotOurs
    from lae_monitor.archive.installation import installation
    from lae_monitor.mover.rebuild import rebuild as rebuild_store
    from lae_monitor.process.running import AlreadyRunning, only_one, opened_archive
    from lae_monitor.service.serve import PROCESS, opened_mover
    from lae_monitor.store import StoreError

    settings = invocation.settings
    if not settings.state.path.is_dir():
        _nothing_yet(invocation)
    try:
        with only_one(settings.state.path, PROCESS):
            # What is in the folder does not matter: it is made anew.
            await asyncio.to_thread(installation(settings).adopt, settings.store_path, "store")
            async with opened_archive(settings, PROCESS) as archive, opened_mover(settings, archive) as mover:
                with progress(invocation, "rows") as tell:
                    return (await rebuild_store(mover, lambda state: tell(state.rows))).rows
    except AlreadyRunning as error:  # and it did not answer: it starts, or is stuck
        invocation.fail(str(error), EXIT_TRY_AGAIN, following="try again; if that does not help, look at its log")
    except (StoreError, NotOurs) as error:
        invocation.fail(str(error), EXIT_UNAVAILABLE, following="lae-monitor store status")
