"""The words of a message: a title, a text for people, and a document for programs."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from lae_monitor import __version__
from lae_monitor.alerts.alarm import Alarm
from lae_monitor.alerts.ledger import Message
from lae_monitor.core.time import format_duration, format_time

MAX_SHOWN: Final = 50  # alarms that a message tells in words; of the others it says how many there are
DOCUMENT: Final = 1  # version of the webhook's document


def title(monitor: str, alarms: Sequence[Alarm]) -> str:
    """The subject: `[lae] node7 is silent for 2h 1m`, or `[lae] 12 alarms: 10 host silent, 2 new group`."""
    if len(alarms) == 1:
        return f"[{monitor}] {headline(alarms[0])}"
    counts = Counter((alarm.rule, alarm.is_over) for alarm in alarms)
    told = ", ".join(f"{count:,} {'over: ' if over else ''}{rule}" for (rule, over), count in counts.items())
    return f"[{monitor}] {len(alarms):,} alarms: {told}"


def headline(alarm: Alarm) -> str:
    """An alarm on one line."""
    return f"over: {alarm.why_ended} (was: {alarm.title})" if alarm.is_over else alarm.title


def text(monitor: str, message: Message, pages_url: str) -> str:
    """The message for people; lines as they are."""
    shown = message.alarms[:MAX_SHOWN]
    paragraphs = [_paragraph(alarm, pages_url) for alarm in shown]
    if more := len(message.alarms) - len(shown):
        paragraphs.append(f"... and {more:,} more: lae-monitor alert list")
    made = format_time(message.made, digits=0)
    foot = f"lae-monitor {__version__} of {monitor}, {made}. All alarms: lae-monitor alert list"
    return "\n\n".join([*paragraphs, f"-- \n{foot}"]) + "\n"


def _paragraph(alarm: Alarm, pages_url: str) -> str:
    first = headline(alarm) if alarm.is_over else f"{alarm.level}: {alarm.title}"
    lines = [first, f"    {alarm.rule}, {alarm.place}"]
    if alarm.is_over:
        held = format_duration(max((alarm.ended or alarm.raised) - alarm.raised, 0.0))
        lines.append(f"    The alarm held for {held}.")
    else:
        lines += [f"    {line}" for line in alarm.text.splitlines()]
    if url := address(alarm, pages_url):
        lines.append(f"    {url}")
    return "\n".join(lines)


def address(alarm: Alarm, pages_url: str) -> str:
    """The page about an alarm; "" when nobody said how pages are reached."""
    if not pages_url:
        return ""
    base = pages_url.rstrip("/")
    if group := alarm.attrs.get("group_id"):
        return f"{base}/group/{quote(group, safe='')}"
    if alarm.host:
        return f"{base}/host/{quote(alarm.cluster, safe='')}/{quote(alarm.host, safe='')}"
    return f"{base}/"


def document(monitor: str, message: Message, pages_url: str) -> dict[str, Any]:
    """What a webhook gets. `text` is what Slack, Mattermost and Rocket.Chat show."""
    return {
        "version": DOCUMENT,
        "id": message.id,
        "monitor": monitor,
        "time": format_time(message.made),
        "title": title(monitor, message.alarms),
        "text": f"{title(monitor, message.alarms)}\n{text(monitor, message, pages_url)}",
        "alarms": [alarm_document(alarm, pages_url) for alarm in message.alarms],
    }


def alarm_document(alarm: Alarm, pages_url: str) -> dict[str, Any]:
    """An alarm for programs."""
    return {
        "id": alarm.id,
        "rule": alarm.rule,
        "state": "over" if alarm.is_over else "raised",
        "cluster": alarm.cluster,
        "host": alarm.host,
        "level": alarm.level,
        "title": alarm.title,
        "text": alarm.text,
        "since": format_time(alarm.since),
        "raised": format_time(alarm.raised),
        "ended": format_time(alarm.ended) if alarm.is_over and alarm.ended is not None else None,
        "why_ended": alarm.why_ended,
        "url": address(alarm, pages_url),
        "attrs": alarm.attrs,
    }
