"""What can be wrong with [gatherers.incidents], as sentences."""

from collections.abc import Iterator

from lae_monitor.config import Settings
from lae_monitor.config.values import Listen
from lae_monitor.core.limits import format_size
from lae_monitor.core.refusals import Refused
from lae_monitor.gatherers.incidents.class_check import problems
from lae_monitor.gatherers.incidents.flog import MAX_INCIDENT
from lae_monitor.net.tubs_address import parse_listen, parse_location

SECTION = "gatherers.incidents"


def check(settings: Settings) -> Iterator[str]:
    """A sentence for each problem."""
    yield from problems(settings)
    section = settings.gatherers["incidents"]
    if section.http:
        try:
            Listen.parse(section.http)
        except ValueError as error:
            yield f"{SECTION}.http: {error}"
    if section.max_incident > MAX_INCIDENT:
        yield (
            f"{SECTION}.max_incident: more than {format_size(MAX_INCIDENT)}, which is what a connection may carry: "
            "larger incidents are refused all the same"
        )
    if section.max_host < section.max_incident:
        yield f"{SECTION}.max_host: less than max_incident, so that the largest incidents never have room"
    try:
        parse_listen(section.listen)
    except Refused as refused:
        yield f"{SECTION}.listen: {refused.detail}"
    try:
        hints = parse_location(section.location)
    except Refused as refused:
        yield f"{SECTION}.location: {refused.detail}"
        return
    for host, _ in hints:
        if host in {"0.0.0.0", "::"}:  # noqa: S104 - it is refused
            yield f"{SECTION}.location: {host} means all addresses; nodes need the name or address of this host"
