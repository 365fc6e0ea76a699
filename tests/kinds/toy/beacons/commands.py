"""`lae-monitor beacon ports`."""

import click

from lae_monitor.terminal.answers import answers
from lae_monitor.terminal.options import common


@click.group()
@common
def beacon(_invocation):
    """Beacons of ships."""


@beacon.command()
@common
def ports(invocation):
    """How many beacons each port had."""
    with answers(invocation) as ask:
        found = ask.get("/ports.json")
    invocation.answer(found, lambda: "\n".join(f"{port}  {count}" for port, count in found.items()))


@beacon.command()
@common
def light(invocation):
    """Shine, until it is stopped: `run` starts this."""
    invocation.answer({"shines": True}, "it shines")


def companions(_settings):
    return {"lighthouse": ["beacon", "light"]}
