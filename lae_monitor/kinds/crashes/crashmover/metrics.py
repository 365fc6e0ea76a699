"""What the crashmover measures, named after Antenna's crashmover: `crashmover.save_crash.count` of one destination is
`socorro_crashmover_save_crash_count_total{destination="..."}`. The times for each destination are the benchmark.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30, 120)
_LABELS: Final = ("destination",)

SAVED = Counter("socorro_crashmover_save_crash_count", "Crashes that a destination has, durable and compared", _LABELS)
SKIPPED = Counter("socorro_crashmover_skipped_count", "Crashes that a destination was told not to take", _LABELS)
RETRIED = Counter("socorro_crashmover_retry_count", "Tries that failed and are repeated", _LABELS)
DROPPED = Counter("socorro_crashmover_save_crash_dropped_count", "Crashes that became dead letters", _LABELS)
UNREADABLE = Counter("socorro_crashmover_unreadable_count", "Crashes that could not be read, and were not sent")
PUBLISHED = Counter("socorro_crashmover_publish_crash_count", "Crash ids that were published", _LABELS)
UNPUBLISHED = Counter(
    "socorro_crashmover_publish_crash_dropped_count", "Crash ids that could not be published", _LABELS
)
SAVE_TIME = Histogram("socorro_crashmover_crash_save_time", "Seconds of a save", _LABELS, buckets=_SECONDS)
PUBLISH_TIME = Histogram(
    "socorro_crashmover_crash_publish_time", "Seconds of publishing an id", _LABELS, buckets=_SECONDS
)
HANDLING_TIME = Histogram(
    "socorro_crashmover_crash_handling_time", "Seconds of reading a crash and saving it", _LABELS, buckets=_SECONDS
)
BYTES = Counter("socorro_crashmover_saved_bytes", "Bytes of crashes that were saved", _LABELS)
WAITING = Gauge("lae_crashmover_waiting_crashes", "Crashes that wait for a destination", _LABELS)
OLDEST = Gauge("lae_crashmover_oldest_seconds", "How long the oldest of them has been waiting", _LABELS)
UNTOLD = Gauge("lae_crashmover_waiting_publishes", "Crash ids that wait to be published")
DEAD = Gauge("lae_crashmover_dead_letters", "Crashes and ids that are not tried again by themselves")
