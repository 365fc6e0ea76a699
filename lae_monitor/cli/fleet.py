"""`lae-monitor fleet ...`: hosts, their credentials, and who of them is heard."""

from __future__ import annotations

import click

from lae_monitor.cli.fleet_ec2 import ec2
from lae_monitor.cli.fleet_register import register, unregister
from lae_monitor.cli.fleet_set_option import set_option
from lae_monitor.cli.fleet_status import status
from lae_monitor.cli.fleet_test_incident import test_incident
from lae_monitor.kinds.incidents.nodes.commands import claim, revoke, rotate, unclaim
from lae_monitor.kinds.incidents.tail.commands import tail
from lae_monitor.terminal.options import Invocation, common


@click.group()
@common
def fleet(_invocation: Invocation) -> None:
    """Register hosts, show which of them report, and changes on EC2."""


fleet.add_command(register)
fleet.add_command(unregister)
fleet.add_command(set_option)
fleet.add_command(test_incident)
fleet.add_command(status)
fleet.add_command(ec2)
fleet.add_command(rotate)
fleet.add_command(revoke)
fleet.add_command(claim)
fleet.add_command(unclaim)
fleet.add_command(tail)
