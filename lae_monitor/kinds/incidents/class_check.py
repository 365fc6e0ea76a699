"""What can be wrong with classification rules and classifiers, as sentences."""

from collections.abc import Iterator
from typing import Final

from lae_monitor.config import Settings
from lae_monitor.kinds.incidents.class_process import ChildFailed, load_blocking
from lae_monitor.kinds.incidents.class_rules import RulesError
from lae_monitor.kinds.incidents.class_sources import PRESETS, places_of, read_sources

SECTION: Final = "gatherers.incidents"


def problems(settings: Settings) -> Iterator[str]:
    """A sentence for each. What is loaded is loaded in a process of its own; it blocks for that long."""
    places = places_of(settings)
    try:
        sources = read_sources(places)
    except RulesError as error:
        yield from (f"{SECTION}: {problem}" for problem in error.problems)
        return
    if sources.source in PRESETS and not sources.classifiers:
        return  # shipped, and tested
    try:
        loaded = load_blocking(sources, float(settings.gatherers["incidents"].classify_limit))
    except ChildFailed as error:
        yield f"{SECTION}: {error}"
        return
    yield from (f"{SECTION}.rules: {problem}" for problem in loaded.problems)
    yield from (f"{SECTION}.classifiers: {name}: {why}" for name, why in loaded.broken.items())
