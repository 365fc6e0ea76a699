"""`lae-monitor archive`."""

import asyncio
from typing import Any

import click

from lae_monitor.cli.options import EXIT_FINDINGS, EXIT_UNAVAILABLE, Invocation, common
from lae_monitor.cli.owner import as_owner
from lae_monitor.core.limits import format_size


@click.group()
@common
def archive(_invocation: Invocation) -> None:
    """What was accepted, as it came: the truth that everything else is made from."""


@archive.command()
@common
def status(invocation: Invocation) -> None:
    """The roots in order of preference: health, free space. Exits 1 when one of them does not work."""
    from lae_monitor.archive import Archive  # noqa: PLC0415 - quick start of the command line

    settings = invocation.settings
    if not any(root.is_dir() for root in settings.archive_roots):  # looking must not make them, as whom ever
        named = ", ".join(map(str, settings.archive_roots))
        invocation.fail(f"there is no archive yet: {named}", EXIT_UNAVAILABLE, following="start it: lae-monitor run")

    async def look() -> list[dict[str, Any]]:
        opened = Archive(settings.archive_roots, "status", reserve=settings.archive.reserve.reserve())
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
    invocation.answer({"roots": roots}, lambda: "\n".join(_line(root) for root in roots))
    if any(root["health"] != "ok" for root in roots):
        raise SystemExit(EXIT_FINDINGS)


def _line(root: dict[str, Any]) -> str:
    free = f"{format_size(root['free'])} free of {format_size(root['size'])}" if "free" in root else root["error"]
    return f"{root['health']:<8} {root['root']}  {free}"
