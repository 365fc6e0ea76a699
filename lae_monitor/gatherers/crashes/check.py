"""What `lae-monitor check config` asks of the crash gatherer; what keeps it from starting is asked at its start, too."""

import ipaddress
from collections.abc import Iterator, Mapping

from lae_monitor.config import Settings
from lae_monitor.core.limits import format_size
from lae_monitor.core.names import ClusterName, HostName
from lae_monitor.core.refusals import Refused
from lae_monitor.net.http import parse_networks


def known_hosts(inventory: Mapping[str, str]) -> dict[str, HostName]:
    """The hosts that are known by their address, which is brought into its usual form.

    Raises:
        ValueError: an address is none.
        Refused: `bad_host_name`.
    """
    return {str(ipaddress.ip_address(address)): HostName(name) for address, name in inventory.items()}


def fatal(settings: Settings) -> Iterator[str]:
    """What keeps the gatherer from starting, a sentence each."""
    own = settings.gatherers["crashes"]
    try:
        parse_networks(own.trusted_proxies)
    except ValueError as error:
        yield f"gatherers.crashes.trusted_proxies: {error}"
    try:
        known_hosts(settings.fleet.inventory)
    except (ValueError, Refused) as error:
        yield f"fleet.inventory: {error}"
    try:
        ClusterName(settings.fleet.name)
    except Refused as refused:
        yield f"fleet.name: {refused}"


def check(settings: Settings) -> Iterator[str]:
    """What is wrong, or will be, a sentence each."""
    yield from fatal(settings)
    own = settings.gatherers["crashes"]
    if own.max_inflated < own.max_body:
        yield (
            f"gatherers.crashes.max_inflated: {format_size(own.max_inflated)} is less than max_body, "
            f"{format_size(own.max_body)}; a compressed report never gets smaller by inflating it"
        )
    for name in ("head_timeout", "idle_timeout"):
        if getattr(own, name) > own.total_timeout:
            yield f"gatherers.crashes.{name}: is longer than total_timeout, and so never counts"
