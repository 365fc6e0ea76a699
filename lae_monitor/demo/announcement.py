"""What the demo prints when everything is there: what to open, and what to try next."""

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lae_monitor.config import Settings
from lae_monitor.demo.hosts import ML, SICK
from lae_monitor.demo.stage import Parts
from lae_monitor.demo.story import SILENT_FROM, Story
from lae_monitor.net.peer import name_of


def addresses(settings: Settings, parts: Parts) -> dict[str, str]:
    """Where to look, and who may; where to send."""
    web = f"http://{settings.web.listen}"
    return {
        "open_to": open_to(),
        "pages": f"{web}/",
        "story": f"{web}/host/{SICK.cluster}/{SICK.name}",
        **{kind.name: part.address(settings.gatherers[kind.name]) for kind, part in parts.items()},
    }


def commands(config: Path, parts: Parts) -> list[tuple[str, str]]:
    """Commands to try, each with what it is good for."""
    program = f"{program_name()} --config {config}"
    return [
        (f"{program} host list", "all hosts, and when each was last heard"),
        (f"{program} host show {SICK.name}", "the timeline of the host with a story"),
        *((f"{program} {words}", meaning) for part in parts.values() for words, meaning in part.to_try),
        (f"{program} tail 'cluster:{ML}'", "what one cluster reports, as it comes"),
    ]


def announcement(
    settings: Settings, parts: Parts, config: Path, story: Story, fleet: str, *, kept: bool
) -> Iterator[str]:
    """The lines.

    Args:
        settings: of the monitor.
        config: the file they were read from.
        story: what was told.
        fleet: what the fleet says of itself.
        kept: whether the state folder stays when the demo ends.
    """
    where = addresses(settings, parts)
    crashed = datetime.fromtimestamp(story.crashes[0], UTC)
    silent = datetime.fromtimestamp(story.at(SILENT_FROM), UTC)
    yield ""
    yield f"lae-monitor is ready: {fleet}."
    yield ""
    yield f"  Pages                {where['pages']}"
    yield f"  A host with a story  {where['story']}"
    yield f"                       {SICK.name}: its memory grew; from {crashed:%H:%M} UTC on its server crashed,"
    yield f"                       again and again; since {silent:%H:%M} UTC it is silent"
    yield f"  Open to              {where['open_to']}; every account of this machine may send"
    for number, (kind, part) in enumerate(parts.items()):
        yield f"  {'' if number else 'Entrances':<20} {kind.name:<10} {part.entrance(settings.gatherers[kind.name])}"
    yield ""
    yield "Try next, in another terminal:"
    for command, meaning in commands(config, parts):
        yield f"  {command}"
        yield f"      {meaning}"
    yield ""
    yield "Ctrl-C stops everything" + ("; the same command goes on from there." if kept else " and removes it.")


def open_to() -> str:
    """Who may look at the pages."""
    here = name_of(os.geteuid())
    mine = "root" if here == "root" else f"{here} and root"
    return f"{mine} on this machine; other accounts need a token (token new web), other machines are refused"


def program_name() -> str:
    """How to call this program again, as it was called."""
    called = sys.argv[0]
    return called if Path(called).name == "lae-monitor" else f"{sys.executable} -m lae_monitor"
