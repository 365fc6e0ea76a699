"""The kinds of what can go wrong on a fleet, a folder each with the same files:

    __init__   what it is, from whom, what it replaces
    config     `Settings`, its section of the configuration
    gather     `async gather(context)`: accepts and stores what comes, as it comes
    read       pure: bytes of the archive -> rows (core.rows.Reader)
    check      what `lae-monitor check config` asks of it

A new kind is one folder and one line here.
"""

from importlib import import_module
from types import ModuleType
from typing import Final, cast

from lae_monitor.config import Section
from lae_monitor.core.rows import Reader

KINDS: Final = ("crashes", "incidents", "sonar")

# Rooms within a kind that have a section of their own.
SUBSECTIONS: Final = {"crashes": ("crashmover",)}

# What the mover reads, by the first folder of its path in the archive.
FOLDERS: Final = {kind: f"lae_monitor.kinds.{kind}.read" for kind in KINDS} | {"journal": "lae_monitor.archive.journal"}

# What is read by another module, by the first and third name of its path: files that grow beside files that come whole.
PARTS: Final = {("incidents", "logs"): "lae_monitor.kinds.incidents.log_read"}


def module(kind: str, part: str) -> ModuleType:
    """`part` of the folder of `kind`, imported when it is needed: a gatherer loads nothing of the others."""
    return import_module(f"lae_monitor.kinds.{kind}.{part}")


def sections() -> dict[str, type[Section]]:
    """Every kind's section of the configuration, and those below it, by their dotted names."""
    found: dict[str, type[Section]] = {}
    for kind in KINDS:
        found[f"gatherers.{kind}"] = module(kind, "config").Settings
        for name in SUBSECTIONS.get(kind, ()):
            found[f"gatherers.{kind}.{name}"] = module(kind, f"{name}.config").Settings
    return found


def reader(path: str) -> Reader | None:
    """Who reads the archive file `path`; None for a file that nobody reads."""
    names = path.split("/", 3)
    name = PARTS.get((names[0], names[2])) if len(names) > 3 else None
    name = name or FOLDERS.get(names[0])
    return cast(Reader, import_module(name)) if name else None
