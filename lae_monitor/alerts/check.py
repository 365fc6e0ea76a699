"""What destinations need beside their settings, found out before an alarm does."""

from collections.abc import Iterator

from lae_monitor.alerts.secret import URL, NoSecret, find, need, path_of
from lae_monitor.config import Settings
from lae_monitor.config.settings import Mail


def check(settings: Settings) -> Iterator[str]:
    """A sentence for each secret that is needed and not fit to be used; it begins with the key it is about."""
    for number, destination in enumerate(settings.alerts.destinations):
        path = path_of(settings, destination.title)
        try:
            if isinstance(destination, Mail):
                if destination.user:
                    need(path)
            else:
                find(path)
                if not destination.url:
                    need(path.with_name(path.name + URL))
        except NoSecret as error:
            yield f"alerts.destinations[{number}]: {error}"
