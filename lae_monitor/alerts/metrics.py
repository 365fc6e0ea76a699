"""What the alarms and their messages come to, for Prometheus."""

from typing import Final

from prometheus_client import Counter, Gauge

_LABELS: Final = ("destination",)

HELD = Gauge("lae_alerts_held", "Alarms that hold now", ("rule",))
RAISED = Counter("lae_alerts_raised", "Alarms that were raised since the start", ("rule",))
LOOKED = Gauge("lae_alerts_looked_seconds", "When conditions were last looked at, in seconds since 1970")
WAITING = Gauge("lae_alerts_waiting_messages", "Messages that a destination has yet to get", _LABELS)
DELIVERED = Counter("lae_alerts_delivered", "Messages that a destination got", _LABELS)
FAILED = Counter("lae_alerts_failed_tries", "Tries of delivering a message that failed", _LABELS)
GIVEN_UP = Counter("lae_alerts_given_up", "Messages that a destination did not get for a week, and will not", _LABELS)
