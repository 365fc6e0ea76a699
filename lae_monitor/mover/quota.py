"""Further reasons for a report to go, or to stay: how long its class (a crash's product) is kept, and the room of all."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from lae_monitor.core.kind import Kind, load
from lae_monitor.mover.mover import Mover
from lae_monitor.store.store import DELETED_AT_ONCE

# A group begins with the class, as it is shown: also in rows of readers that kept it in no attribute of its own.
_OF_CLASS: Final = (
    "SELECT DISTINCT file FROM {lae}.events "
    "WHERE kind = {kind:String} AND file != '' AND startsWith(`group`, {group:String})"
)

_WITH_ROW: Final = "SELECT DISTINCT file FROM {lae}.events WHERE kind = {kind:String} AND file IN {paths:Array(String)}"


class Aged(NamedTuple):
    """A file of the archive. `at`: when its last byte came; they sort by that."""

    at: float
    path: str
    size: int


async def kept_by_class(mover: Mover, kind: Kind, keep: Mapping[str, float]) -> dict[str, float]:
    """How long the reports of some classes are kept, in seconds by path; `keep` has the seconds by class."""
    found: dict[str, float] = {}
    for name, seconds in keep.items():
        rows = await mover.store.query(_OF_CLASS, {"kind": kind.event, "group": load(kind.class_group)(name)})
        found |= {row["file"]: max(seconds, found.get(row["file"], 0.0)) for row in rows}  # two ways to write a class
    return found


async def without_row(mover: Mover, kind: Kind, paths: Sequence[str]) -> set[str]:
    """Those of the reports `paths` that the store has no row of: their class is not known."""
    missing = set(paths)
    for at in range(0, len(paths), DELETED_AT_ONCE):
        rows = await mover.store.query(_WITH_ROW, {"kind": kind.event, "paths": list(paths[at : at + DELETED_AT_ONCE])})
        missing -= {row["file"] for row in rows}
    return missing


def beyond(files: Sequence[Aged], limit: int) -> list[Aged]:
    """The oldest of `files`, as many as have to go until the others take at most `limit` bytes."""
    excess = sum(file.size for file in files) - limit
    gone: list[Aged] = []
    for file in sorted(files) if excess > 0 else ():
        if excess <= 0:
            break
        gone.append(file)
        excess -= file.size
    return gone
