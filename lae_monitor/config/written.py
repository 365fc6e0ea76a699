"""Values as an operator would write them: TOML that gives the same value again."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from lae_monitor.config.tables import as_table
from lae_monitor.config.values import Duration, Percentage, Size
from lae_monitor.core.limits import GiB, KiB, MiB, TiB
from lae_monitor.core.time import DAY, HOUR, MINUTE

_SIZES: Final = (("TiB", TiB), ("GiB", GiB), ("MiB", MiB), ("KiB", KiB), ("B", 1))
_DURATIONS: Final = (("y", 365 * DAY), ("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", 1.0))


def toml(value: Any) -> str:
    """`value` to the right of an equals sign.

    Raises:
        TypeError: TOML has nothing like it.
    """
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value)
    raise TypeError(f"no TOML for {type(value).__name__}")


def _text(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML's escapes are JSON's


def _duration(value: float) -> str:
    milliseconds = value * 1000
    if value < 1 and milliseconds == int(milliseconds):
        return f'"{int(milliseconds)}ms"'
    if float(value).is_integer():
        return f'"{_in_units(value, _DURATIONS, "")}"'
    text = f"{value:.6f}".rstrip("0")
    return f'"{text}s"' if float(text) == value else repr(float(value))  # a unit has to be exact


def _table(value: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{_text(name)} = {toml(inner)}" for name, inner in value.items()) + "}"


def _list(value: Iterable[Any]) -> str:
    return "[" + ", ".join(toml(inner) for inner in value) + "]"


def _in_units(value: float, units: tuple[tuple[str, float], ...], space: str) -> str:
    """`value` as a whole number of the largest unit that leaves no rest."""
    unit, size = next((unit, size) for unit, size in units if value % size == 0)
    return f"{int(value // size)}{space}{unit}"


_WRITERS: Final[tuple[tuple[Any, Callable[[Any], str]], ...]] = (  # the first that fits: a Size is an int, too
    (Size, lambda value: f'"{_in_units(value, _SIZES, " ")}"'),
    (Duration, _duration),
    (Percentage, lambda value: f'"{value * 100:.6g}%"'),
    (bool, lambda value: "true" if value else "false"),
    (int | float, repr),
    (str | Path, _text),
    (Mapping, _table),
    (list | tuple, _list),
    (msgspec.Struct, lambda value: _table(dict(as_table(value)))),
)
