"""What `lae-monitor incidents classify` does with rules: start them, show problems, try them on the archive (`--test`)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from lae_monitor.core.printable import one_line
from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_UNAVAILABLE, Invocation
from lae_monitor.terminal.owner import as_owner
from lae_monitor.terminal.progress import counted
from lae_monitor.terminal.table import Cell, table

if TYPE_CHECKING:
    from pathlib import Path

    from lae_monitor.kinds.incidents.classify.frames import Opinion
    from lae_monitor.kinds.incidents.classify.lists import Item
    from lae_monitor.kinds.incidents.classify.process import Classifier
    from lae_monitor.kinds.incidents.classify.sources import Sources

MAX_EXAMPLES: Final = 3  # of each category that is gained or lost
NOTHING: Final = "(not classified)"  # in place of what it was called, for an incident that has no category yet


def try_rules(invocation: Invocation, sources: Sources, seconds: float, limit: int | None, *, given: str) -> NoReturn:
    """Ends the command."""
    trial = asyncio.run(_tried(invocation, sources, seconds, limit))
    if not trial.incidents:
        invocation.fail("there is no incident in the archive", EXIT_FINDINGS, following="lae-monitor archive status")
    answer = trial.answer(sources)
    if given and not trial.troubled:
        answer["next"] = f'to put them in force: rules = "{given}" in [gatherers.incidents]'
    invocation.answer(answer, lambda: "\n".join(_text(answer)))
    if not invocation.as_json:
        tell_troubles((item.line, one) for item, one in trial.troubled)
        if answer["next"]:
            click.echo(f"Next: {one_line(answer['next'])}", err=True)
    raise SystemExit(EXIT_FINDINGS if trial.troubled else 0)


class _Trial:
    """What came out so far."""

    def __init__(self, steps: list[str]) -> None:
        self.steps = steps
        self.incidents = self.changed = 0
        self.before: Counter[str] = Counter()
        self.after: Counter[str] = Counter()
        self.matched: Counter[str] = Counter()
        self.slow: dict[str, float] = {}
        self.examples: dict[str, dict[str, list[str]]] = {}
        self.troubled: list[tuple[Item, dict[str, Any]]] = []

    def add(self, item: Item, had: list[str], one: dict[str, Any]) -> None:
        self.incidents += 1
        if one["error"] or one["failed"]:
            self.troubled.append((item, one))
        had, has = had or [NOTHING], ["unreadable"] if one["error"] else one["categories"]
        self.before.update(had)
        self.after.update(has)
        self.matched.update(list(one["by"]))
        for step, seconds in one["slow"].items():
            self.slow[step] = max(seconds, self.slow.get(step, 0.0))
        self.changed += had != has
        for what, categories in (("gained", set(has) - set(had)), ("lost", set(had) - set(has))):
            for category in categories:
                kept = self.examples.setdefault(category, {}).setdefault(what, [])
                if len(kept) < MAX_EXAMPLES:
                    kept.append(item.line)

    def answer(self, sources: Sources) -> dict[str, Any]:
        names = sorted({*self.before, *self.after})
        return {
            "rules": sources.source,
            "version": sources.version,
            "incidents": self.incidents,
            "changed": self.changed,
            "categories": [
                {
                    "category": name,
                    "before": self.before[name],
                    "after": self.after[name],
                    **{what: self.examples.get(name, {}).get(what, []) for what in ("gained", "lost")},
                }
                for name in names
            ],
            "never": [step for step in self.steps if step not in self.matched],
            "slow": self.slow,
            "troubled": [
                {"file": item.line, "error": one["error"], "failed": one["failed"]} for item, one in self.troubled
            ],
            "next": "",
        }


async def _tried(invocation: Invocation, sources: Sources, seconds: float, limit: int | None) -> _Trial:
    from lae_monitor.kinds.incidents.classify.process import Classifier

    classifier = Classifier(sources, seconds, loud=True)
    try:
        await started(invocation, classifier)
        trial = _Trial(classifier.loaded.steps)
        before = listed(invocation)
        items = sorted(_stored(invocation), reverse=True)[:limit]
        for item in counted(invocation, items, "incidents", len(items)):
            try:
                data = _read(invocation, item)
            except FileNotFoundError:
                continue  # retention was here meanwhile
            opinion = await classifier.classify(item.cluster, item.host, data)
            trial.add(item, before.get(item, []), answer_of({}, opinion, opinion.error))
    finally:
        await classifier.stop()
    return trial


def _text(answer: dict[str, Any]) -> Iterator[str]:
    def cells(row: dict[str, Any]) -> tuple[Cell, ...]:
        mark = "" if row["before"] == row["after"] and not row["gained"] else "*"
        return row["category"], row["before"], row["after"], mark

    rows = answer["categories"]
    heads, *lines = table(("category", "before", "after", ""), map(cells, rows))
    yield heads
    for row, line in zip(rows, lines, strict=True):
        yield line
        for what in ("gained", "lost"):
            yield from (f"    {what} {line}" for line in row[what])
    yield f"{answer['changed']:,} of {answer['incidents']:,} incidents would be called otherwise"
    if answer["never"]:
        yield f"never matched: {', '.join(map(one_line, answer['never']))}"
    for step, seconds in answer["slow"].items():
        yield f"slow: {one_line(step)}, up to {seconds:.1f} s"


# ---- one incident --------------------------------------------------------------------------------------------------


async def started(invocation: Invocation, classifier: Classifier) -> None:
    """Starts it, or ends the command; files that are no classifiers are told."""
    from lae_monitor.kinds.incidents.classify.process import ChildFailed

    try:
        loaded = await classifier.start()
    except ChildFailed as error:
        invocation.fail(str(error), EXIT_UNAVAILABLE)
    for name, why in loaded.broken.items():
        click.echo(f"lae-monitor: {one_line(name)} has no opinion: {one_line(why)}", err=True)


def answer_of(about: dict[str, Any], opinion: Opinion | None, error: str) -> dict[str, Any]:
    """What there is to say of one incident."""
    from lae_monitor.kinds.incidents.classify.rules import UNKNOWN

    return {
        **about,
        "categories": (opinion.categories if opinion is not None else []) or ([] if error else [UNKNOWN]),
        "by": opinion.by if opinion is not None else {},
        "failed": opinion.failed if opinion is not None else {},
        "slow": opinion.slow if opinion is not None else {},
        "error": error,
    }


def tell_troubles(troubled: Iterator[tuple[str, dict[str, Any]]]) -> None:
    """On standard error, each trouble once."""
    told: set[str] = set()
    for name, answer in troubled:
        for what, why in [(name, answer["error"])] if answer["error"] else answer["failed"].items():
            if what not in told:
                told.add(what)
                about = "" if what == name else f" of {one_line(name)}"
                verb = ":" if what == name else f" has no opinion{about}:"
                click.echo(f"lae-monitor: {one_line(what)}{verb} {one_line(why)}", err=True)


# ---- the archive ---------------------------------------------------------------------------------------------------


def listed(invocation: Invocation) -> dict[Item, list[str]]:
    """What the archive's lists say, by incident."""
    from lae_monitor.kinds.incidents.classify.lists import CLASSIFIED, Item, parse_list
    from lae_monitor.kinds.incidents.classify.rules import is_category

    found: dict[Item, list[str]] = {}
    with as_owner(invocation.settings.state.path):
        for cluster in _clusters(invocation):
            for path in sorted(_files(cluster / CLASSIFIED)):
                if not is_category(path.name):
                    continue
                for host, names in parse_list(path.read_bytes()).items():
                    for name in names:
                        found.setdefault(Item(name, cluster.name, host), []).append(path.name)
    return found


def _stored(invocation: Invocation) -> set[Item]:
    from lae_monitor.kinds.incidents.classify.lists import Item
    from lae_monitor.kinds.incidents.read import SUFFIX

    with as_owner(invocation.settings.state.path):
        return {
            Item(path.name.removesuffix(SUFFIX), cluster.name, host.name)
            for cluster in _clusters(invocation)
            for host in _files(cluster / "incidents")
            for path in _files(host)
            if path.name.endswith(SUFFIX)
        }


def _read(invocation: Invocation, item: Item) -> bytes:
    """
    Raises:
        FileNotFoundError
    """
    with as_owner(invocation.settings.state.path):
        for root in invocation.settings.archive_roots:
            path = root / "incidents" / item.cluster / item.line
            if path.exists():
                return path.read_bytes()
    raise FileNotFoundError(item.line)


def _clusters(invocation: Invocation) -> Iterable[Path]:
    return [cluster for root in invocation.settings.archive_roots for cluster in _files(root / "incidents")]


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
