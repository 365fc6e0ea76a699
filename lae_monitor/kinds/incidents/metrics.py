"""The gatherer's own figures; see docs/metrics.md. None has a label that a node, or the size of a fleet, can multiply."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

STORED: Final = Counter("lae_incidents_stored_total", "Incidents that are durable")
STORED_BYTES: Final = Counter("lae_incidents_stored_bytes_total", "Bytes of their files, compressed")
FETCHED_BYTES: Final = Counter("lae_incidents_fetched_bytes_total", "Bytes of incidents as JSON, before compression")
KNOWN: Final = Counter("lae_incidents_known_total", "Incidents that came again under another name or host")
REFUSED: Final = Counter("lae_incidents_refused_total", "What was refused, by reason code", ["reason"])
RECEIPTS_LOST: Final = Counter("lae_incidents_receipts_lost_total", "Receipts and marks that the journal did not take")
FAILED: Final = Counter("lae_incidents_failed_total", "Fetches that ended without an incident, and are repeated")
FETCHING: Final = Histogram(
    "lae_incidents_fetch_seconds",
    "From asking a node for an incident to having its answer",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
WAITING: Final = Gauge(
    "lae_incidents_waiting", "Incidents that connected nodes announced, and that are still to be fetched"
)
CONNECTIONS: Final = Gauge("lae_incidents_connections", "Nodes that are connected")
HOSTS: Final = Gauge("lae_incidents_hosts_connected", "Hosts of which a node is connected")
HEARD: Final = Gauge("lae_incidents_last_heard_seconds", "Seconds since any node was heard; 0 before the first")
