"""`lae-monitor check`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from lae_monitor.terminal.options import EXIT_CONFIG, EXIT_FINDINGS, Invocation, KindName, common
from lae_monitor.terminal.table import painted

if TYPE_CHECKING:
    from lae_monitor.config import Settings
    from lae_monitor.service.surroundings import Finding

_MARKS: Final = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.group()
@common
def check(_invocation: Invocation) -> None:
    """Check the configuration, this host and the services that run on it."""


@check.command("config")
@click.argument("parts", nargs=-1, metavar="[PART]...", type=KindName("serve"))
@click.option("--no-environment", is_flag=True, help="Look at the configuration only, not at this host.")
@common
def check_config(invocation: Invocation, parts: tuple[str, ...], no_environment: bool) -> None:
    """Try the configuration: its form and meaning, what each gatherer asks of it, and then this host.

    A PART is `serve` or a kind, such as `crashes`; only what those named need is looked at, or else all.
    Of the host: clock, state folder, archive roots (a real write and fsync), free space, credentials, free ports.
    Exits 78 when the configuration has a problem, 1 when the host has, else 0; warnings change nothing.
    """
    from lae_monitor.config import ConfigError
    from lae_monitor.fleet.running import runs
    from lae_monitor.service.surroundings import Finding, look

    running = False
    try:
        settings = invocation.settings
    except ConfigError as error:
        mistakes = [Finding("problem", "configuration", problem) for problem in error.problems]
        surroundings: list[Finding] = []
    else:
        mistakes = [
            Finding("ok", "configuration", f"understood: {settings.source or 'defaults'}"),
            *(Finding("warning", *warning.split(": ", 1)) for warning in settings.warnings),
            *_gatherers(settings, parts or settings.kinds.names),
        ]
        surroundings = [] if no_environment else list(look(settings, parts))
        if not no_environment and (not parts or "serve" in parts):
            surroundings += _alerts(settings)
        running = runs(settings.state.path, "serve")
    code = EXIT_CONFIG if _has_problem(mistakes) else EXIT_FINDINGS if _has_problem(surroundings) else 0
    following = "correct what is marked as a problem, then lae-monitor check config"
    if code == 0:
        following = "lae-monitor host list" if running else "lae-monitor run"
    findings = [*mistakes, *surroundings]
    invocation.answer(
        {"ok": code == 0, "checks": [finding._asdict() for finding in findings], "next": following},
        lambda: "\n".join([*map(_line, findings), f"Next: {following}"]),
    )
    raise SystemExit(code)


@check.command("fleet")
@click.argument("parts", nargs=-1, metavar="[PART]...", type=KindName("serve"))
@common
def check_fleet(invocation: Invocation, parts: tuple[str, ...]) -> None:
    """Ask everything that runs on this host whether it truly answers, as its clients would.

    HTTP listeners must have written and synced to the archive lately, the incident gatherer must be the tub that its FURLs
    name. A PART is `serve` or a kind; one that is named has to run. Exits 1 when something does not answer.

    \b
    lae-monitor check fleet
    lae-monitor check fleet crashes incidents
    """
    from lae_monitor.service.answering import ask
    from lae_monitor.terminal.owner import as_owner

    settings = invocation.settings
    with as_owner(settings.state.path):
        findings = list(ask(settings, parts))
    problem = _has_problem(findings)
    following = "journalctl -u 'lae-monitor-*', for what it says itself" if problem else "lae-monitor fleet status"
    invocation.answer(
        {"ok": not problem, "checks": [finding._asdict() for finding in findings], "next": following},
        lambda: "\n".join([*map(_line, findings), f"Next: {following}"]),
    )
    raise SystemExit(EXIT_FINDINGS if problem else 0)


def _gatherers(settings: Settings, wanted: Sequence[str]) -> Iterator[Finding]:
    """What each kind asks of its own section."""
    from lae_monitor.service.surroundings import Finding

    for kind in (kind for kind in settings.kinds if kind.name in wanted):
        about = f"gatherers.{kind.name}"
        asked = kind.part("check")
        try:
            problems = list(asked.check(settings))
        except OSError as error:
            problems = [f"{error.filename}: {error.strerror}"]
        for problem in problems:
            key, colon, text = problem.partition(": ")
            says_which = colon and key.startswith(f"{about}.")
            yield Finding("problem", key, text) if says_which else Finding("problem", about, problem)
        for sentence in asked.advice(settings) if hasattr(asked, "advice") and not problems else ():
            key, _, text = sentence.partition(": ")
            yield Finding("warning", key, text)
        if not problems:
            yield Finding("ok", about, "has what it needs")


def _alerts(settings: Settings) -> Iterator[Finding]:
    """What the destinations of alarms need."""
    from lae_monitor.alerts.check import check as problems_of
    from lae_monitor.service.surroundings import Finding

    problems = list(problems_of(settings))
    for problem in problems:
        key, _, text = problem.partition(": ")
        yield Finding("problem", key, text)
    if not problems:
        told = ", ".join(destination.title for destination in settings.alerts.destinations)
        yield Finding(
            "ok", "alerts", f"alarms go to {told}" if told else "alarms are on the timeline only: no destination"
        )


def _has_problem(findings: list[Finding]) -> bool:
    return any(finding.level == "problem" for finding in findings)


def _line(finding: Finding) -> str:
    return f"{painted(f'{finding.level:<8}', fg=_MARKS[finding.level])} {finding.about}: {finding.text}"
