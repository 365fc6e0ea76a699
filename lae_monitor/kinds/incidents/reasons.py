"""Why an incident is not fetched, or not kept."""

from typing import Final

from lae_monitor.core.reasons import Reason

REASONS: Final = (
    Reason("bad_incident_name", 400, "not the name of a Foolscap incident (incident-...)"),
    Reason("incident_too_large", 413, "the incident holds more than the limit"),
    Reason("incident_malformed", 400, "the node's answer is not an incident"),
    Reason("incident_unavailable", 503, "the node did not hand over the incident it announced"),
    Reason("incident_known", 409, "the same incident is stored already, under another name or host"),
    Reason("host_full", 507, "the archive keeps as much of this host's incidents as it may; it is asked again later"),
)
