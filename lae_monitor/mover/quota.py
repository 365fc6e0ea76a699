"""Further reasons for a crash report to go, or to stay: how long its product is kept, and how much room all may take."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from lae_monitor.kinds.crashes.program import clean
from lae_monitor.kinds.crashes.read import group_of
from lae_monitor.mover.mover import Mover
from lae_monitor.store.store import DELETED_AT_ONCE

# A group begins with the product, as it is shown: also in rows of readers that kept it in no attribute of its own.
_OF_PRODUCT: Final = (
    "SELECT DISTINCT file FROM {lae}.events WHERE kind = 'crash' AND file != '' AND startsWith(`group`, {group:String})"
)

_WITH_ROW: Final = "SELECT DISTINCT file FROM {lae}.events WHERE kind = 'crash' AND file IN {paths:Array(String)}"


class Aged(NamedTuple):
    """A file of the archive. `at`: when its last byte came; they sort by that."""

    at: float
    path: str
    size: int


async def kept_by_product(mover: Mover, keep: Mapping[str, float]) -> dict[str, float]:
    """How long the reports of some products are kept, in seconds by path; `keep` has the seconds by product."""
    found: dict[str, float] = {}
    for product, seconds in keep.items():
        rows = await mover.store.query(_OF_PRODUCT, {"group": group_of(clean(product), "")})
        found |= {row["file"]: max(seconds, found.get(row["file"], 0.0)) for row in rows}  # two ways to write a product
    return found


async def without_row(mover: Mover, paths: Sequence[str]) -> set[str]:
    """Those of the crash reports `paths` that the store has no row of: nobody knows which product they are of."""
    missing = set(paths)
    for at in range(0, len(paths), DELETED_AT_ONCE):
        rows = await mover.store.query(_WITH_ROW, {"paths": list(paths[at : at + DELETED_AT_ONCE])})
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
