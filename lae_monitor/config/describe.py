"""The effective settings, for the log at start and for `config explain`.

They hold no secrets: those live in files of their own. What looks like one all the same is not shown.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from lae_monitor.config.section import Section
from lae_monitor.config.settings import SECTIONS, Settings
from lae_monitor.config.written import toml
from lae_monitor.core.secrets import redact


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
