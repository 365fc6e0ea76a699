"""What of a node's log is not kept, and why: a mark on its host's timeline, with how many events, once a minute at most."""

from collections import defaultdict
from typing import Final

from prometheus_client import Counter

from lae_monitor.core.names import Place
from lae_monitor.kinds.receipts import Receipts

# By the label of the metric, what a mark says of them.
REASONS: Final = {
    "unsent": "were not sent: the node's queue was full, it was not connected, or it keeps them to itself",
    "day": "are beyond what is kept of a host and day",
    "waiting": "found no room while the archive took nothing, or too slowly",
    "large": "are larger than what is kept of one",
    "malformed": "have no number, no time, or are no events",
}

KEPT: Final = Counter("lae_incidents_log_events_total", "Log events of nodes that are durable")
LOST: Final = Counter("lae_incidents_log_lost_total", "Log events of nodes that are not kept, by reason", ["reason"])


class Losses:
    """Of all hosts, until they are told."""

    def __init__(self, receipts: Receipts) -> None:
        self._receipts = receipts
        self._counts: defaultdict[tuple[Place, str], int] = defaultdict(int)

    def count(self, place: Place, reason: str, events: int = 1) -> None:
        """`events` below 0: so many came late."""
        self._counts[place, reason] += events
        if events > 0:
            LOST.labels(reason).inc(events)

    def tell(self) -> None:
        """To be called now and then: writes a mark for each host and reason, and begins to count anew."""
        counts, self._counts = self._counts, defaultdict(int)
        for (place, reason), count in counts.items():
            if count > 0:
                title = f"{count} log event{'s' * (count > 1)} {'are' if count > 1 else 'is'} missing"
                self._receipts.mark(place, title, level="warning", text=f"{count} {REASONS[reason]}", reason=reason)
