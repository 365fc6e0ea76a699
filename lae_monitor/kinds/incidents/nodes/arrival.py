"""Whether an incident has arrived: in the archive, and in flogtool's lists of what is classified."""

from contextlib import suppress
from pathlib import Path
from typing import Final

from lae_monitor.config import Settings
from lae_monitor.core.limits import MiB
from lae_monitor.core.names import Place
from lae_monitor.core.refusals import Refused
from lae_monitor.kinds.incidents.read import SUFFIX
from lae_monitor.kinds.incidents.stored import TOP, folder
from lae_monitor.kinds.incidents.wire.flog import unpack

MAX_PACKED: Final = 16 * MiB  # of an incident that is looked at
MAX_LIST: Final = 64 * 1024  # bytes at the end of a list, where the newest are


def stored(settings: Settings, place: Place) -> dict[str, Path]:
    """The incidents of a host by their names.

    Raises:
        OSError
    """
    found = {}
    for root in reversed(settings.archive_roots):
        with suppress(FileNotFoundError, NotADirectoryError):
            for path in (root / folder(place)).iterdir():
                if path.name.endswith(SUFFIX):
                    found[path.name.removesuffix(SUFFIX)] = path
    return found


def says(path: Path, word: str) -> bool:
    """Whether `word`, of letters and digits, is in an event of the incident in a file."""
    try:
        if path.stat().st_size > MAX_PACKED:
            return False
        return any(word in repr(wrapper) for wrapper in unpack(path.read_bytes()))
    except (Refused, FileNotFoundError):
        return False


def categories(settings: Settings, place: Place, name: str) -> list[str]:
    """Of an incident that was stored lately: the lists that have it.

    Raises:
        OSError
    """
    line = f"incidents/{place.host}/{name}{SUFFIX}".encode()
    found = set()
    for root in settings.archive_roots:
        with suppress(FileNotFoundError, NotADirectoryError):
            for path in (root / TOP / place.cluster / "classified").iterdir():
                if path.is_file() and line in _end(path).splitlines():
                    found.add(path.name)
    return sorted(found)


def _end(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(file.seek(0, 2) - MAX_LIST, 0))
        return file.read(MAX_LIST)
