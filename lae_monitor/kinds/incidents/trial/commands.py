"""`lae-monitor fleet test-incident`: whether a host's incidents arrive, and if not, where they stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lae_monitor.terminal.hosts import Reach, cluster_of, reach, ready
from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, common

if TYPE_CHECKING:
    from collections.abc import Callable

    from lae_monitor.fleet.targets import Target
    from lae_monitor.kinds.incidents.trial.steps import Step


@click.command("test-incident")
@click.argument("host", metavar="HOST")
@click.option(
    "--cluster", metavar="CLUSTER", help="The cluster it belongs to; default: fleet.name of the configuration."
)
@click.option(
    "--nodes", multiple=True, metavar="FOLDER", help="The node's folder on the host; of several, the first there is."
)
@click.option(
    "--url",
    default="",
    metavar="URL",
    help="The URL of the node's web port on the host; default: that in its node.url.",
)
@click.option("--details", default="", metavar="TEXT", help="The text of the report; a mark is added.")
@click.option(
    "--wait",
    type=click.FloatRange(1, 3600),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Limit for the incident to arrive.",
)
@reach
@common
def test_incident(
    invocation: Invocation,
    host: str,
    cluster: str | None,
    nodes: tuple[str, ...],
    url: str,
    details: str,
    wait: float,
    reach: Reach,
) -> None:
    """Press the incident button of a node over SSH, and follow the report until it is stored, classified and searchable.
    Shows the result of each step, the step that failed, and what to look at next. HOST: [NAME=][USER@]ADDRESS[:PORT].

    \b
    lae-monitor fleet test-incident node1.example --identity ~/.ssh/admin.pem
    """
    from lae_monitor.fleet.registering import LOG_GATHERER
    from lae_monitor.kinds.incidents.trial.steps import DETAILS, Trial, follow
    from lae_monitor.terminal.owner import as_owner

    settings = invocation.settings
    target = _target(invocation, host)
    ready(invocation, reach)
    trial = Trial(
        settings=settings,
        target=target,
        cluster=cluster_of(invocation, cluster),
        access=reach.access,
        acting=lambda: as_owner(settings.state.path),
        ask=_asking(invocation),
        nodes=nodes or LOG_GATHERER.nodes,
        url=url,
        details=details or DETAILS,
        wait=wait,
    )
    steps: list[Step] = []
    try:
        for step in follow(trial):
            steps.append(step)
            if not invocation.as_json:
                _show(step)
    except OSError as error:
        following = "run this as the account that owns the state folder"
        invocation.fail(f"{error.filename}: {error.strerror}", EXIT_UNAVAILABLE, following=following)
    failed = next((step for step in steps if step.ok is False), None)
    following = failed.following if failed is not None else f"lae-monitor host show {target.name}"
    if invocation.as_json:
        invocation.answer({"host": target.name, "steps": [step._asdict() for step in steps], "next": following}, "")
    else:
        click.echo(f"Next: {following}", err=True)
    raise SystemExit(EXIT_FINDINGS if failed is not None else 0)


def _target(invocation: Invocation, host: str) -> Target:
    from lae_monitor.fleet import targets

    try:
        return targets.target(host, invocation.settings.fleet.inventory)
    except targets.BadTargets as error:
        invocation.fail(str(error), EXIT_USAGE, following=error.following)


def _show(step: Step) -> None:
    from lae_monitor.core.printable import one_line
    from lae_monitor.terminal.table import painted

    word, level = {True: ("ok", "info"), None: ("left out", "debug"), False: ("stopped", "error")}[step.ok]
    click.echo(f"{step.about:<11} {painted(f'{word:<9}', level)} {one_line(step.saw)}")


def _asking(invocation: Invocation) -> Callable[[str], bool | None]:
    """How to ask `serve` whether it knows a report."""
    from lae_monitor.terminal.answers import NODE_URL, NotServed, Served, address

    def ask(name: str) -> bool | None:
        found: list[int] = []
        try:
            served = Served((invocation.settings.state.path / NODE_URL).read_text("ascii").strip())
            found.append(served.exchange("GET", address("api", "reports", name), lambda _status: len))
        except TimeoutError:
            return False
        except (NotServed, OSError, ValueError):
            return None
        return found == [200]

    return ask
