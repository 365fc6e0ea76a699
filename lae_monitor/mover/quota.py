"""Further reasons for a crash report to go, or to stay: how long its product is kept, and how much room all may take."""

from collections.abc import Mapping
from typing import Final

from lae_monitor.core.time import DAY
from lae_monitor.mover.mover import Mover
from lae_monitor.mover.retention import day_of, files, remove
from lae_monitor.store.store import DELETED_AT_ONCE

_OF_PRODUCT: Final = (
    "SELECT DISTINCT file FROM {lae}.events WHERE kind = 'crash' AND file != '' "
    # The names of the annotation are those of gatherers/crashes/report.py: PRODUCT.
    "AND arrayFirst(name -> name != '', arrayMap(key -> trimBoth(attrs[key]), "
    "['ProductName', 'prod', '_productName', 'product'])) = {product:String}"
)


async def retire_products(mover: Mover, keep: Mapping[str, float], now: float) -> int:
    """Removes the reports of each product that are older than `keep` says, in seconds.

    Returns:
        How many files went.
    """
    gone = 0
    for product, seconds in keep.items():
        old = [path for path in await _of(mover, product) if _is_older(path, now - seconds)]
        for at in range(0, len(old), DELETED_AT_ONCE):
            gone += await remove(mover, old[at : at + DELETED_AT_ONCE])
    return gone


async def younger_than(mover: Mover, keep: Mapping[str, float], now: float) -> set[str]:
    """The reports that are to stay, although their kind would go: `keep` has seconds by product."""
    return {
        path
        for product, seconds in keep.items()
        for path in await _of(mover, product)
        if not _is_older(path, now - seconds)
    }


async def retire_beyond(mover: Mover, folder: str, limit: int) -> int:
    """Removes the oldest files of `folder` until all together have at most `limit` bytes.

    Returns:
        How many files went.
    """
    found = [
        (day_of(path) or 0.0, entry.modified, path, entry.size) async for path, entry in files(mover.archive, folder)
    ]
    excess = sum(size for *_, size in found) - limit
    old: list[str] = []
    for _, _, path, size in sorted(found):
        if excess <= 0:
            break
        old.append(path)
        excess -= size
    gone = 0
    for at in range(0, len(old), DELETED_AT_ONCE):
        gone += await remove(mover, old[at : at + DELETED_AT_ONCE])
    return gone


async def _of(mover: Mover, product: str) -> list[str]:
    rows = await mover.store.query(_OF_PRODUCT, {"product": product})
    return [row["file"] for row in rows]


def _is_older(path: str, time: float) -> bool:
    day = day_of(path)
    return day is not None and day + DAY <= time
