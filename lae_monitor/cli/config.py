"""`lae-monitor config`."""

import os
from pathlib import Path

import click

from lae_monitor.terminal.options import EXIT_CONFIG, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, common


@click.group()
@common
def config(_invocation: Invocation) -> None:
    """Write a configuration to begin with, and explain its keys."""


@config.command()
@click.option("--path", type=click.Path(path_type=Path, dir_okay=False), help="Write here instead of printing.")
@common
def new(invocation: Invocation, path: Path | None) -> None:
    """Print a configuration file with every key, its meaning and its default. An existing file is never written over."""
    from lae_monitor.config.explain import new as new_file

    text = new_file(invocation.kinds)
    if path is None:
        invocation.answer({"text": text}, text.rstrip("\n"))
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            os.fchmod(fd, 0o644)  # it holds no secrets, and the services read it under an account of their own
            file.write(text)
    except FileExistsError:
        invocation.fail(
            f"{path}: there is such a file already, and it stays as it is",
            EXIT_USAGE,
            following="give another --path, or leave it out and compare",
        )
    except OSError as error:
        invocation.fail(
            f"{path}: {error.strerror}", EXIT_UNAVAILABLE, following="give a --path in a folder that you may write to"
        )
    following = f"lae-monitor check config --config {path}"
    invocation.answer({"path": str(path), "next": following}, f"{path}: written\nNext: {following}")


@config.command()
@click.argument("key", default="", metavar="[KEY|SECTION]")
@common
def explain(invocation: Invocation, key: str) -> None:
    """What a KEY means, its type, its default, its value now, and where that comes from. Without KEY, all of them."""
    from lae_monitor.config.explain import explain as explain_key
    from lae_monitor.config.keys import all_sections, unknown
    from lae_monitor.config.load import ConfigError, load_with_origins

    known = invocation.kinds
    problems: list[str] = []
    try:
        loaded = load_with_origins(invocation.config, known)
    except ConfigError as error:
        loaded, problems = None, error.problems
    try:
        found = explain_key(key.strip().strip("[]"), known, loaded)
    except KeyError:
        invocation.fail(
            unknown(key, all_sections(known)), EXIT_USAGE, following="lae-monitor config explain, for all keys"
        )
    invocation.answer(
        {"keys": [one.as_json() for one in found], "problems": problems},
        lambda: "\n\n".join(one.as_text() for one in found),
    )
    if problems:
        for problem in problems:
            click.echo(f"lae-monitor: {problem}", err=True)
        click.echo(
            "What the values are now cannot be said until that is mended.\nNext: lae-monitor check config", err=True
        )
        raise SystemExit(EXIT_CONFIG)
