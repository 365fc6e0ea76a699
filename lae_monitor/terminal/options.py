"""What every command takes: `--config FILE` and `--json`, before or after its name; and how commands end."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import click
from click.core import ParameterSource

from lae_monitor.core.kind import Kinds

if TYPE_CHECKING:
    from lae_monitor.config import Settings
    from lae_monitor.core.names import HostName

NO_KINDS: Final = Kinds()
EXIT_FINDINGS: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNAVAILABLE: Final = 69
EXIT_TRY_AGAIN: Final = 75
EXIT_CONFIG: Final = 78


class Import(NamedTuple):
    """What `lae-monitor import` was asked for; see there."""

    layout: str
    host: HostName | None
    map: Path | None
    move: bool
    yes: bool
    dry_run: bool


class Invocation:
    """One call of the command line: which kinds there are, which configuration, and how to answer."""

    def __init__(self, kinds: Kinds = NO_KINDS) -> None:
        self.kinds = kinds
        self.config: Path | None = None
        self.as_json = False
        self._settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """Read when first needed.

        Raises:
            ConfigError: main() turns it into exit code 78.
        """
        if self._settings is None:
            from lae_monitor.config import load

            self._settings = load(self.config, self.kinds)
        return self._settings

    def answer(self, data: Any, text: Callable[[], str] | str) -> None:
        """Prints `data` as JSON when asked to, else `text`."""
        if self.as_json:
            import msgspec

            from lae_monitor.core.printable import printable_json

            click.echo(printable_json(msgspec.json.encode(data, enc_hook=str).decode()))
        else:
            click.echo(text() if callable(text) else text)

    def fail(self, message: str, code: int, *, following: str = "") -> NoReturn:
        """Ends the command with a message, a line for each problem, that says what, which and what to do next."""
        from lae_monitor.core.redaction import redact

        message = redact(message)
        if self.as_json:
            self.answer({"error": message, "next": following}, "")
        else:
            for line in message.splitlines():
                click.echo(f"lae-monitor: {line}", err=True)
            if following:
                click.echo(f"Next: {following}", err=True)
        raise SystemExit(code)

    def fail_rules(self, problems: list[str], page: str) -> NoReturn:
        """Ends the command: a file of rules is wrong, as `problems` say; `page` of the documentation tells what is right."""
        self.fail("\n".join(problems), EXIT_CONFIG, following=f"correct the file; {page} tells what rules are made of")

    def fail_for_ledger(self, error: Exception, message: str) -> NoReturn:
        """Ends the command since a ledger cannot be read: perhaps only now, but not when a newer release wrote it."""
        from lae_monitor.store.sqlite import NewerLedger

        if isinstance(error, NewerLedger):
            self.fail(message, EXIT_UNAVAILABLE, following="install the release that wrote it")
        self.fail(message, EXIT_TRY_AGAIN, following="try again; look at the log")


class KindName(click.ParamType[str]):
    """The name of a kind, or one of `others`."""

    name = "kind"

    def __init__(self, *others: str) -> None:
        self._others = others

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        assert context is not None
        known = click.Choice([*context.ensure_object(Invocation).kinds.names, *self._others])
        return str(known.convert(value, parameter, context))


def _set(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    invocation = context.ensure_object(Invocation)
    if parameter.name == "config" and value is not None:
        from_variable = context.get_parameter_source("config") is ParameterSource.ENVIRONMENT
        if invocation.config is None or not from_variable:  # `--config FILE search` is stronger than the variable
            invocation.config = value
    elif parameter.name == "json" and value:
        invocation.as_json = True


_CONFIG: Final = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="LAE_MONITOR_CONFIG",
    callback=_set,
    expose_value=False,
    metavar="FILE",
    help="The configuration; default /etc/lae-monitor/lae-monitor.toml.",
)
_JSON: Final = click.option("--json", is_flag=True, callback=_set, expose_value=False, help="Answer in JSON.")


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the two options, and the Invocation as its first argument."""

    @_CONFIG
    @_JSON
    @click.pass_context
    @functools.wraps(function)
    def wrapped(context: click.Context, *args: Any, **kwargs: Any) -> Any:
        return function(context.ensure_object(Invocation), *args, **kwargs)

    return wrapped
