"""Time is passed in. Seconds since the epoch as float inside, RFC 3339 in UTC outside."""

import math
import re
import time as _time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from lae_monitor.core.refusals import Refused

Clock = Callable[[], float]  # seconds since the epoch, UTC

wall_clock: Clock = _time.time

MINUTE: Final = 60.0
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

EARLIEST: Final = 946684800.0  # 2000-01-01: nothing that we gather is older
MAX_AHEAD: Final = DAY  # a clock may be wrong; further ahead is clamped, and the original kept in attrs

_DURATIONS: Final = {
    "ms": 0.001, "s": 1.0, "": 1.0, "m": MINUTE, "min": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY, "y": 365 * DAY,
}  # fmt: skip
_PIECE: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([a-z]{0,3})\s*")


def parse_duration(text: str) -> float:
    """Seconds of `250ms`, `60s`, `1h30m`, `7d`, `1y`.

    Raises:
        Refused: `bad_duration`.
    """
    rest = text.strip()
    seconds = 0.0
    # Piece by piece from the left: one pattern for the whole would try every way to cut a long row of digits into pieces.
    while found := _PIECE.match(rest):
        if found[2] not in _DURATIONS:
            break
        seconds += float(found[1]) * _DURATIONS[found[2]]
        rest = rest[found.end() :]
        if not rest:
            return seconds
        if not found[2]:
            break  # only the last piece may be without a unit
    raise Refused("bad_duration", raw=text)


def format_duration(seconds: float) -> str:
    """`5400` -> `1h 30m`; at most two units, the largest first."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    pieces: list[str] = []
    for unit, size in (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", 1.0)):
        if seconds >= size and len(pieces) < 2:
            pieces.append(f"{int(seconds // size)}{unit}")
            seconds %= size
    return " ".join(pieces)


def parse_time(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time; a time without a zone is UTC.

    Raises:
        Refused: `bad_time`.
    """
    try:
        parsed = datetime.fromisoformat(text.strip())
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=UTC)
        return parsed.timestamp()
    except (ValueError, OverflowError):
        raise Refused("bad_time", raw=text) from None


def format_time(seconds: float, *, digits: int = 3) -> str:
    """`2026-11-22T09:44:34.123Z`."""
    spec = {0: "seconds", 3: "milliseconds", 6: "microseconds"}[digits]
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=spec).replace("+00:00", "Z")


def day_path(seconds: float) -> str:
    """The folder of a UTC day: `2026/11/22`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y/%m/%d")


def clamp(seconds: float, now: float) -> tuple[float, bool]:
    """`seconds` moved into what can be true at `now`, and whether it had to be moved.

    Batches of rows with wild times would open one partition of the store for each month they claim.
    """
    if math.isnan(seconds) or seconds < EARLIEST:
        return EARLIEST, True
    if seconds > now + MAX_AHEAD:
        return now + MAX_AHEAD, True
    return seconds, False
