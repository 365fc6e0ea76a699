"""The top of the command line. It imports click and nothing else of weight, so that --help is quick."""

import os
from typing import Any, Final

import click

from lae_monitor import __version__
from lae_monitor.core.kind import Command, Kinds, load
from lae_monitor.kinds import KINDS
from lae_monitor.terminal.options import EXIT_CONFIG, EXIT_UNAVAILABLE, Invocation, common

UMASK: Final = 0o077  # what we make is ours: files 0600, folders 0700; every process of ours begins here

AFTER_KINDS: Final = "import"  # before it stand the commands of the kinds

# name -> (where the command is, one line for --help). The order is that of --help.
_COMMANDS: Final = {
    "run": ("lae_monitor.cli.run:run", "Run the whole monitor, or some kinds, under one supervisor"),
    "gather": ("lae_monitor.cli.run:gather", "Run one gatherer"),
    "serve": ("lae_monitor.cli.run:serve", "Run mover, store, pages and API"),
    "demo": ("lae_monitor.cli.demo:demo", "Run the monitor with a pretend fleet that reports into it"),
    "search": ("lae_monitor.cli.search:search", "Search the events of all hosts"),
    "tail": ("lae_monitor.cli.search:tail", "Show events as they arrive"),
    "host": ("lae_monitor.cli.host:host", "The hosts, and one host's timeline"),
    "report": ("lae_monitor.cli.report:report", "One report: show, save, retry"),
    "group": ("lae_monitor.cli.groups:group", "Groups of events with the same cause: list, show, merge, close"),
    "alert": ("lae_monitor.cli.alert:alert", "Alarms: the active ones and their messages; send a test"),
    "import": ("lae_monitor.cli.import_:import_", "Take over the reports of an older collector"),
    "fleet": (
        "lae_monitor.cli.fleet:fleet",
        "Register hosts over SSH, test and watch them; changes on EC2",
    ),
    "token": ("lae_monitor.cli.token:token", "Passwords and tokens: of those who send reports, for pages and API"),
    "archive": ("lae_monitor.cli.archive:archive", "The accepted reports: state of the roots, retention, new disks"),
    "store": ("lae_monitor.cli.store:store", "The searchable copy: state, rebuild"),
    "check": ("lae_monitor.cli.check:check", "Check the configuration, this host and the running services"),
    "config": ("lae_monitor.cli.config:config", "Write and explain the configuration"),
}


def commands(kinds: Kinds) -> dict[str, Command]:
    """All commands by name, those of the kinds in the middle."""
    found: dict[str, Command] = {}
    for name, (where, text) in _COMMANDS.items():
        if name == AFTER_KINDS:
            for own, command in kinds.commands():
                if own in found or own in _COMMANDS:
                    raise ValueError(f"command of a kind: {own!r} is taken")
                found[own] = command
        found[name] = Command(where, text)
    return found


class LazyGroup(click.Group):
    """Finds a command's module only when the command is asked for."""

    def commands_of(self, context: click.Context) -> dict[str, Command]:
        """The commands by name, in the order of --help."""
        raise NotImplementedError

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands_of(context))

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        found = self.commands_of(context).get(name)
        command: click.Command | None = load(found.where) if found is not None else None
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, found.help) for name, found in self.commands_of(context).items()])

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], self.commands_of(context), n=1)
            hint = f' Did you mean "{near[0]}"?' if near and "Did you mean" not in error.message else ""
            raise click.UsageError(error.message + hint, context) from None


class TopGroup(LazyGroup):
    """The top of the command line."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        extra.setdefault("obj", Invocation(KINDS))
        return super().make_context(info_name, args, parent, **extra)

    def commands_of(self, context: click.Context) -> dict[str, Command]:
        return commands(context.ensure_object(Invocation).kinds)


@click.group(cls=TopGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
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


def main(kinds: Kinds = KINDS) -> None:
    """Runs the command line for `kinds`.

    Exit codes: 0 fine, 1 findings, 2 usage, 69 unavailable, 75 try again, 78 configuration.
    """
    os.umask(UMASK)
    invocation = Invocation(kinds)
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
