"""What goes wrong: the incidents and crashes of pretend hosts, in words that operators of a grid know. Pure.

The umids are those that Tahoe-LAFS nodes log with such events, so that rules written for real nodes find these, too.
"""

import random
from typing import Any, Final, NamedTuple

from lae_monitor.core.time import MINUTE
from lae_monitor.demo.hosts import SICK
from lae_monitor.demo.story import Happening, Story

OPERATIONAL: Final = 20  # Foolscap's levels
UNUSUAL: Final = 23
INFREQUENT: Final = 25
WEIRD: Final = 30
SCARY: Final = 35


class Incident(NamedTuple):
    """The event that triggered the report, and those around it."""

    before: list[dict[str, Any]]
    trigger: dict[str, Any]
    after: list[dict[str, Any]]


def incident_of(story: Story, happening: Happening) -> Incident:
    """The incident that `happening` is; the same each time it is asked for a new copy of the story."""
    dice, time = happening.dice, happening.time
    before = [_routine(dice, time - age) for age in sorted((dice.uniform(1, 900) for _ in range(24)), reverse=True)]
    if happening.told:
        before += _filling_up(story, time)
        trigger = _not_enough_shares(dice, SICK.name)
    else:
        trigger = _by_chance(story, happening)
    trigger |= {"time": time}
    return Incident(before, trigger, [_routine(dice, time + age) for age in (0.8, 2.1, 4.4)])


def _filling_up(story: Story, time: float) -> list[dict[str, Any]]:
    return [
        {
            "format": "gridstored: resident memory %(gib).1f GiB of 8 GiB, %(queue)d requests wait",
            "gib": round(story.server_gib(time - age), 1),
            "queue": int(story.server_gib(time - age) ** 2 * 9),
            "facility": "grid.storage",
            "level": UNUSUAL if age > MINUTE else INFREQUENT,
            "time": time - age,
        }
        for age in (8 * MINUTE, 4 * MINUTE, MINUTE, 4.0)
    ]


def _by_chance(story: Story, happening: Happening) -> dict[str, Any]:
    dice, host = happening.dice, happening.host
    if host.work == "gateway":
        if story.is_silent(SICK, happening.time) and dice.random() < 0.8:
            return _not_enough_shares(dice, SICK.name)
        return _pressed_button(dice) if dice.random() < 0.4 else _lost_in_get_buckets(dice)
    return _lost_introducer() if dice.random() < 0.6 else _lost_in_get_buckets(dice)


def _not_enough_shares(dice: random.Random, server: str) -> dict[str, Any]:
    return {
        "format": "ran out of shares: %(have)d of %(need)d, storage index %(si)s; overdue: %(overdue)s",
        "have": dice.randrange(3),
        "need": 3,
        "si": _storage_index(dice),
        "overdue": server,
        "facility": "tahoe.immutable.download",
        "umid": "lp1vaQ",
        "level": WEIRD,
    }


def _lost_in_get_buckets(dice: random.Random) -> dict[str, Any]:
    return {
        "format": "lost the connection to %(server)s while asking it for buckets of %(si)s",
        "server": f"store{dice.choice((1, 2, 4))}",
        "si": _storage_index(dice),
        "facility": "tahoe.immutable.download",
        "umid": "3uuBUQ",
        "level": WEIRD,
    }


def _lost_introducer() -> dict[str, Any]:
    return {
        "message": "lost the connection to the introducer, announcements may be old",
        "facility": "tahoe.introducer.client",
        "level": WEIRD,
    }


def _pressed_button(dice: random.Random) -> dict[str, Any]:
    said = dice.choice(("the upload of my photos hangs at 97 %", "cannot open the shared folder since this morning"))
    return {
        "format": "user submits incident report: %(details)s",
        "details": said,
        "facility": "tahoe.user",
        "umid": "LkD9Pw",
        "level": SCARY,
    }


def _routine(dice: random.Random, time: float) -> dict[str, Any]:
    """What a node logs all day."""
    event: dict[str, Any] = dice.choice(
        (
            {
                "format": "allocate_buckets for storage index %(si)s, %(shares)d shares of %(size)d bytes",
                "si": _storage_index(dice),
                "shares": dice.randrange(1, 4),
                "size": dice.randrange(2_000, 3_000_000),
                "facility": "tahoe.storage",
            },
            {
                "format": "get_buckets for storage index %(si)s",
                "si": _storage_index(dice),
                "facility": "tahoe.storage",
            },
            {
                "format": "connected to %(server)s, version %(version)s",
                "server": f"store{dice.randrange(1, 5)}",
                "version": "tahoe-lafs/1.20.0",
                "facility": "tahoe.storage_client",
            },
            {
                "format": "lease checker: %(buckets)d buckets examined, none expired",
                "buckets": dice.randrange(400, 9_000),
                "facility": "tahoe.storage.expirer",
            },
        )
    )
    return {**event, "level": OPERATIONAL, "time": time}


def _storage_index(dice: random.Random) -> str:
    return "".join(dice.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(26))
