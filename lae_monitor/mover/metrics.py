"""The mover's figures for Prometheus."""

from prometheus_client import Gauge

from lae_monitor.mover.mover import Mover

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


def watch(mover: Mover) -> None:
    """Lets the figures follow `mover`."""
    WAITING.set_function(lambda: mover.state.waiting)
    OLDEST.set_function(lambda: mover.state.oldest)
    BATCHES.set_function(lambda: mover.state.batches)
    ROWS.set_function(lambda: mover.state.rows)
    FAILURES.set_function(lambda: mover.state.failures)
    QUARANTINED.set_function(lambda: len(mover.ledger.quarantined()))
    CHECKED.set_function(lambda: mover.state.checked)
    READ_AGAIN.set_function(lambda: mover.state.read_again)
    BROKEN.set_function(lambda: mover.state.broken_parts)
