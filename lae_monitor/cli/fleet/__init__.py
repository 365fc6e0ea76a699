"""`lae-monitor fleet ...`: hosts, their credentials, and their connections. Commands of a kind are in its folder.

register.py     points nodes at a gatherer, or away from it
furls.py        the FURLs for that
set_option.py   any option of tahoe.cfg
work.py         what these do on each host
status.py       which hosts are connected
ec2.py          findings among the instances on EC2
"""

from __future__ import annotations

from typing import Final

import click

from lae_monitor.cli.group import LazyGroup
from lae_monitor.core.kind import Command
from lae_monitor.terminal.options import Invocation, common

_COMMANDS: Final = {
    "ec2": Command("lae_monitor.cli.fleet.ec2:ec2", "What is wrong on EC2, and what has changed"),
    "register": Command("lae_monitor.cli.fleet.register:register", "Point the nodes of hosts at a gatherer"),
    "set-option": Command("lae_monitor.cli.fleet.set_option:set_option", "Set an option of Tahoe-LAFS nodes on hosts"),
    "status": Command("lae_monitor.cli.fleet.status:status", "Which hosts are connected, and when each last was"),
    "unregister": Command("lae_monitor.cli.fleet.register:unregister", "Let hosts report no more"),
}


class FleetGroup(LazyGroup):
    """Its own commands and those of the kinds, by name."""

    def commands_of(self, context: click.Context) -> dict[str, Command]:
        kinds = context.ensure_object(Invocation).kinds
        return dict(sorted({**_COMMANDS, **dict(kinds.commands("fleet"))}.items()))


@click.group(cls=FleetGroup)
@common
def fleet(_invocation: Invocation) -> None:
    """Register hosts, show which of them report, and changes on EC2."""
