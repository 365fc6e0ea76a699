"""The store anew, from the archive. New tables are filled while the old ones answer; then they change places."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lae_monitor.archive import Archive
from lae_monitor.archive.files import Failed
from lae_monitor.mover.ledger import Ledger
from lae_monitor.mover.mover import Mover
from lae_monitor.mover.retention import FACTS
from lae_monitor.mover.status import Status
from lae_monitor.store import Store

log = logging.getLogger(__name__)

SUFFIX: Final = "_new"


def _ledger_path(mover: Mover) -> Path:
    return mover.ledger.path.with_name(mover.ledger.path.name + SUFFIX)


def _check_complete(archive: Archive) -> None:
    """A root that does not answer would be left out, and what it holds would vanish from every answer."""
    if silent := archive.silent():
        raise Failed(f"not rebuilt: archive root {', '.join(silent)} does not answer")


async def rebuild(mover: Mover, progress: Callable[[Status], None] = lambda _state: None) -> Status:
    """Fills new tables from the archive, and lets `mover` go on with them.

    Killed at any point, the old store or the new one is there, and the mover brings it up to date.

    Raises:
        StoreError, OSError, ArchiveError: the old tables stay.
    """
    await discard_unfinished(mover)
    old = mover.store
    new = await Store(old.driver, old.database + SUFFIX, kinds=old.kinds).open()
    ledger = Ledger(_ledger_path(mover))
    try:
        ledger.set_fact("store", new.identity)
        filling = mover.sibling(new, ledger)
        _check_complete(mover.archive)
        await filling.catch_up(progress)
        async with mover.paused():
            await filling.catch_up(progress)  # what came meanwhile
            _check_complete(mover.archive)
            ledger.inherit(mover.ledger, FACTS)
            await old.replace(new)
            ledger.close()
            mover.ledger.close()
            ledger.path.replace(mover.ledger.path)
            mover.ledger = Ledger(mover.ledger.path)
    except BaseException:
        ledger.close()
        raise
    log.info("the store was rebuilt: %d rows in %d batches", filling.state.rows, filling.state.batches)
    return filling.state


async def discard_unfinished(mover: Mover) -> None:
    """Removes what a rebuild left that was killed, or failed: as much as a whole store."""
    await Store(mover.store.driver, mover.store.database + SUFFIX).drop()
    path = _ledger_path(mover)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
