"""`lae-monitor alert`."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from lae_monitor.terminal.options import EXIT_FINDINGS, EXIT_UNAVAILABLE, EXIT_USAGE, Invocation, common
from lae_monitor.terminal.table import Cell, Column, Painted, table

if TYPE_CHECKING:
    from lae_monitor.alerts.alarm import Alarm
    from lae_monitor.alerts.ledger import Delivery, Listed
    from lae_monitor.config.settings import AnyDestination

WIDTH: Final = 100  # characters of a title in lists


@click.group()
@common
def alert(_invocation: Invocation) -> None:
    """Alarms: the active ones, their messages, the hosts that are expected to report; and test messages."""


@alert.command("list")
@click.option("--all", "everything", is_flag=True, help="Also alarms that are over, and messages that arrived.")
@common
def list_(invocation: Invocation, everything: bool) -> None:
    """List active alarms, news of the last 24 hours and undelivered messages. Exits 1 when there are any.

    \b
    lae-monitor alert list
    lae-monitor alert list --all --json
    """
    from lae_monitor.core.time import DAY, format_time, wall_clock

    listed = _look(invocation)
    recent = wall_clock() - DAY
    held = [alarm for alarm in listed.alarms if alarm.ended is None]
    over = [alarm for alarm in listed.alarms if alarm.ended is not None and (everything or _is_news(alarm, recent))]
    deliveries = [one for one in listed.deliveries if everything or one.state != "done"]
    late = [one for one in deliveries if one.state != "done"]
    following = _following(held, over, late)
    looked = format_time(listed.looked) if listed.looked is not None else None
    data = {
        "looked": looked,
        "alarms": [_alarm_json(alarm) for alarm in (*held, *over)],
        "messages": [_delivery_json(one) for one in deliveries],
        "next": following,
    }
    invocation.answer(data, lambda: "\n".join(_lines([*held, *over], deliveries)))
    if not invocation.as_json:
        click.echo(_as_of(looked), err=True)
        click.echo(f"Next: {following}", err=True)
    raise SystemExit(EXIT_FINDINGS if held or late or any(_is_news(alarm, recent) for alarm in over) else 0)


@alert.command("test")
@click.option("--silent-after", metavar="DURATION", default="", help="As if alerts.silent_after were this: 30m, 6h.")
@common
def test(invocation: Invocation, silent_after: str) -> None:
    """List the hosts that are expected to report: why, their last contact, and whether it raises an alarm. Sends nothing.

    Exits 1 when somebody is silent.

    \b
    lae-monitor alert test
    lae-monitor alert test --silent-after 30m
    """
    from lae_monitor.core.refusals import Refused
    from lae_monitor.core.time import format_duration, format_time, parse_duration, wall_clock

    try:
        after = parse_duration(silent_after) if silent_after else float(invocation.settings.alerts.silent_after)
    except Refused as refused:
        invocation.fail(str(refused), EXIT_USAGE, following="a duration such as 30m, 6h or 2d")
    listed = _look(invocation)
    now = listed.looked if listed.looked is not None else wall_clock()
    hosts = []
    for one in listed.hosts:
        quiet = now - (one.heard if one.heard is not None else one.expected)
        heard = format_time(one.heard) if one.heard is not None else None
        hosts.append(
            {
                "cluster": one.cluster, "host": one.host, "why": one.why, "last_heard": heard,
                "quiet_seconds": round(max(quiet, 0.0), 1), "silent": quiet >= after,
            }
        )  # fmt: skip
    hosts.sort(key=lambda host: (not host["silent"], host["cluster"], host["host"]))
    silent = [host for host in hosts if host["silent"]]
    following = (
        f"lae-monitor host show {silent[0]['host']} --cluster {silent[0]['cluster']}"
        if silent
        else "lae-monitor alert send-test"
    )
    looked = format_time(listed.looked) if listed.looked is not None else None
    data = {"looked": looked, "silent_after_seconds": after, "hosts": hosts, "next": following}
    invocation.answer(data, lambda: "\n".join(_host_table(hosts)) if hosts else "no host is expected")
    if not invocation.as_json:
        click.echo(f"{len(silent):,} of {len(hosts):,} were not heard for {format_duration(after)}", err=True)
        click.echo(_as_of(looked), err=True)
        click.echo(f"Next: {following}", err=True)
    raise SystemExit(EXIT_FINDINGS if silent else 0)


@alert.command("send-test")
@click.argument("names", nargs=-1, metavar="[DESTINATION]...")
@common
def send_test(invocation: Invocation, names: tuple[str, ...]) -> None:
    """Send a test message to each destination, or to those named; now, and without a retry.

    \b
    lae-monitor alert send-test
    lae-monitor alert send-test on-call
    """
    import asyncio

    destinations = invocation.settings.alerts.destinations
    known = {destination.title: destination for destination in destinations}
    for name in names:
        if name not in known:
            have = f"there are {', '.join(known)}" if known else "there is none"
            invocation.fail(f"no destination is called {name!r}: {have}", EXIT_USAGE)
    if not known:
        invocation.fail(
            "there is no destination", EXIT_USAGE, following="lae-monitor config explain alerts.destinations"
        )
    results = asyncio.run(_send_test(invocation, [known[name] for name in names or known]))
    failed = [name for name, error in results.items() if error]
    following = "correct it, then lae-monitor alert send-test" if failed else "see whether it arrived"
    invocation.answer(
        {
            "destinations": [
                {"name": name, "type": known[name].kind, "delivered": not error, "error": error}
                for name, error in results.items()
            ],
            "next": following,
        },
        lambda: "\n".join(_result(name, known[name].kind, error) for name, error in results.items()),
    )
    if not invocation.as_json:
        click.echo(f"Next: {following}", err=True)
    raise SystemExit(EXIT_FINDINGS if failed else 0)


async def _send_test(invocation: Invocation, destinations: Sequence[AnyDestination]) -> dict[str, str]:
    """Name of each destination -> why it was not told, "" when it was."""
    import asyncio
    import secrets

    from lae_monitor.alerts.alarm import Alarm
    from lae_monitor.alerts.deliver import deliver
    from lae_monitor.alerts.ledger import Message
    from lae_monitor.alerts.mail import NotDelivered
    from lae_monitor.core.secrets import redact
    from lae_monitor.core.time import wall_clock
    from lae_monitor.terminal.owner import as_owner

    settings, now = invocation.settings, wall_clock()
    sample = Alarm(
        id=secrets.token_hex(6), rule="test", about="test", cluster=str(settings.fleet.name), host="", level="info",
        title="this is a test: alarms reach you", text="Somebody ran lae-monitor alert send-test. Nothing is wrong.",
        since=now, raised=now,
    )  # fmt: skip

    async def send(destination: AnyDestination) -> str:
        message = Message(secrets.token_hex(8), now, [sample])
        try:
            await deliver(settings, destination, message, [])
        except NotDelivered as error:
            return redact(str(error))
        return ""

    with as_owner(settings.state.path):  # who may read the secrets
        errors = await asyncio.gather(*map(send, destinations))
    return {destination.title: error for destination, error in zip(destinations, errors, strict=True)}


# ---- what is shown -------------------------------------------------------------------------------------------------


def _look(invocation: Invocation) -> Listed:
    from lae_monitor.alerts.ledger import FILE, look
    from lae_monitor.terminal.owner import as_owner

    path = invocation.settings.state.path / FILE
    try:
        with as_owner(invocation.settings.state.path):
            return look(path)
    except sqlite3.Error as error:
        invocation.fail_for_ledger(error, str(error))
    except OSError as error:
        invocation.fail(
            f"{error.filename}: {error.strerror}", EXIT_UNAVAILABLE, following="run it as the monitor's account"
        )


def _as_of(looked: str | None) -> str:
    from lae_monitor.terminal.table import when

    return f"as of {when(looked)}" if looked else "conditions were not checked yet. Next: lae-monitor run, or serve"


def _is_news(alarm: Alarm, since: float) -> bool:
    """It is no condition that ended, but something that happened, lately."""
    return not alarm.is_over and alarm.raised >= since


def _following(held: Sequence[Alarm], over: Sequence[Alarm], late: Sequence[Delivery]) -> str:
    if late:
        return f"lae-monitor alert send-test {late[0].destination}"
    for alarm in (*held, *over):
        if group := alarm.attrs.get("group_id"):
            return f"lae-monitor group show {group}"
        if alarm.host:
            return f"lae-monitor host show {alarm.host} --cluster {alarm.cluster}"
        return "lae-monitor check fleet"
    return "lae-monitor alert test"


def _lines(alarms: Sequence[Alarm], deliveries: Sequence[Delivery]) -> list[str]:
    from lae_monitor.core.printable import one_line
    from lae_monitor.core.time import format_time
    from lae_monitor.terminal.table import painted, when

    rows = (
        (
            Painted(when(format_time(alarm.raised)), "debug"), Painted(alarm.level, alarm.level), alarm.rule, alarm.place,
            Painted(alarm.title, alarm.level), f"[over: {alarm.why_ended}]" if alarm.is_over else "",
        )
        for alarm in alarms
    )  # fmt: skip
    columns = ("", Column(least=8), Column(least=13), Column(least=24), Column(spare=40), Column(spare=20))
    lines = table(columns, rows) or ["no alarm"]
    for one in deliveries:
        tries = f"{one.attempts:,} {'try' if one.attempts == 1 else 'tries'}"
        soon = f", again at {when(format_time(one.next_try))}" if one.state == "pending" and one.attempts else ""
        lines.append(
            f"{painted(when(format_time(one.made)), dim=True)}  message {one.message} for {one.destination}: "
            f"{one.state}, {tries}{soon}" + (f": {one_line(one.error, WIDTH)}" if one.error else "")
        )
    return lines


def _alarm_json(alarm: Alarm) -> dict[str, Any]:
    from lae_monitor.alerts.message import alarm_document

    return alarm_document(alarm, "")


def _delivery_json(one: Delivery) -> dict[str, Any]:
    from lae_monitor.core.time import format_time

    return {
        "id": one.message, "destination": one.destination, "made": format_time(one.made), "state": one.state,
        "attempts": one.attempts, "next_try": format_time(one.next_try) if one.state == "pending" else None,
        "error": one.error,
    }  # fmt: skip


def _host_table(hosts: Sequence[Mapping[str, Any]]) -> list[str]:
    from lae_monitor.core.time import format_duration
    from lae_monitor.terminal.table import when

    def cells(host: Mapping[str, Any]) -> list[Cell]:
        silent = "silent" if host["silent"] else ""
        quiet = format_duration(host["quiet_seconds"])
        row = (host["host"], host["cluster"], when(host["last_heard"]), quiet, host["why"], silent)
        return [Painted(cell, "error" if silent else "") for cell in row]

    columns = ("host", "cluster", "last heard", "quiet for", Column("expected, for it", spare=20), "")
    return table(columns, map(cells, hosts))


def _result(name: str, kind: str, error: str) -> str:
    from lae_monitor.core.printable import one_line
    from lae_monitor.terminal.table import painted

    if error:
        return f"{painted('failed   ', 'error')} {kind} {name}: {one_line(error)}"
    return f"{painted('delivered', fg='green')} {kind} {name}"
