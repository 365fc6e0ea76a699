"""Incidents, as nodes record them."""

import json
import random
import time
from pathlib import Path
from typing import Any

START = 1_700_000_000.0  # of the events
AGE = 2 * 86400.0  # of the incidents: they were recorded long ago, so that nobody waits for the rest of them


def incident(path: Path, events: int) -> None:
    """Writes one of `events` events, of eleven fields each, as a node records it before it compresses it."""
    random.seed(events)
    made = [_event(number) for number in range(events)]
    header = {"type": "incident", "trigger": made[-1] | {"level": 30}, "versions": {"foolscap": "24.9.0"}, "pid": 77}
    wrapped = [{"from": "local", "rx_time": START, "d": event} for event in made]
    lines = [b"# foolscap flogfile v1", *(json.dumps(line).encode() for line in ({"header": header}, *wrapped)), b""]
    path.write_bytes(b"\n".join(lines))


def _event(number: int) -> dict[str, Any]:
    return {
        "num": number,
        "time": START + number / 100,
        "level": 20,
        "incarnation": ["5f4dcc3b5aa765d6", None],
        "facility": "tahoe.immutable.download",
        "umid": "lp1vaQ",
        "format": "got share %(shnum)d of %(si)s",
        "si": f"{random.getrandbits(128):032x}",
        "shnum": random.randrange(10),
        "peer": f"{random.getrandbits(80):020x}",
        "system": "storage",
    }


def name(number: int) -> str:
    return time.strftime("incident-%Y-%m-%d--%H-%M-%SZ-", time.gmtime(time.time() - AGE + number)) + "abcdefg"


def copies(source: Path, folder: Path, number: int, triggers: int) -> Path:
    """A folder with `number` incidents like `source`: each is one of its own, by the number of its trigger."""
    folder.mkdir(parents=True)
    magic, line, rest = source.read_bytes().split(b"\n", 2)
    header = json.loads(line)
    for turn in range(number):
        header["header"]["trigger"]["num"] = triggers + turn
        (folder / f"{name(turn)}.flog").write_bytes(b"\n".join([magic, json.dumps(header).encode(), rest]))
    return folder
