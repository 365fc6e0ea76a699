"""Whether the incident gatherer has heard hosts since something was changed on them."""

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from lae_monitor.config import Settings
from lae_monitor.kinds.incidents.nodes.status import GATHERER
from lae_monitor.kinds.incidents.state import Seen, look

LOOK: Final = 0.25  # seconds between looks; the gatherer writes within one who is connected


class Awaited(NamedTuple):
    """A host of which so many nodes are to be connected, since a time if there is one (seconds since the epoch)."""

    cluster: str
    host: str
    nodes: int
    since: float | None


def seen(settings: Settings) -> Seen:
    """Who is connected.

    Raises:
        sqlite3.Error, OSError: the gatherer's database cannot be read.
    """
    return look(settings.state.path / f"{GATHERER}.db")


def connected(now: Seen, awaited: Awaited) -> int:
    """How many of a host's connections count."""
    return sum(
        (one.cluster, one.host) == (awaited.cluster, awaited.host)
        and (awaited.since is None or one.since >= awaited.since)
        for one in now.connections
    )


def await_heard(awaited: Sequence[Awaited], wait: float, ask: Callable[[], Seen]) -> tuple[Seen, dict[Awaited, int]]:
    """Waits until all are heard, at most `wait` seconds, and no longer once no gatherer runs.

    Returns:
        What was seen last, and how many connections each of those has that were not heard in full.
    """
    end = time.monotonic() + wait
    while True:
        now = ask()
        silent = {one: count for one in awaited if (count := connected(now, one)) < one.nodes}
        if not silent or not now.is_open or time.monotonic() >= end:
            return now, silent
        time.sleep(LOOK)
