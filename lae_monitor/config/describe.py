"""The effective settings, for the log at start and for `config explain`.

They hold no secrets: those live in files of their own. What looks like one all the same is not shown.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from lae_monitor.config.section import Section, as_table
from lae_monitor.config.settings import SECTIONS, Settings
from lae_monitor.config.values import Duration, Percentage, Size
from lae_monitor.core.limits import GiB, KiB, MiB, TiB
from lae_monitor.core.secrets import redact
from lae_monitor.core.time import DAY, HOUR, MINUTE

# Values as an operator would write them: TOML that gives the same value again.
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


def describe(settings: Settings, *, gatherer: str | None = None) -> Iterator[str]:
    """`section.key = value` of every setting; of the gatherers only `gatherer`, when it is given."""
    for dotted, value in effective(settings):
        if gatherer is None or not dotted.startswith("gatherers.") or dotted.startswith(f"gatherers.{gatherer}."):
            yield f"{dotted} = {redact(toml(value))}"


def effective(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Every dotted key with the value that counts: where a default follows from another key, what follows."""
    follows = {"archive.roots": settings.archive_roots, "store.url": f"chdb://{settings.store_path}"}
    sections: dict[str, Section] = {name: getattr(settings, name) for name in SECTIONS}
    sections |= {f"gatherers.{kind}": own for kind, own in settings.gatherers.items()}
    for section, values in sections.items():
        for field in msgspec.structs.fields(values):
            dotted = f"{section}.{field.encode_name}"
            value = getattr(values, field.name)
            yield dotted, follows.get(dotted) if value is None else value
