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
import secrets
import socket
from pathlib import Path
from typing import Final, NamedTuple

from lae_monitor.archive.small_files import make_folder, replace
from lae_monitor.core.secrets import Secret
from lae_monitor.demo.hosts import CLUSTERS, GRID, inventory
from lae_monitor.demo.story import Story
from lae_monitor.net.passwords import hash_password

CONFIG: Final = "lae-monitor.toml"
FLEET: Final = "fleet"
PASSWORDS: Final = "passwords.txt"  # a file's name
STORY: Final = "story.json"
USUAL: Final = {"web": 8642, "crashes": 8000, "sonar": 8086, "incidents": 3118}  # as documented
LOOPBACK: Final = "127.0.0.1"
HERE: Final = "localhost"  # what a report of the user's own, from this machine, is filed under


class NotADemo(Exception):
    """The folder holds something else, which the demo would spoil."""


class Ports(NamedTuple):
    """Where the monitor listens."""

    web: int
    crashes: int
    sonar: int
    incidents: int


def choose_ports(base: int | None) -> Ports:
    """Four ports from `base` on; without it the usual ones, or for one that is taken another that is free.

    Raises:
        OSError: one from `base` on is taken.
    """
    if base is not None:
        for number in range(base, base + len(USUAL)):
            _try(number)
        return Ports(*range(base, base + len(USUAL)))
    return Ports(**{name: _usual_or_free(number) for name, number in USUAL.items()})


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


def prepare(state: Path, ports: Ports, story: Story) -> Path:
    """Makes `state` a demo's, or renews what an earlier demo left there; returns the configuration's path.

    Raises:
        NotADemo: `state` holds something, and no demo put it there.
    """
    if state.is_dir() and any(state.iterdir()) and not (state / FLEET).is_dir():
        raise NotADemo(f"{state} is not empty, and no demo has been there")
    fleet = state / FLEET
    credentials = state / "credentials" / "sonar"
    for folder in (fleet, credentials):
        make_folder(folder)
    passwords = _passwords(fleet / PASSWORDS)
    hashed = "".join(f"{cluster}:{hash_password(word.reveal())}\n" for cluster, word in passwords.items())
    replace(credentials / "exfil-auth.txt", hashed.encode())
    if not (fleet / STORY).exists():
        write_told(fleet, story, story.begins)
    replace(state / CONFIG, _configuration(state, ports).encode())
    return state / CONFIG


def _passwords(path: Path) -> dict[str, Secret]:
    if not path.exists():
        replace(path, "".join(f"{cluster}:{secrets.token_urlsafe(18)}\n" for cluster in CLUSTERS).encode())
    return read_passwords(path)


def read_passwords(path: Path) -> dict[str, Secret]:
    """The password of each cluster, as its nodes have it."""
    pairs = (line.partition(":") for line in path.read_text().splitlines())
    return {cluster: Secret(word) for cluster, _, word in pairs}


def read_told(fleet: Path) -> tuple[Story, float]:
    """The story as it was begun, and until when it was told."""
    told = json.loads((fleet / STORY).read_text())
    return Story(told["seed"], told["begins"], told["hours"]), told["until"]


def write_told(fleet: Path, story: Story, until: float) -> None:
    told = {"seed": story.seed, "begins": story.begins, "hours": story.hours, "until": until}
    replace(fleet / STORY, json.dumps(told).encode() + b"\n")


def _configuration(state: Path, ports: Ports) -> str:
    names = {LOOPBACK: HERE, **inventory()}
    lines = [f"{json.dumps(address)} = {json.dumps(name)}" for address, name in names.items()]
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
listen = "{LOOPBACK}:{ports.web}"

[gatherers.crashes]
listen = "{LOOPBACK}:{ports.crashes}"

[gatherers.sonar]
listen = "{LOOPBACK}:{ports.sonar}"

[gatherers.incidents]
listen = "tcp:{ports.incidents}:interface={LOOPBACK}"
location = "tcp:{LOOPBACK}:{ports.incidents}"
"""
