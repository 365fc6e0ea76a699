"""What came over the wire, made into what JSON can hold: of any type, any depth, referring to itself or not.

Foolscap's own encoder fails on bytes as keys, and an object that refers ten times to one that refers ten times to another
would fill the disk. Where nothing special is met, the result is what flogtool writes.
"""

import reprlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from lae_monitor.core.refusals import Refused

MAX_DEPTH: Final = 80  # containers within containers; a little more than a tub takes
MAX_BITS: Final = 8192  # of a number; Python refuses to print longer ones
MAX_TEXT: Final = 4000  # characters of something that JSON cannot hold
CONTAINER: Final = 64  # bytes of memory, about
REFERENCE: Final = 8
NUMBER: Final = 24
TEXT: Final = 16  # less than Python takes: most keys are shared
UNJSONABLE: Final = "log.msg() was given an object that could not be encoded into JSON"


class Plain:
    """Converts values, until together they would take more than about `budget` bytes of memory."""

    def __init__(self, budget: int) -> None:
        self._limit = self._budget = budget

    @property
    def spent(self) -> int:
        """About how many bytes of memory what was converted takes."""
        return self._limit - self._budget

    def of(self, value: Any, depth: int = 0) -> Any:
        """`value` as dict, list, str, int, float, bool or None.

        Raises:
            Refused: `incident_too_large`.
        """
        if isinstance(value, bytes):
            value = text_of(value)
        if value is None or isinstance(value, str | int | float):
            return self._scalar(value)
        if depth >= MAX_DEPTH:
            raise Refused("incident_too_large", f"nested more than {MAX_DEPTH} deep")
        if isinstance(value, Mapping):
            self._spend(CONTAINER + 3 * REFERENCE * len(value))
            return {self._key(key): self.of(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            self._spend(CONTAINER + REFERENCE * len(value))
            return [self.of(item, depth + 1) for item in value]
        return self.of(_described(value))

    def _scalar(self, value: str | float | None) -> str | float | None:
        if isinstance(value, str):
            self._spend(TEXT + len(value))
            return str(value)
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            return self._scalar(f"[a number of {value.bit_length()} bits]")
        self._spend(NUMBER)
        return value

    def _key(self, key: Any) -> str:
        """As json.dumps writes keys; bytes are text, and what it would refuse is described."""
        if isinstance(key, bytes):
            key = text_of(key)
        elif key is None or isinstance(key, bool):
            key = {None: "null", True: "true", False: "false"}[key]
        elif isinstance(key, float):
            key = float.__repr__(key)
        elif not isinstance(key, str):
            key = str(self.of(key)) if isinstance(key, int) else _attempt(reprlib.repr, key)
        self._spend(TEXT + len(key))
        return str(key)

    def _spend(self, size: int) -> None:
        self._budget -= size
        if self._budget < 0:
            raise Refused("incident_too_large", f"more than {self._limit} bytes")


def text_of(value: bytes) -> str:
    r"""Bytes as text; those that are no UTF-8 appear as `\xff`."""
    return value.decode("utf-8", "backslashreplace")


def _described(value: Any) -> dict[str, str]:
    """As Foolscap describes what JSON cannot hold."""
    if hasattr(value, "getTraceback"):  # a Failure, or the copy of one
        return {
            "@": "Failure",
            "str": _attempt(str, value),
            "repr": _attempt(repr, value),
            "traceback": _attempt(lambda failure: str(failure.getTraceback()), value),
        }
    return {"@": "UnJSONable", "message": UNJSONABLE, "repr": _attempt(reprlib.repr, value)}


def _attempt(make: Callable[[Any], str], value: Any) -> str:
    try:
        return make(value)[:MAX_TEXT]
    except Exception as error:  # noqa: BLE001 - whatever a foreign object does, it costs itself
        return f"[{type(value).__name__} that cannot be shown: {type(error).__name__}]"
