"""`lae-monitor incidents`: what incidents are called, by rules and by flogtool's classifiers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from lae_monitor.core.printable import printable
from lae_monitor.kinds.incidents.classify.commands import answer_of, listed, started, tell_troubles, try_rules
from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_USAGE, Invocation, common
from lae_monitor.terminal.table import Cell, Column, table, when

if TYPE_CHECKING:
    from lae_monitor.kinds.incidents.classify.sources import Sources

LIMIT: Final = 5.0  # seconds for one incident where no configuration is read
MAX_HOSTS: Final = 4  # that a line names; --json has all


@click.group()
@common
def incidents(_invocation: Invocation) -> None:
    """What incidents are called: try rules and classifiers, count categories."""


@incidents.command()
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--rules", metavar="NAME|FILE", help="tahoe, none, or a file; default: those of the configuration.")
@click.option("-c", "--classifiers", metavar="DIR", help="Folder of classify_*.py; default: that of the configuration.")
@click.option("-v", "--verbose", is_flag=True, help="Show the trigger of what nothing knew.")
@click.option("--test", is_flag=True, help="Without FILE: what would change in the archive.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="With --test: only the newest N incidents.")
@common
def classify(
    invocation: Invocation,
    files: tuple[str, ...],
    rules: str | None,
    classifiers: str | None,
    verbose: bool,
    test: bool,
    limit: int | None,
) -> None:
    """Say what each FILE is called, as `flogtool classify-incident` does: `FILE: one,two`, or `FILE: unknown`.

    With --test and no FILE, the rules are tried on all that the archive holds: what would change, which rules never match,
    which are slow. Nothing is changed.

    Exits 1 when a file cannot be read, or a classifier failed; 78 when the rules are wrong.

    \b
    lae-monitor incidents classify incident-2026-11-22--09-44-34Z-serjmai.flog.bz2
    lae-monitor incidents classify --test --rules new-rules.toml
    """
    if bool(files) == test:
        invocation.fail(
            "name files, or --test without any", EXIT_USAGE, following="lae-monitor incidents classify --help"
        )
    sources, limit_each = _sources(invocation, rules, classifiers)
    if test:
        try_rules(invocation, sources, limit_each, limit, given=rules or "")
    answers = asyncio.run(_classified(invocation, sources, limit_each, files))
    invocation.answer([answer for answer, _ in answers], lambda: "\n".join(_lines(answers, verbose=verbose)))
    troubled = [answer for answer, _ in answers if answer["error"] or answer["failed"]]
    if not invocation.as_json:
        tell_troubles((answer["file"], answer) for answer in troubled)
    raise SystemExit(EXIT_FINDINGS if troubled else 0)


def _sources(invocation: Invocation, rules: str | None, classifiers: str | None) -> tuple[Sources, float]:
    """The rules and classifiers to use, and the seconds that an incident may take."""
    from lae_monitor.kinds.incidents.classify.sources import Places, checked, places_of, read_sources
    from lae_monitor.kinds.rule_files.table import RulesError

    if rules is not None and classifiers is not None:
        configured, seconds = Places(rules, classifiers), LIMIT
    else:
        configured = places_of(invocation.settings)
        seconds = float(invocation.settings.gatherers["incidents"].classify_limit)
    places = Places(
        rules if rules is not None else configured.rules,
        classifiers if classifiers is not None else configured.folder,
    )
    try:
        return checked(read_sources(places)), seconds
    except RulesError as error:
        invocation.fail_rules(error.problems, "docs/classification.md")


async def _classified(
    invocation: Invocation, sources: Sources, seconds: float, files: tuple[str, ...]
) -> list[tuple[dict[str, Any], bytes]]:
    from lae_monitor.kinds.incidents.classify.process import Classifier

    classifier = Classifier(sources, seconds, loud=True)
    found = []
    try:
        await started(invocation, classifier)
        for name in files:
            try:
                data, host = _read(name)
            except OSError as error:
                found.append((answer_of({"file": name}, None, error.strerror or str(error)), b""))
                continue
            opinion = await classifier.classify("", host, data)
            found.append((answer_of({"file": name}, opinion, opinion.error), data))
        broken = classifier.loaded.broken
    finally:
        await classifier.stop()
    for answer, _ in found:
        answer["failed"] = broken | answer["failed"]
    return found


def _read(name: str) -> tuple[bytes, str]:
    """The file's bytes, and of which host it is: the file does not say so, but where it lies in an archive does.

    Raises:
        OSError
    """
    path = Path(name).expanduser()
    return path.read_bytes(), path.absolute().parent.name


def _lines(answers: list[tuple[dict[str, Any], bytes]], *, verbose: bool) -> Iterator[str]:
    for answer, data in answers:
        if answer["error"]:
            continue
        yield f"{printable(answer['file'])}: {','.join(answer['categories'])}"
        if verbose and answer["categories"] == ["unknown"]:
            yield from _trigger(data)


def _trigger(data: bytes) -> Iterator[str]:
    """As flogtool shows it, without secrets."""
    import json

    from lae_monitor.core.secrets import redact
    from lae_monitor.kinds.incidents.wire.flog import unpack
    from lae_monitor.kinds.incidents.wire.render import message

    trigger = (next(unpack(data)) or {})["header"]["trigger"]
    yield message(trigger)
    yield redact(json.dumps(trigger))
    if "failure" in trigger:
        yield " FAILURE:"
        yield from (f" {printable(redact(line))}" for line in str(trigger["failure"]).split("\n"))
    yield ""


# ---- categories ----------------------------------------------------------------------------------------------------


@incidents.command()
@click.option("--host", "only", metavar="HOST", help="Of this host alone.")
@common
def categories(invocation: Invocation, only: str | None) -> None:
    """How many incidents there are of each category, and when the last one was: what the archive's lists say.

    Exits 1 when nothing is classified.

    \b
    lae-monitor incidents categories
    lae-monitor incidents categories --host ml6.hpc.uio.no --json
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for item, found in listed(invocation).items():
        if only not in {None, item.host}:
            continue
        for category in found:
            row = rows.setdefault(
                (item.cluster, category),
                {"category": category, "cluster": item.cluster, "incidents": 0, "newest": "", "host": "", "hosts": {}},
            )
            row["incidents"] += 1
            row["hosts"][item.host] = row["hosts"].get(item.host, 0) + 1
            if item.name > row["newest"]:
                row["newest"], row["host"] = item.name, item.host
    answer = sorted(rows.values(), key=lambda row: (-row["incidents"], row["category"]))
    for row in answer:
        row["last"] = _time(row["newest"])
    if not answer:
        invocation.fail(
            "no incident is classified", EXIT_FINDINGS, following="lae-monitor gather incidents classifies them"
        )
    invocation.answer(answer, lambda: "\n".join(_table(answer)))
    if not invocation.as_json:
        click.echo(f"Next: lae-monitor search category:{answer[0]['category']}", err=True)


def _time(name: str) -> str | None:
    from lae_monitor.core.time import format_time
    from lae_monitor.kinds.incidents.wire.names import time_of_name

    time = time_of_name(name)
    return format_time(time) if time is not None else None


def _table(rows: list[dict[str, Any]]) -> list[str]:
    def cells(row: dict[str, Any]) -> tuple[Cell, ...]:
        hosts = sorted(row["hosts"].items(), key=lambda pair: (-pair[1], pair[0]))
        shown = ", ".join(f"{host} {count:,}" for host, count in hosts[:MAX_HOSTS])
        more = f", {len(hosts) - MAX_HOSTS} more" if len(hosts) > MAX_HOSTS else ""
        return row["category"], row["incidents"], when(row["last"]), shown + more

    return table(("category", "incidents", "last", Column("hosts", spare=20)), map(cells, rows))
