"""One report as throttle rules see it. Pure: whatever a client sent, looking at it raises nothing."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from lae_monitor.core.limits import KiB
from lae_monitor.kinds.crashes.program import Program

MAX_JSON: Final = (
    512 * KiB
)  # characters of an annotation that is read as JSON; Firefox's TelemetryEnvironment has 10 to 40 KiB
MAX_VERSION: Final = 100  # characters; longer texts are no version
MAX_VERSION_PARTS: Final = 12  # between dots; real ones have up to 4

ONE_VALUE: Final = frozenset({"ProductName", "Version", "ProcessType", "ReleaseChannel"})  # read by program.py alone
_MISSING: Final = object()
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?")
_BUILD: Final = re.compile(r"20[0-9]{12}")
_PART: Final = re.compile(r"([0-9]{1,18})(?:([^0-9]+)([0-9]{0,18})(.*))?", re.DOTALL)
_PLAIN: Final = (0, True, "", 0, "")  # the part 0, and any part that is not there

Version = tuple[tuple[int, bool, str, int, str], ...]


class Facts:
    """The annotations of a report, and what else rules may ask for.

    Args:
        annotations: as they came; values need not be text.
        program: what the names in ONE_VALUE stand for, whatever the client calls it.
        crash_id: given to it; its throttle digit may be any.
        now: when it was received, in seconds.
    """

    def __init__(self, annotations: Mapping[str, Any], program: Program, crash_id: str, now: float) -> None:
        self.now = now
        self._annotations = annotations
        self._program = {
            "ProductName": program.product if program.named else "",
            "Version": program.version,
            "ProcessType": program.process,
            "ReleaseChannel": program.channel,
        }
        self._id = crash_id
        self._parsed: dict[str, Any] = {}

    def has(self, name: str) -> bool:
        """Whether the report has the annotation, be it empty."""
        return self._value(name) is not _MISSING

    def text(self, name: str, path: tuple[str, ...] = ()) -> str | None:
        """The annotation as text, or what stands at `path` in its JSON; None when there is no such thing."""
        value = self._within(name, path) if path else self._value(name)
        return None if value is _MISSING else _as_text(value)

    def share(self, rule: str, by: str) -> float:
        """A number from 0 to below 1 that is always the same for `rule` and the annotation `by`, or else for the crash id.

        The digit of a crash id is left out of it: it tells the verdict, and so is not known before.
        """
        value = (self.text(by) if by else None) or self._id[:-7]
        digest = hashlib.blake2b(f"{rule}\0{value}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> 11) / (1 << 53)

    def _value(self, name: str) -> Any:
        if name in ONE_VALUE:
            return self._program[name] or ("" if name in self._annotations else _MISSING)
        return self._annotations.get(name, _MISSING)

    def _within(self, name: str, path: tuple[str, ...]) -> Any:
        if name not in self._parsed:
            self._parsed[name] = _from_json(self._value(name))
        value = self._parsed[name]
        for step in path:
            if isinstance(value, dict):
                value = value.get(step, _MISSING)
            elif isinstance(value, list) and re.fullmatch("[0-9]{1,6}", step) and int(step) < len(value):
                value = value[int(step)]
            else:
                return _MISSING
        return _MISSING if value is None else value


def _from_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if len(value) > MAX_JSON:
        return _MISSING
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return _MISSING


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    except (ValueError, RecursionError, TypeError):
        return ""


def number(text: str) -> float | None:
    """The number that `text` is, in decimal digits."""
    return float(text) if _NUMBER.fullmatch(text) else None


def built(text: str) -> float | None:
    """When the day began, UTC, on which a build with the id `text` was made: 20, then 12 digits, YYYYMMDDhhmmss."""
    if not _BUILD.fullmatch(text):
        return None
    try:
        return datetime.strptime(text[:8], "%Y%m%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def version(text: str) -> Version | None:
    """What versions are compared by; None when `text` is no version.

    The order is Mozilla's: parts are numbers, missing ones are 0, and a part with letters comes before the one without,
    so 60.0a1 < 60.0b2 < 60 = 60.0 < 60.0.1. The `esr` at an end, and what follows a `+`, do not count.
    """
    text = text.strip().partition("+")[0].removesuffix("esr")
    pieces = text.split(".")
    if len(text) > MAX_VERSION or len(pieces) > MAX_VERSION_PARTS:
        return None
    parts = []
    for piece in pieces:
        found = _PART.fullmatch(piece)
        if found is None:
            return None
        letters, following, rest = found[2] or "", int(found[3] or 0), found[4] or ""
        parts.append((int(found[1]), not letters, letters, following, rest))
    return (*parts, *[_PLAIN] * (MAX_VERSION_PARTS - len(parts)))
