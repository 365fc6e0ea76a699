"""`lae-monitor demo`."""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from lae_monitor.terminal.options import EXIT_TRY_AGAIN, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, common

LAST_LINES = 30  # of the log, shown when the demo ends by itself


@click.command(context_settings={"max_content_width": 120})
@click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Keep everything in DIR."
)
@click.option("--hours", type=click.FloatRange(0.25, 72), default=6.0, show_default=True, help="Length of the history.")
@click.option("--port-base", type=click.IntRange(1024, 65530), metavar="N", help="Listen on N and the next ports.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the random numbers.")
@click.option("--verbose", "-v", is_flag=True, help="Show the log of all processes.")
@click.option(
    "--fleet-only", is_flag=True, help="Run only the fleet. It reports to a running demo, named by --config FILE."
)
@common
def demo(
    invocation: Invocation,
    state: Path | None,
    hours: float,
    port_base: int | None,
    seed: int,
    verbose: bool,
    fleet_only: bool,
) -> None:
    """Run the whole monitor on this machine, with a pretend fleet that reports into it. Ctrl-C stops it.

    12 hosts in 3 clusters send crashes, incidents and samples through the monitor's real entrances: some hours of history
    first, then as they come. Everything stays on loopback addresses and in one folder, which is removed at the end unless
    --state names it. The demo writes a configuration of its own and reads no other.
    """
    if fleet_only:
        sys.exit(_fleet(invocation))
    with _folder(invocation, state) as folder:
        try:
            code = _run(invocation, folder, hours, port_base, seed, kept=state is not None, verbose=verbose)
        except KeyboardInterrupt:  # before there was anything to stop
            code = 0
        if code and not verbose:
            _show_log(folder)
    sys.exit(code)


def _fleet(invocation: Invocation) -> int:
    from lae_monitor.demo.fleet import Fleet
    from lae_monitor.demo.stage import FLEET, STORY
    from lae_monitor.process.logs import set_up_log
    from lae_monitor.process.running import AlreadyRunning, notify, only_one, run_until_stopped

    settings = invocation.settings
    if not (settings.state.path / FLEET / STORY).exists():
        invocation.fail(
            f"no demo has been in {settings.state.path}",
            EXIT_USAGE,
            following="lae-monitor demo --state DIR, and then --config DIR/lae-monitor.toml with --fleet-only",
        )
    set_up_log(FLEET)
    try:
        with only_one(settings.state.path, FLEET):
            fleet = Fleet(settings, invocation.kinds, lambda said: notify("READY=1", f"STATUS={said}"))
            return run_until_stopped(fleet.run)
    except AlreadyRunning as error:
        invocation.fail(str(error), EXIT_TRY_AGAIN, following="stop it first")


def _run(
    invocation: Invocation, folder: Path, hours: float, port_base: int | None, seed: int, *, kept: bool, verbose: bool
) -> int:
    """Runs monitor and fleet until they are stopped; returns the exit code."""
    from lae_monitor.config import load
    from lae_monitor.core.time import HOUR
    from lae_monitor.demo import announcement, stage
    from lae_monitor.demo.part import parts_of
    from lae_monitor.demo.story import Story
    from lae_monitor.process.running import AlreadyRunning
    from lae_monitor.service.supervisor import run_all

    _leave_other_settings_alone()
    try:
        parts = parts_of(invocation.kinds)
        ports = stage.choose_ports(parts, port_base)
        config = stage.prepare(folder, parts, ports, Story(seed, time.time() - hours * HOUR, hours))
    except stage.NotADemo as error:
        invocation.fail(str(error), EXIT_USAGE, following="give another --state, or none")
    except OSError as error:
        invocation.fail(str(error), EXIT_UNAVAILABLE, following="give another --port-base or --state")
    settings = load(config, invocation.kinds)
    story, _ = stage.read_told(folder / stage.FLEET)
    _greet(invocation, folder, ports, stage.usual_ports(parts), verbose=verbose)

    def ready(said: dict[str, str]) -> None:
        fleet = said[stage.FLEET]
        lines = announcement.announcement(settings, parts, config, story, fleet, kept=kept)
        answer = {"config": str(config), "fleet": fleet, **announcement.addresses(settings, parts)}
        invocation.answer(answer, lambda: "\n".join(lines))
        sys.stdout.flush()

    with _log(folder, verbose=verbose):
        try:
            companions = {stage.FLEET: ["demo", "--fleet-only"]}
            return run_all(settings, (*invocation.kinds.names, "serve"), config, ready, companions)
        except AlreadyRunning as error:
            click.echo(f"lae-monitor: {error}", err=True)
            return EXIT_TRY_AGAIN


def _greet(
    invocation: Invocation, folder: Path, ports: dict[str, int], usual: dict[str, int], *, verbose: bool
) -> None:
    if invocation.as_json:
        return
    click.echo("lae-monitor demo: starting the monitor, and telling it some hours of 12 pretend hosts")
    for name, port in ports.items():
        if port != usual[name]:
            click.echo(f"  port for {name}: {port} (the usual one is {usual[name]})")
    click.echo(f"  everything is in {folder}" + ("" if verbose else f", the log in {folder / 'demo.log'}"))
    sys.stdout.flush()


def _leave_other_settings_alone() -> None:
    """Overrides in the environment are meant for another monitor: they would lead this one to its folders."""
    from lae_monitor.config import is_like_ours

    for name in filter(is_like_ours, list(os.environ)):
        del os.environ[name]


@contextmanager
def _folder(invocation: Invocation, state: Path | None) -> Iterator[Path]:
    """The state folder; a temporary one is removed afterwards."""
    if state is not None:
        yield state.absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="lae-monitor-demo-"))
    try:
        yield folder
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second Ctrl-C would leave half of it behind
        shutil.rmtree(folder, ignore_errors=True)
        if not invocation.as_json:
            click.echo(f"removed {folder}")


@contextmanager
def _log(folder: Path, *, verbose: bool) -> Iterator[None]:
    """Sends what all processes log to a file, so that the terminal keeps what the demo says."""
    if verbose:
        yield
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    file = os.open(folder / "demo.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(file, 2)
    os.close(file)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)
        os.close(terminal)


def _show_log(folder: Path) -> None:
    log = folder / "demo.log"
    if log.exists():
        lines = log.read_text("utf-8", "replace").splitlines()[-LAST_LINES:]
        click.echo("\n".join(["the last lines of its log:", *lines]), err=True)
