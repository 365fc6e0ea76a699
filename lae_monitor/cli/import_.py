"""`lae-monitor import`: takes over what an older collector has. Each kind knows its own collectors."""

from pathlib import Path
from typing import Any

import click

from lae_monitor.core.kind import Kinds, Takeover, load
from lae_monitor.terminal.options import EXIT_USAGE, Import, Invocation, common


class Layout(click.ParamType[str]):
    """A layout of any kind, or auto."""

    name = "layout"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        return self._known(ctx).get_metavar(param, ctx)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        assert ctx is not None
        return str(self._known(ctx).convert(value, param, ctx))

    @staticmethod
    def _known(context: click.Context) -> click.Choice[str]:
        kinds = context.ensure_object(Invocation).kinds
        return click.Choice(["auto", *(one for kind in kinds if kind.takeover for one in kind.takeover.layouts)])


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--layout",
    type=Layout(),
    default="auto",
    help="Whose crashes, or incidents, they are; default: what is found there.",
)
@click.option("--move", is_flag=True, help="Crashes: remove each from PATH once it was read back from the archive.")
@click.option("--yes", is_flag=True, help="With --move: do not ask, although retention will take some of them soon.")
@click.option("--dry-run", is_flag=True, help="Read everything, and say what would be done.")
@click.option("--host", metavar="NAME", help="The host that they are of; default: the host named in each report.")
@click.option(
    "--map",
    "map_",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Incidents: hosts by TubID, as lines `TubID,host`, or as TOML in a file *.toml.",
)
@common
def import_(
    invocation: Invocation,
    path: Path,
    layout: str,
    move: bool,
    yes: bool,
    dry_run: bool,
    host: str | None,
    map_: Path | None,
) -> None:
    """Take over what an older collector has below PATH.

    Crashes: the files of Antenna or of the Socorro collector, or a tar file. Incidents: the folder of flogtool's incident
    gatherer, or a node's own logs/incidents.

    Each keeps its id. What is in the archive already is skipped, what cannot be read is named and left where it is.
    Gatherers and `serve` may run meanwhile. Retention counts from the import, however old they are; --move says first what
    retention would take within a month, and asks.

    \b
    Exit code 0 when everything was taken over, 1 when something could not be read, 75 when the archive is full.
    """
    from lae_monitor.core.names import HostName
    from lae_monitor.core.refusals import Refused

    try:
        name = HostName(host) if host else None
    except Refused as refused:
        invocation.fail(f"--host: {refused}", EXIT_USAGE)
    try:
        takeover = _takeover(invocation.kinds, layout, path)
    except OSError as error:
        invocation.fail(str(error), EXIT_USAGE, following="name a folder that can be read")
    load(takeover.take)(invocation, path, Import(layout, name, map_, move, yes, dry_run))


def _takeover(kinds: Kinds, layout: str, path: Path) -> Takeover:
    """The one that has `layout`; for "auto" the first that finds its own at `path`, or else the one that needs not look."""
    known = sorted((kind.takeover for kind in kinds if kind.takeover), key=lambda takeover: not takeover.finds)
    return next(
        takeover
        for takeover in known
        if layout in takeover.layouts or (layout == "auto" and (not takeover.finds or load(takeover.finds)(path)))
    )
