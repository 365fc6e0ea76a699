"""Metrics of the collector, under Antenna's names: for Prometheus always, for statsd where it is configured.

`collector.breakpad_resource.incoming_crash` is `socorro_collector_breakpad_resource_incoming_crash_total` to Prometheus, and
`socorro.collector.breakpad_resource.incoming_crash` to statsd. docs/metrics.md has all of them.
"""

import time
from functools import lru_cache
from typing import Final

from prometheus_client import Counter, Histogram

from lae_monitor.net.statsd import Statsd, tag

_RESOURCE: Final = "collector.breakpad_resource"
_MOVER: Final = "collector.crashmover"
_SIZES: Final = (1e4, 1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8, 2e8)  # bytes
_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30, 120)


def _prometheus(name: str) -> str:
    return f"socorro_{name.replace('.', '_')}"


_COUNTERS: Final = {
    name: Counter(_prometheus(name), text, labels)
    for name, text, labels in (
        (f"{_RESOURCE}.incoming_crash", "Crash reports that could be read", ()),
        (f"{_RESOURCE}.gzipped_crash", "Crash reports whose body was compressed", ()),
        (f"{_RESOURCE}.malformed", "Reports that were malformed, by reason", ("reason",)),
        (f"{_RESOURCE}.throttle", "Reports by what the throttle rules decided", ("result",)),
        (f"{_RESOURCE}.throttle_rule", "Reports by the throttle rule that decided", ("rule",)),
        (f"{_RESOURCE}.unauthorized_uuid", "Reports with a crash id of their own and no right to it", ()),
        (f"{_MOVER}.save_crash.count", "Crash reports that are durable", ()),
        (f"{_MOVER}.save_crash_dropped.count", "Crash reports that could not be made durable, and were refused", ()),
        ("collector.health.broken.count", "Calls of /__broken__", ()),
        ("collector.health.version.count", "Calls of /__version__", ()),
        ("collector.health.lbheartbeat.count", "Calls of /__lbheartbeat__", ()),
        ("collector.health.heartbeat.count", "Calls of /__heartbeat__", ()),
    )
}
_SPREADS: Final = {
    name: Histogram(_prometheus(name), text, labels, buckets=buckets)
    for name, text, labels, buckets in (
        (f"{_RESOURCE}.crash_size", "Bytes of reports after inflating", ("payload",), _SIZES),
        (f"{_RESOURCE}.on_post.time", "Seconds from a report's head to its answer", (), _SECONDS),
        (f"{_RESOURCE}.gzipped_crash_decompress", "Bytes of compressed bodies, by how it ended", ("result",), _SIZES),
        (f"{_MOVER}.crash_save.time", "Seconds until a whole report was durable", (), _SECONDS),
        (f"{_MOVER}.crash_handling.time", "Seconds from a report's head until it was durable", (), _SECONDS),
    )
}  # fmt: skip
HEALTH: Final = {"/__version__": "version", "/__lbheartbeat__": "lbheartbeat", "/__heartbeat__": "heartbeat"}


@lru_cache(1000)  # the library's own way to a labelled one takes longer than counting
def _counter(name: str, values: tuple[str, ...]) -> Counter:
    return _COUNTERS[name].labels(*values) if values else _COUNTERS[name]


@lru_cache(1000)
def _spread(name: str, values: tuple[str, ...]) -> Histogram:
    return _SPREADS[name].labels(*values) if values else _SPREADS[name]


class Measures:
    """One collector's measurements."""

    def __init__(self, statsd: Statsd) -> None:
        self._statsd = statsd

    def count(self, name: str, **labels: str) -> None:
        """Adds one to a counter; `name` without the prefix."""
        _counter(name, tuple(labels.values())).inc()
        if self._statsd.sends:
            self._statsd.count(name, *(tag(label, value) for label, value in labels.items()))

    def spread(self, name: str, value: float, **labels: str) -> None:
        """A size in bytes."""
        _spread(name, tuple(labels.values())).observe(value)
        if self._statsd.sends:
            self._statsd.spread(name, value, *(tag(label, found) for label, found in labels.items()))

    def took(self, name: str, begun: float) -> None:
        """A time: from `begun`, by `time.perf_counter()`, until now."""
        seconds = time.perf_counter() - begun
        _spread(name, ()).observe(seconds)
        if self._statsd.sends:
            self._statsd.time(name, seconds)

    def close(self) -> None:
        self._statsd.close()

    def health(self, path: str) -> None:
        """A health address was asked for."""
        if name := HEALTH.get(path):
            self.count(f"collector.health.{name}.count")

    def decided(self, result: str, rule: str) -> None:
        self.count(f"{_RESOURCE}.throttle", result=result)
        self.count(f"{_RESOURCE}.throttle_rule", rule=rule)

    def refused(self, code: str) -> None:
        """A report was refused for the reason `code`."""
        if code == "unauthorized_uuid":
            self.count(f"{_RESOURCE}.unauthorized_uuid")
        elif code in {"no_space", "archive_failed"}:
            self.count(f"{_MOVER}.save_crash_dropped.count")
        else:
            self.count(f"{_RESOURCE}.malformed", reason=code.removeprefix("malformed_"))
