"""What can be wrong with [gatherers.incidents], as sentences."""

from collections.abc import Iterator

from lae_monitor.config import Settings
from lae_monitor.core.refusals import Refused
from lae_monitor.net.tubs_address import parse_listen, parse_location

SECTION = "gatherers.incidents"


def check(settings: Settings) -> Iterator[str]:
    """A sentence for each problem."""
    section = settings.gatherers["incidents"]
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
