"""The effective settings, for the log at start. They hold no secrets: those live in files of their own."""

from collections.abc import Iterator
from typing import Any

import msgspec

from lae_monitor.config.settings import Settings


def describe(settings: Settings, *, gatherer: str | None = None) -> Iterator[str]:
    """`section.key = value` of every setting; of the gatherers only `gatherer`, when it is given."""
    tree = msgspec.to_builtins(settings, enc_hook=str)
    tree.pop("source")
    if gatherer is not None:
        tree["gatherers"] = {gatherer: tree["gatherers"].get(gatherer, {})}
    yield from _walk("", tree)


def _walk(prefix: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _walk(f"{prefix}.{name}" if prefix else name, inner)
    else:
        yield f"{prefix} = {value!r}"
