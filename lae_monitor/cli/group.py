"""The top of the command line. It imports click and nothing else of weight, so that --help is quick."""

import os
from importlib import import_module
from typing import Final

import click

from lae_monitor import __version__
from lae_monitor.terminal.options import EXIT_CONFIG, EXIT_UNAVAILABLE, Invocation, common

UMASK: Final = 0o077  # what we make is ours: files 0600, folders 0700; every process of ours begins here

# name -> (where the command is, one line for --help). The order is that of --help.
COMMANDS: Final = {
    "run": ("lae_monitor.cli.run:run", "Run the whole monitor, or some kinds, under one supervisor"),
    "gather": ("lae_monitor.cli.run:gather", "Run one gatherer"),
    "serve": ("lae_monitor.cli.run:serve", "Run mover, store, pages and API"),
    "demo": ("lae_monitor.cli.demo:demo", "Run the monitor with a pretend fleet that reports into it"),
    "search": ("lae_monitor.cli.search:search", "Find what happened, on any host"),
    "tail": ("lae_monitor.cli.search:tail", "Show what happens, as it comes"),
    "host": ("lae_monitor.cli.host:host", "The hosts, and one host's timeline"),
    "report": ("lae_monitor.cli.report:report", "One report: show, save, retry"),
    "group": ("lae_monitor.cli.groups:group", "What is the same trouble: list, show, merge, close"),
    "alert": ("lae_monitor.cli.alert:alert", "Alarms: which hold, who was told; send a test"),
    "crashes": ("lae_monitor.cli.crashes:crashes", "Send a crash report; try throttle rules"),
    "incidents": ("lae_monitor.cli.incidents:incidents", "What incidents are called: try rules, count categories"),
    "crashmover": ("lae_monitor.cli.crashmover:crashmover", "Hand stored crashes on to other systems"),
    "import": ("lae_monitor.cli.import_:import_", "Take over the reports of an older collector"),
    "fleet": (
        "lae_monitor.cli.fleet:fleet",
        "Register hosts over SSH, test them; who of them is heard; what drifts on EC2",
    ),
    "token": ("lae_monitor.cli.token:token", "Passwords of clusters, tokens of crash clients, of pages and API"),
    "archive": ("lae_monitor.cli.archive:archive", "What was accepted: state of the roots, retention, new disks"),
    "store": ("lae_monitor.cli.store:store", "The searchable copy: state, rebuild"),
    "check": ("lae_monitor.cli.check:check", "Try the configuration and what it needs"),
    "config": ("lae_monitor.cli.config:config", "Write and explain the configuration"),
}


class LazyGroup(click.Group):
    """Finds a command's module only when the command is asked for."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f' Did you mean "{near[0]}"?' if near and "Did you mean" not in error.message else ""
            raise click.UsageError(error.message + hint, context) from None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="lae-monitor")
@common
def top(_invocation: Invocation) -> None:
    """Gathers what goes wrong on a fleet, and shows it as one timeline per host.

    \b
    Try it:         lae-monitor demo
    Set it up:      lae-monitor config new --path lae-monitor.toml
                    export LAE_MONITOR_CONFIG=$PWD/lae-monitor.toml; lae-monitor check config; lae-monitor run
    Look at it:     lae-monitor search since:1h level:error; lae-monitor host list
    """


def main() -> None:
    """Runs the command line; exit codes: 0 fine, 1 findings, 2 usage, 69 unavailable, 75 try again, 78 configuration."""
    os.umask(UMASK)
    invocation = Invocation()
    try:
        top.main(prog_name="lae-monitor", standalone_mode=True, obj=invocation)
    except OSError as error:
        following = "run it as the account that owns the state folder" if isinstance(error, PermissionError) else ""
        invocation.fail(str(error), EXIT_UNAVAILABLE, following=following)
    except Exception as error:
        from lae_monitor.config import ConfigError

        if not isinstance(error, ConfigError):
            raise
        invocation.fail(
            "\n".join(error.problems), EXIT_CONFIG, following="correct the file, then lae-monitor check config"
        )
