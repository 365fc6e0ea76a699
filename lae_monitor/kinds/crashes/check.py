"""What `lae-monitor check config` asks of the crash gatherer; what keeps it from starting is asked at its start, too."""

from collections.abc import Iterator, Mapping
from typing import Final

from lae_monitor.config import Settings
from lae_monitor.core.limits import format_size
from lae_monitor.core.names import ClusterName, HostName, usual_address
from lae_monitor.core.refusals import Refused
from lae_monitor.core.time import Clock, wall_clock
from lae_monitor.kinds.crashes.crashmover.check import check as check_crashmover
from lae_monitor.kinds.crashes.throttle.rules import PRESETS, RulesFile, rules_file
from lae_monitor.kinds.crashes.tokens import Tokens, file_in
from lae_monitor.kinds.rule_files.table import RulesError
from lae_monitor.net.http import parse_networks
from lae_monitor.net.statsd import parse_address

MAX_PREFIX: Final = 20  # characters before the crash id in a reply; the Socorro family uses three


def known_hosts(inventory: Mapping[str, str]) -> dict[str, HostName]:
    """The hosts that are known by their address, which is brought into its usual form.

    Raises:
        ValueError: an address is none.
        Refused: `bad_host_name`.
    """
    return {usual_address(address): HostName(name) for address, name in inventory.items()}


def tokens_of(settings: Settings, clock: Clock = wall_clock) -> Tokens:
    """The tokens of products and submitters; there need not be any."""
    return Tokens(file_in(settings), required=settings.gatherers["crashes"].require_token, clock=clock)


def rules_of(settings: Settings, clock: Clock = wall_clock) -> RulesFile:
    """The throttle rules that are configured; a file's path is taken from the configuration's folder.

    Raises:
        RulesError
    """
    return rules_file(rules_path(settings), clock)


def rules_path(settings: Settings) -> str:
    """The preset's name, or the absolute path of the file of throttle rules."""
    return PRESETS.path(str(settings.gatherers["crashes"].rules), settings.source)


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
        rules_of(settings)
    except RulesError as error:
        yield from (f"gatherers.crashes.rules: {problem}" for problem in error.problems)
    try:
        tokens_of(settings).refresh()
    except Refused as refused:
        yield f"tokens of crash clients: {refused.detail}"
    if own.statsd:
        try:
            parse_address(own.statsd)
        except ValueError as error:
            yield f"gatherers.crashes.statsd: {error}"
    if not own.id_prefix.isprintable() or len(own.id_prefix) > MAX_PREFIX or "/" in own.id_prefix:
        yield f"gatherers.crashes.id_prefix: is at most {MAX_PREFIX} printable characters without a slash"
    if not own.view_url.isprintable():
        yield "gatherers.crashes.view_url: is one line of printable characters"
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
    yield from check_crashmover(settings)
