"""Units of size, and the limits that more than one room needs. Limits of one room stand at the top of that room."""

import re
from typing import Final

from lae_monitor.core.refusals import Refused

KiB: Final = 1024
MiB: Final = 1024 * KiB
GiB: Final = 1024 * MiB
TiB: Final = 1024 * GiB

MAX_SPAN: Final = 1 * MiB  # bytes the mover reads and inserts as one piece; a longer record is a span of its own
MAX_ROW_TEXT: Final = 64 * KiB  # characters of one row's text; the whole stays in the archive
MAX_TITLE: Final = 300  # characters

_UNITS: Final = {
    "": 1, "b": 1, "kib": KiB, "mib": MiB, "gib": GiB, "tib": TiB,
    "k": KiB, "m": MiB, "g": GiB, "t": TiB, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
}  # fmt: skip


class Reserve:
    """Free space that the archive leaves to the host: a share of the file system, or bytes."""

    def __init__(self, *, share: float = 0.0, size: int = 0) -> None:
        self._share = share
        self._size = size

    def of(self, total: int) -> int:
        return self._size + int(total * self._share)


def parse_size(text: str) -> int:
    """Bytes of `25 MiB`, `1.5GB`, `4096`.

    Raises:
        Refused: `bad_size`.
    """
    found = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([A-Za-z]{0,3})\s*", text)
    if found is None or found[2].lower() not in _UNITS:
        raise Refused("bad_size", raw=text)
    return int(float(found[1]) * _UNITS[found[2].lower()])


def format_size(size: float) -> str:
    """`26214400` -> `25.0 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
