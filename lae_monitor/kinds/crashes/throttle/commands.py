"""`lae-monitor crashes throttle-test`: what throttle rules would have decided about crashes that are stored."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from lae_monitor.core.limits import MiB, format_size
from lae_monitor.core.printable import one_line
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import format_time, parse_duration, parse_time, wall_clock
from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_USAGE, Invocation, common
from lae_monitor.terminal.progress import counted
from lae_monitor.terminal.table import Column, table, when

if TYPE_CHECKING:
    from lae_monitor.kinds.crashes.program import Program
    from lae_monitor.kinds.crashes.throttle.rules import Rules, Verdict

MAX_CRASH: Final = 512 * MiB  # bytes of a file that is read; a crash has up to 200 MiB
MAX_SEED: Final = 2**32
MAX_TOLD: Final = 10  # files that could not be read and are named
SINCE: Final = "7d"

Document = dict[str, Any]


class Crash(NamedTuple):
    """A crash as it came. `received`: seconds."""

    crash_id: str
    received: float
    annotations: Document
    program: Program


class Decided(NamedTuple):
    """What would have become of a crash."""

    crash_id: str
    verdict: Verdict


class Unread(NamedTuple):
    """A file that holds no crash."""

    file: str
    error: str


@click.command("throttle-test")
@click.argument("paths", nargs=-1, metavar="[CRASH]...", type=click.Path(exists=True, path_type=Path))
@click.option("--rules", "name", metavar="NAME|FILE", help="Rules to try; default: those of the configuration.")
@click.option(
    "--raw-crash",
    "documents",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A raw crash as JSON; can be repeated.",
)
@click.option("--since", metavar="TIME", help=f"Only what came since: 2h, 7d, 2026-11-22. For the archive: {SINCE}.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Stop after so many crashes, the newest first.")
@click.option("--each", is_flag=True, help="A line for each crash.")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Draw the same random samples as a run that told it.")
@common
def throttle_test(
    invocation: Invocation,
    paths: tuple[Path, ...],
    name: str | None,
    documents: tuple[Path, ...],
    since: str | None,
    limit: int | None,
    each: bool,
    seed: int | None,
) -> None:
    """Try throttle rules on stored crashes: which rule would decide about how many, and how.

    A CRASH is a zip out of the archive's crashes/, or a folder of them; without any, the whole archive. Each crash is
    decided as of when it was received. Nothing is changed.

    Exits 0 when every crash was read, 1 when there is none or one could not be read, 78 when the rules are wrong.

    \b
    lae-monitor crashes throttle-test --rules antenna --since 30d
    lae-monitor crashes throttle-test --rules new-rules.toml --each
    """
    rules, source = _rules(invocation, name)
    cutoff = _cutoff(invocation, since if since is not None else SINCE if not (paths or documents) else None)
    drawn = seed if seed is not None else secrets.randbelow(MAX_SEED)
    with closing(_found(invocation, paths, documents, cutoff)) as found:
        recent = (crash for crash in found if isinstance(crash, Unread) or crash.received >= cutoff)
        decided, unread = _decide_all(counted(invocation, recent, "crashes"), rules, drawn, limit)
    if not decided and not unread:
        said = f" since {when(format_time(cutoff))}" if cutoff else ""
        invocation.fail(f"there is no crash{said}", EXIT_FINDINGS, following="a longer time: --since 30d")
    answer = _answer(rules, source, decided, unread)
    answer["seed"] = drawn if rules.is_random else None
    if each:
        answer["each"] = [_line(one) for one in decided]
    if name is not None:
        answer["next"] = f'to put them in force: rules = "{name}" in [gatherers.crashes]'
    elif decided and not documents:
        answer["next"] = f"lae-monitor report show {decided[0].crash_id}"
    invocation.answer(answer, lambda: "\n".join(_text(answer)))
    if answer["next"] and not invocation.as_json:
        click.echo(f"Next: {one_line(answer['next'])}", err=True)
    raise SystemExit(EXIT_FINDINGS if unread else 0)


def _rules(invocation: Invocation, name: str | None) -> tuple[Rules, str]:
    """The rules, and what they are called."""
    from lae_monitor.kinds.crashes.check import rules_path
    from lae_monitor.kinds.crashes.throttle.rules import rules_file
    from lae_monitor.kinds.rule_files.table import RulesError

    source = name if name is not None else rules_path(invocation.settings)
    try:
        return rules_file(source).value, source
    except RulesError as error:
        invocation.fail_rules(error.problems, "docs/throttling.md")


def _cutoff(invocation: Invocation, since: str | None) -> float:
    if since is None:
        return 0.0
    try:
        return wall_clock() - parse_duration(since)
    except Refused:
        pass
    try:
        return parse_time(since)
    except Refused:
        invocation.fail(f"--since {one_line(since, 40)}: is a time such as 2h, 7d or 2026-11-22", EXIT_USAGE)


# ---- crashes -------------------------------------------------------------------------------------------------------


def _found(
    invocation: Invocation, paths: Sequence[Path], documents: Sequence[Path], cutoff: float
) -> Generator[Crash | Unread]:
    """The crashes asked for, those received last first, as far as names tell."""
    from lae_monitor.terminal.owner import as_owner

    yield from (_read(path, bare=True) for path in documents)
    if paths or documents:
        zips = [path for path in paths if not path.is_dir()]
        zips += [zipped for folder in paths if folder.is_dir() for zipped in folder.rglob("*.zip")]
        yield from (_read(path) for path in sorted(set(zips), key=_age))
        return
    settings = invocation.settings
    with as_owner(settings.state.path):
        folders = [root / "crashes" for root in settings.archive_roots]
        days = [day for folder in folders if folder.exists() for day in folder.iterdir() if day.name.isdecimal()]
        oldest = format_time(cutoff)[:10].replace("-", "")
        for day in sorted(days, key=lambda day: day.name, reverse=True):
            if day.name >= oldest:
                yield from (_read(path) for path in sorted(day.glob("*.zip"), key=_age))


def _age(path: Path) -> tuple[float, str]:
    try:
        return -path.stat().st_mtime, path.name
    except OSError:
        return 0.0, path.name


def _read(path: Path, *, bare: bool = False) -> Crash | Unread:
    """The crash in a zip of ours, or in a file that is a raw crash and nothing else."""
    from lae_monitor.kinds.crashes.container import entries
    from lae_monitor.kinds.crashes.report import RAW_CRASH

    try:
        if path.stat().st_size > MAX_CRASH:
            return Unread(str(path), f"is larger than {format_size(MAX_CRASH)}")
        data = path.read_bytes()
        files = {} if bare else entries(data)
        document = json.loads(data if bare else bytes(files.pop(RAW_CRASH)))
        return (
            _crash(document, files, str(path)) if isinstance(document, dict) else Unread(str(path), "is no JSON object")
        )
    except KeyError:
        return Unread(str(path), f"holds no {RAW_CRASH}")
    except (OSError, Refused, ValueError, RecursionError) as error:
        return Unread(str(path), one_line(str(error), 200))


def _crash(document: Document, files: Mapping[str, memoryview], file: str) -> Crash:
    """A crash from its raw crash: ours, or one of Antenna or Socorro; `file` stands for an id where there is none."""
    from lae_monitor.kinds.crashes.report import annotations_in, program_in

    given = document.get("submitted_timestamp")
    received = parse_time(given) if isinstance(given, str) else wall_clock()
    return Crash(
        str(document.get("uuid") or file),
        received,
        annotations_in(document),
        program_in(document, files),
    )


def _decide_all(
    crashes: Iterable[Crash | Unread], rules: Rules, seed: int, limit: int | None
) -> tuple[list[Decided], list[Unread]]:
    """Up to `limit` crashes decided, and the files that could not be read meanwhile."""
    decided: list[Decided] = []
    unread: list[Unread] = []
    for crash in crashes:
        if isinstance(crash, Unread):
            unread.append(crash)
            continue
        # Drawn by seed and id, so that the order and number of crashes do not matter.
        chance = random.Random(f"{seed} {crash.crash_id}").random  # noqa: S311 - nobody gains by guessing it
        verdict = rules.decide(
            crash.annotations, program=crash.program, crash_id=crash.crash_id, now=crash.received, random=chance
        )
        decided.append(Decided(crash.crash_id, verdict))
        if len(decided) == limit:
            break
    return decided, unread


# ---- the answer ----------------------------------------------------------------------------------------------------


def _answer(rules: Rules, source: str, decided: list[Decided], unread: list[Unread]) -> dict[str, Any]:
    counts: dict[str, dict[str, Any]] = {}
    for crash_id, verdict in decided:
        row = counts.setdefault(verdict.rule, {"rule": verdict.rule, "crashes": 0, "results": {}})
        result = verdict.result.name.lower()
        row["crashes"] += 1
        row["results"][result] = row["results"].get(result, 0) + 1
        row.setdefault("example", crash_id)
    order = {name: number for number, name in enumerate(rules.names)}
    for row in counts.values():
        row["share"] = round(row["crashes"] / len(decided), 4)
    return {
        "rules": source,
        "crashes": len(decided),
        "counts": sorted(counts.values(), key=lambda row: order.get(row["rule"], len(order))),
        "never": [name for name in rules.names if name not in counts],
        "unread": [one._asdict() for one in unread],
        "seed": None,
        "next": "",
    }


def _line(decided: Decided) -> dict[str, Any]:
    result, rule, percent = decided.verdict
    return {"crash_id": decided.crash_id, "result": result.name.lower(), "rule": rule, "percent": percent}


def _text(answer: dict[str, Any]) -> Iterator[str]:
    if "each" in answer:
        percents = ("" if one["percent"] is None else f"{one['percent']:g} %" for one in answer["each"])
        rows = ((one["crash_id"], one["result"], one["rule"], next(percents)) for one in answer["each"])
        yield from table(("", Column(least=10), "", ""), rows)
        yield ""
    results = sorted({result for row in answer["counts"] for result in row["results"]})
    if answer["crashes"]:
        columns = (Column("rule", spare=20), *results, Column("share", right=True), Column("example", spare=36))
        yield from table(
            columns,
            (
                (
                    row["rule"],
                    *(row["results"].get(result, "-") for result in results),
                    f"{row['share']:.1%}",
                    row["example"],
                )
                for row in answer["counts"]
            ),
        )
    if answer["never"]:
        yield f"decided about none: {', '.join(answer['never'])}"
    drawn = "" if answer["seed"] is None else f"; random samples drawn with --seed {answer['seed']}"
    yield f"{answer['crashes']:,} crashes by {one_line(answer['rules'])}{drawn}"
    for unread in answer["unread"][:MAX_TOLD]:
        yield f"not read: {one_line(unread['file'])}: {unread['error']}"
    if len(answer["unread"]) > MAX_TOLD:
        yield f"not read: {len(answer['unread']) - MAX_TOLD:,} more"
