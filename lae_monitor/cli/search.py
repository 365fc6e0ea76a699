"""`lae-monitor search` and `tail`."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import click

from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, common

POLL: Final = 1.0  # seconds between questions
OVERLAP: Final = 15.0  # seconds asked for again: receipts reach the store a moment after what they are about
SEEN: Final = 20_000  # events remembered, so that what is asked for again is not shown again
BATCH: Final = 1_000  # events asked for at once


class QueryCommand(click.Command):
    """A command whose arguments are a search: `-word` is a term of it, not an option."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from lae_monitor.query.grammar import ways

        with formatter.section("Terms, in quotes where the shell wants them"):
            formatter.write_dl(ways(ctx.ensure_object(Invocation).kinds))

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        takes: dict[str, bool] = {}  # option -> whether a value follows
        for parameter in self.get_params(context):
            if isinstance(parameter, click.Option):
                takes |= dict.fromkeys(parameter.opts, not parameter.is_flag)
        options: list[str] = []
        query: list[str] = []
        waiting = list(args)
        while waiting:
            word = waiting.pop(0)
            if word == "--":
                query += waiting
                break
            if word in takes:
                options += [word, *(waiting[:1] if takes[word] else [])]
                waiting = waiting[1:] if takes[word] else waiting
            elif word.partition("=")[0] in takes and word.startswith("--"):
                options.append(word)
            else:
                query.append(word)
        return super().parse_args(context, [*options, "--", *query])


