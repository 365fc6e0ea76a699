"""The secrets of destinations: `state/credentials/alerts/NAME`, read anew for each delivery: a change needs no restart."""

import stat
from pathlib import Path
from typing import Final

from lae_monitor.config import Settings
from lae_monitor.core.secrets import Secret

FOLDER: Final = "alerts"
URL: Final = ".url"  # what the name of a file ends with that holds a webhook's address
MAX_SECRET: Final = 10_000  # bytes


class NoSecret(Exception):
    """It is not there, or not fit to be used; the message says which file and what to do."""


def path_of(settings: Settings, name: str) -> Path:
    """Where the secret `name` is kept."""
    return settings.credentials / FOLDER / name


def find(path: Path) -> Secret | None:
    """The secret in a file; None when there is no file.

    Raises:
        NoSecret: it cannot be read, others may read it, it is empty or no text.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            data = file.read(MAX_SECRET)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NoSecret(f"{path}: {error.strerror}") from error
    if mode & 0o077:
        raise NoSecret(f"{path}: others may read it; chmod 600 {path}")
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable():
        raise NoSecret(f"{path}: holds no secret on one line")
    return Secret(text)


def need(path: Path) -> Secret:
    """The secret in a file.

    Raises:
        NoSecret: as `find`, or there is no file.
    """
    found = find(path)
    if found is None:
        raise NoSecret(f"{path}: there is no such file; write the secret into it, with mode 600")
    return found
