"""`lae-monitor`: each command lives in a module of its own, which is imported when the command is used."""

from lae_monitor.cli.group import main

__all__ = ["main"]
