"""What can be wrong with [gatherers.incidents], as sentences."""

from collections.abc import Iterator
from ipaddress import ip_address

from lae_monitor.config import Settings
from lae_monitor.config.values import Listen
from lae_monitor.core.limits import format_size
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.incidents.classify.process import ChildFailed, load_blocking
from lae_monitor.kinds.incidents.classify.sources import checked, places_of, read_sources
from lae_monitor.kinds.incidents.wire.flog import MAX_INCIDENT
from lae_monitor.kinds.rule_files.table import RulesError
from lae_monitor.net.tubs.identity import parse_listen, parse_location

SECTION = "gatherers.incidents"


def advice(settings: Settings) -> Iterator[str]:
    """A sentence for what works, and may not be what was meant; nothing of what `check` has."""
    section = settings.gatherers["incidents"]
    try:
        listens, hints = parse_listen(section.listen), parse_location(section.location)
    except Refused:
        return
    if _is_for_others(listens.interface) and hints and all(_is_here(host) for host, _ in hints):
        yield (
            f"{SECTION}.location: {hints[0][0]} leads nodes on other hosts to themselves; give the name or address by which "
            "they reach this host, then lae-monitor fleet register incident again, for FURLs hold it"
        )


def _is_for_others(interface: str) -> bool:
    return not interface or not _is_here(interface)


def _is_here(host: str) -> bool:
    """Whether the name or address means the local host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") in {"localhost", "ip6-localhost"} or host.lower().endswith(".localhost")


def check(settings: Settings) -> Iterator[str]:
    """A sentence for each problem."""
    yield from _classification(settings)
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


def _classification(settings: Settings) -> Iterator[str]:
    """What is wrong with rules and classifiers, which are loaded in a process of their own; blocks for that long."""
    places = places_of(settings)
    for key, place in (("classifiers", places._replace(rules="none")), ("rules", places._replace(folder=""))):
        try:
            sources = checked(read_sources(place))
        except RulesError as error:
            yield from (f"{SECTION}.{key}: {problem}" for problem in error.problems)
            continue
        if not sources.classifiers:
            continue
        try:
            loaded = load_blocking(sources, float(settings.gatherers["incidents"].classify_limit))
        except ChildFailed as error:
            yield f"{SECTION}.{key}: {error}"
        else:
            yield from (f"{SECTION}.{key}: {name}: {why}" for name, why in loaded.broken.items())
