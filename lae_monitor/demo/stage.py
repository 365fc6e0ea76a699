"""The demo's state folder: a configuration on loopback, the clusters' passwords, and what the fleet remembers.

    <state>/lae-monitor.toml                     the configuration; --config for every other command
    <state>/credentials/sonar/exfil-auth.txt     the clusters' passwords as the monitor keeps them, hashed
    <state>/fleet/                               the pretend hosts' own belongings:
        passwords.txt                            the clusters' passwords as their nodes have them
        story.json                               when the story began, how it goes, and until when it was told
        <host>/                                  a node's certificate and its recorded incidents

Everything else below it belongs to the monitor.
"""

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lae_monitor.archive.small_files import make_folder, replace
from lae_monitor.core.kind import Kind
from lae_monitor.demo.hosts import GRID, inventory
from lae_monitor.demo.part import Part
from lae_monitor.demo.story import Story

CONFIG: Final = "lae-monitor.toml"
FLEET: Final = "fleet"
STORY: Final = "story.json"
WEB: Final = 8642  # the usual port of the pages
LOOPBACK: Final = "127.0.0.1"
HERE: Final = "localhost"  # what a report of the user's own, from this machine, is filed under


Parts = Mapping[Kind, type[Part]]


class NotADemo(Exception):
    """The folder holds something else, which the demo would spoil."""


def usual_ports(parts: Parts) -> dict[str, int]:
    """Where a monitor listens, as documented: the pages, and each kind's gatherer."""
    return {"web": WEB, **{kind.name: part.port for kind, part in parts.items()}}


def choose_ports(parts: Parts, base: int | None) -> dict[str, int]:
    """Ports from `base` on; without it the usual ones, or for one that is taken another that is free.

    Raises:
        OSError: one from `base` on is taken.
    """
    usual = usual_ports(parts)
    if base is None:
        return {name: _usual_or_free(number) for name, number in usual.items()}
    return {name: _try(base + place) for place, name in enumerate(usual)}


def _usual_or_free(number: int) -> int:
    try:
        return _try(number)
    except OSError:
        return _try(0)


def _try(number: int) -> int:
    """The port, which could be listened on just now.

    Raises:
        OSError: it could not.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, number))
            listener.listen(1)
        except OSError as error:
            raise OSError(error.errno, f"port {number} on {LOOPBACK}: {error.strerror}") from error
        port: int = listener.getsockname()[1]
        return port


def prepare(state: Path, parts: Parts, ports: Mapping[str, int], story: Story) -> Path:
    """Makes `state` a demo's, or renews what an earlier demo left there; returns the configuration's path.

    Raises:
        NotADemo: `state` holds something, and no demo put it there.
    """
    if state.is_dir() and any(state.iterdir()) and not (state / FLEET).is_dir():
        raise NotADemo(f"{state} is not empty, and no demo has been there")
    fleet = state / FLEET
    make_folder(fleet)
    for part in parts.values():
        part.prepare(state, fleet)
    if not (fleet / STORY).exists():
        write_told(fleet, story, story.begins)
    replace(state / CONFIG, _configuration(state, parts, ports).encode())
    return state / CONFIG


def read_told(fleet: Path) -> tuple[Story, float]:
    """The story as it was begun, and until when it was told."""
    told = json.loads((fleet / STORY).read_text())
    return Story(told["seed"], told["begins"], told["hours"]), told["until"]


def write_told(fleet: Path, story: Story, until: float) -> None:
    told = {"seed": story.seed, "begins": story.begins, "hours": story.hours, "until": until}
    replace(fleet / STORY, json.dumps(told).encode() + b"\n")


def _configuration(state: Path, parts: Parts, ports: Mapping[str, int]) -> str:
    names = {LOOPBACK: HERE, **inventory()}
    lines = [f"{json.dumps(address)} = {json.dumps(name)}" for address, name in names.items()]
    sections = "\n".join(
        f"[gatherers.{kind.name}]\n{part.configuration(ports[kind.name])}\n" for kind, part in parts.items()
    )
    return f"""\
# Written by lae-monitor demo, anew at each start: pretend hosts report into it, everything is on loopback.

[fleet]
name = "{GRID}"

# Crash clients have no credential: the address they send from says which host they are on.
[fleet.inventory]
{chr(10).join(lines)}

[state]
path = {json.dumps(str(state))}

[archive]
reserve = "64 MiB"     # a demo may run where little is free

[web]
listen = "{LOOPBACK}:{ports["web"]}"

{sections}"""
