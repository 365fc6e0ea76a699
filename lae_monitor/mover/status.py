"""What the mover tells of itself: to Prometheus, to `store status`, to the pages."""

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import Gauge

from lae_monitor.mover.ledger import Ledger


@dataclass
class Status:
    """What the mover has done since it started, and what it has before it."""

    batches: int = 0
    rows: int = 0
    failures: int = 0
    waiting: int = 0  # files known to hold more than was moved
    oldest: float = 0.0  # seconds the oldest of them has been waiting
    caught_up: bool = False  # a full sweep found nothing more
    error: str = ""
    last: float = 0.0  # when the last batch was confirmed
    checked: float = 0.0  # when the store was last compared with the archive
    read_again: int = 0  # files of which the store had lost rows, since the start
    broken_parts: int = 0  # parts of the store that could not be read, since the start


WAITING = Gauge("lae_mover_waiting_files", "Files of the archive that hold more than was moved into the store")
OLDEST = Gauge("lae_mover_oldest_seconds", "How long the oldest of them has been waiting")
BATCHES = Gauge("lae_mover_batches", "Batches moved since the start")
ROWS = Gauge("lae_mover_rows", "Rows moved since the start")
FAILURES = Gauge("lae_mover_failures", "Batches that failed and were repeated since the start")
QUARANTINED = Gauge("lae_mover_quarantined_spans", "Pieces of the archive that no reader understood")
CHECKED = Gauge(
    "lae_store_checked_timestamp_seconds", "When the store was last compared with the archive; 0 for not yet"
)
READ_AGAIN = Gauge("lae_store_files_read_again", "Files of which the store had lost rows, since the start")
BROKEN = Gauge("lae_store_broken_parts", "Parts of the store that could not be read, since the start")


def watch(state: Status, ledger: Callable[[], Ledger]) -> None:
    """Lets the metrics follow `state`, and the ledger of the moment: a rebuild replaces it."""
    WAITING.set_function(lambda: state.waiting)
    OLDEST.set_function(lambda: state.oldest)
    BATCHES.set_function(lambda: state.batches)
    ROWS.set_function(lambda: state.rows)
    FAILURES.set_function(lambda: state.failures)
    QUARANTINED.set_function(lambda: len(ledger().quarantined()))
    CHECKED.set_function(lambda: state.checked)
    READ_AGAIN.set_function(lambda: state.read_again)
    BROKEN.set_function(lambda: state.broken_parts)
