"""`lae-monitor gather incidents --stock DIR`: in the place of flogtool's gatherer, with its old incidents."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NoReturn

import click
import msgspec

from lae_monitor.core.refusals import Refused
from lae_monitor.terminal.options import EXIT_CONFIG, EXIT_TRY_AGAIN, EXIT_UNAVAILABLE, Invocation

if TYPE_CHECKING:
    from pathlib import Path

    from lae_monitor.config import Settings

KIND: Final = "incidents"
PATIENCE: Final = 20.0  # seconds that listening waits for old incidents; more of them are brought while it listens
STOP_PATIENCE: Final = 10.0  # seconds for the import to end: what it has begun, it stores
NICENESS: Final = 10  # of the import: nodes come first


def gather_stock(invocation: Invocation, folder: Path) -> int:
    """Takes the place of the gatherer in `folder`, and runs until it is stopped; returns the exit code.

    Raises:
        AlreadyRunning
    """
    from lae_monitor.kinds.incidents.takeover.stock import StillRunning, look, take_over
    from lae_monitor.service.gather import gather

    settings, given = _settings(invocation)
    try:
        stock = look(folder)
        taken = take_over(stock, settings.credentials / KIND, settings.gatherers[KIND], given)
    except StillRunning as error:
        invocation.fail(str(error), EXIT_TRY_AGAIN, following=f"kill $(cat {folder}/twistd.pid), then this again")
    except Refused as refused:
        invocation.fail(refused.detail, EXIT_CONFIG, following="docs/migrating-from-flogtool.md")
    for note in taken.notes:
        click.echo(f"lae-monitor: {note}", err=True)
    ours = msgspec.structs.replace(settings, gatherers={**settings.gatherers, KIND: taken.settings})
    with _import(invocation, folder, settings):
        try:
            return gather(KIND, ours)
        except OSError as error:
            _explain(invocation, error)


def _settings(invocation: Invocation) -> tuple[Settings, set[str]]:
    """The settings, and which of the gatherer's own keys somebody gave."""
    from lae_monitor.config.load import load_with_origins

    loaded = load_with_origins(invocation.config, invocation.kinds)
    prefix = f"gatherers.{KIND}."
    return loaded.settings, {key.removeprefix(prefix) for key in loaded.origins if key.startswith(prefix)}


def _explain(invocation: Invocation, error: OSError) -> NoReturn:
    if error.errno == errno.EADDRINUSE:
        invocation.fail(
            str(error),
            EXIT_UNAVAILABLE,
            following="stop what has the port, perhaps flogtool's gatherer: ss -ltnp shows it",
        )
    raise error


@contextmanager
def _import(invocation: Invocation, folder: Path, settings: Settings) -> Iterator[None]:
    """Has a process of its own bring the old incidents, unless the archive has them all."""
    from lae_monitor.kinds.incidents.read import SUFFIX
    from lae_monitor.kinds.incidents.takeover.folders import names

    pattern = f"incidents/{settings.fleet.name}/incidents/*/*{SUFFIX}"
    there = {path.name.removesuffix(SUFFIX) for root in settings.archive_roots for path in root.glob(pattern)}
    if not names(folder) - there:
        yield
        return
    options = ["--config", str(invocation.config)] if invocation.config is not None else []
    command = [sys.executable, "-m", "lae_monitor", *options, "import", "--layout", "flogtool", str(folder)]
    # Its answer goes where logs go.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno())  # noqa: S603 - ourselves
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, child.pid, NICENESS)
    try:
        with suppress(subprocess.TimeoutExpired):
            child.wait(PATIENCE)
        yield
    finally:
        child.terminate()
        try:
            child.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