def _complete(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    from lae_monitor.query.grammar import completions

    return completions(begun, context.ensure_object(Invocation).kinds)


_settings: Final[dict[str, Any]] = {"help_option_names": ["--help"], "max_content_width": 120}


@click.command(cls=QueryCommand, context_settings=_settings)
@click.argument("query", nargs=-1, metavar="[QUERY]...", shell_complete=_complete)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Rows at most.")
@common
def search(invocation: Invocation, query: tuple[str, ...], limit: int) -> None:
    """Search the events of all hosts, the newest first. Without QUERY, all events. Exits 1
    when nothing was found.

    \b
    lae-monitor search disk full since:2d
    lae-monitor search kind:crash product:Firefox -shutdown
    lae-monitor search '"connection refused"' level:'>=warning' --limit 20
    """
    from lae_monitor.terminal.answers import answers
    from lae_monitor.terminal.table import event_lines

    text = " ".join(query)
    _understood(invocation, text)
    with answers(invocation) as asked:
        answer = asked.get("/api/search", q=text, limit=limit)
    rows = answer["rows"]
    if rows or invocation.as_json:
        invocation.answer(answer, lambda: "\n".join(event_lines(rows)))
    if not invocation.as_json:
        _summary(invocation, answer, text)
    if not rows:
        raise SystemExit(EXIT_FINDINGS)


def _summary(invocation: Invocation, answer: dict[str, Any], text: str) -> None:
    """What there is to say beside the rows, on standard error."""
    from lae_monitor.query.parser import parse

    rows = answer["rows"]
    least = "" if answer["complete"] else "at least "
    click.echo(
        f"{least}{answer['matched']:,} of {answer['scanned']:,} events in {answer['seconds']:.3f} s"
        + (f"; shown are the newest {len(rows):,}" if len(rows) < answer["matched"] else ""),
        err=True,
    )
    if not answer["complete"]:
        click.echo(f"Incomplete: {answer['reason']}", err=True)
    if rows:
        click.echo(f"Next: lae-monitor report show {_argument(rows[0]['id'])}", err=True)
    elif names := parse(text, invocation.kinds).attributes:
        click.echo(f"Next: {names[0]}: was taken as an attribute's name; quote it to search for the words", err=True)
    else:
        click.echo("Next: fewer terms, or a longer time; lae-monitor search --help", err=True)


def _argument(text: str) -> str:
    import shlex

    from lae_monitor.core.printable import one_line

    return shlex.quote(one_line(text))


def _understood(invocation: Invocation, text: str) -> None:
    """Ends the command (2) with a pointer to the place, when `text` is no search."""
    from lae_monitor.core.printable import one_line
    from lae_monitor.query.grammar import BadQuery
    from lae_monitor.query.parser import parse

    try:
        parse(text, invocation.kinds)
    except BadQuery as error:
        if not invocation.as_json:
            click.echo(f"    {one_line(text)}", err=True)
            if text == one_line(text) and len(text) < 200:
                click.echo(f"    {' ' * error.start}{'^' * max(error.end - error.start, 1)}", err=True)
        invocation.fail(f"bad_query: {error.problem}", EXIT_USAGE, following="lae-monitor search --help")


@click.command(cls=QueryCommand, context_settings=_settings)
@click.argument("query", nargs=-1, metavar="[QUERY]...", shell_complete=_complete)
@click.option(
    "-n", "--lines", type=click.IntRange(0, 1_000), default=10, show_default=True, help="Earlier events first."
)
@common
def tail(invocation: Invocation, query: tuple[str, ...], lines: int) -> None:
    """Show events as they arrive, until Ctrl-C. With --json, one object a line.

    \b
    lae-monitor tail level:'>=warning'
    lae-monitor tail -n 50 host:'ml*' -kind:sonar
    """
    from lae_monitor.core.time import wall_clock
    from lae_monitor.terminal.answers import Answers, answers

    text = " ".join(query)
    _understood(invocation, text)
    follower = Follower(lambda row: _show(invocation, row))

    def follow(asked: Answers) -> None:
        first = asked.get("/api/events", q=text, limit=max(lines, 1))
        follower.begin(first, lines)
        if not asked.running:
            invocation.fail("nothing runs, so nothing new comes", EXIT_UNAVAILABLE, following="lae-monitor run")
        while True:
            started = wall_clock()
            follower.take(asked.get("/api/events", q=text, limit=BATCH, after=follower.after))
            time.sleep(0.0 if follower.behind else max(POLL - (wall_clock() - started), 0.0))

    try:
        with answers(invocation) as asked:
            follow(asked)
    except KeyboardInterrupt:
        raise SystemExit(0) from None


def _show(invocation: Invocation, row: dict[str, Any]) -> None:
    from lae_monitor.terminal.table import event_lines

    invocation.answer(row, lambda: event_lines([row])[0])


class Follower:
    """Shows each event once, although answers overlap."""

    def __init__(self, show: Callable[[dict[str, Any]], None]) -> None:
        self._show = show
        self._seen: set[tuple[str, ...]] = set()
        self._order: deque[tuple[str, ...]] = deque()
        self._next = ""
        self.behind = False  # whether there is more to come at once

    @property
    def after(self) -> str:
        """The time to ask after: a little before what was seen last, so that nothing that is late is missed."""
        from lae_monitor.core.time import format_time, parse_time

        return self._next if self.behind else format_time(parse_time(self._next) - OVERLAP, digits=6)

    def begin(self, answer: dict[str, Any], lines: int) -> None:
        """The last `lines` events; those that came before are not shown later either."""
        self._next = answer["next"]
        for row in reversed(answer["rows"]):
            self._remember(row)
        for row in reversed(answer["rows"][:lines]):
            self._show(row)

    def take(self, answer: dict[str, Any]) -> None:
        new = [row for row in answer["rows"] if self._remember(row)]
        for row in new:
            self._show(row)
        self.behind = not answer["complete"] and bool(new)
        self._next = max(self._next, answer["next"])

    def _remember(self, row: dict[str, Any]) -> bool:
        """Whether `row` is new."""
        name = (row["kind"], row["cluster"], row["host"], row["id"], row["time"], row["title"])
        if name in self._seen:
            return False
        self._seen.add(name)
        self._order.append(name)
        if len(self._order) > SEEN:
            self._seen.discard(self._order.popleft())
        return True
