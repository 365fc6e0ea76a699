"""`lae-monitor`: each command lives in a module of its own, which is imported when the command is used.

group      the list of commands: which module has each
fleet/     the list of `fleet ...`, and those that are of no kind

The other modules are named after their command; groups.py has `group`, run.py also `gather` and `serve`, search.py `tail`.
"""

from lae_monitor.cli.group import main

__all__ = ["main"]
