"""The destinations that are configured, ready to be used, and which crashes each of them gets."""

from collections.abc import Sequence
from dataclasses import dataclass

from lae_monitor.core.time import Clock
from lae_monitor.kinds.crashes.crashmover import config
from lae_monitor.kinds.crashes.crashmover.crash import Crash
from lae_monitor.kinds.crashes.crashmover.destination import Redacting, Saver, Void, WithFallback
from lae_monitor.kinds.crashes.crashmover.files import AntennaFiles, SocorroFiles
from lae_monitor.kinds.crashes.crashmover.objects import ObjectStore
from lae_monitor.kinds.crashes.crashmover.posting import Submitter
from lae_monitor.kinds.crashes.crashmover.tarball import Tarball
from lae_monitor.kinds.crashes.program import clean


@dataclass(frozen=True)
class Route:
    """One destination."""

    settings: config.Destination
    saver: Saver

    @property
    def name(self) -> str:
        return self.settings.title

    def takes_day(self, day: str) -> bool:
        """Whether crashes that were received on `day`, YYYYMMDD, go there."""
        own = self.settings
        return own.from_day <= day and (not own.until_day or day <= own.until_day)

    def takes(self, crash: Crash) -> bool:
        own = self.settings
        if own.only != "all" and crash.is_deferred != (own.only == "deferred"):
            return False
        return not own.products or crash.product in map(clean, own.products)


class NotMade(Exception):
    """A destination cannot be used as it is configured; the text names it."""


def routes_of(settings: config.Settings, clock: Clock) -> list[Route]:
    """
    Raises:
        NotMade: a client of an object store cannot be made.
    """
    made: list[Route] = []
    for number, own in enumerate(settings.destinations):
        try:
            made.append(Route(own, saver_of(own, clock)))
        except Exception as error:
            close(made)
            if not _is_of_the_configuration(error):
                raise
            raise NotMade(f"destinations[{number}]: {error}") from error
    return made


def _is_of_the_configuration(error: Exception) -> bool:
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - heavy, and needed only when something is wrong

    return isinstance(error, ValueError | BotoCoreError)


def saver_of(settings: config.Destination, clock: Clock) -> Saver:
    """What saves there, with its fallback and without what is redacted."""
    saver = _plain(settings, clock)
    if settings.fallback is not None:
        saver = WithFallback(saver, saver_of(settings.fallback, clock))
    return Redacting(saver, settings.redact) if settings.redact else saver


def _plain(settings: config.Destination, clock: Clock) -> Saver:
    match settings:
        case config.Antenna():
            return AntennaFiles(settings)
        case config.Socorro():
            return SocorroFiles(settings, clock)
        case config.S3():
            return ObjectStore(settings)
        case config.Http():
            return Submitter(settings)
        case config.Tar():
            return Tarball(settings)
        case _:
            return Void()


def close(routes: Sequence[Route]) -> None:
    for route in routes:
        route.saver.close()
