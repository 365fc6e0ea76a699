"""The store anew, from the archive. New tables are filled while the old ones answer; then they change places."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lae_monitor.mover.ledger import Ledger
from lae_monitor.mover.mover import Mover
from lae_monitor.mover.status import Status
from lae_monitor.store import Store

log = logging.getLogger(__name__)

SUFFIX: Final = "_new"


async def rebuild(mover: Mover, progress: Callable[[Status], None] = lambda _state: None) -> Status:
    """Fills new tables from the archive, and lets `mover` go on with them.

    Killed at any point, the old store or the new one is there, and the mover brings it up to date.

    Raises:
        StoreError, OSError, ArchiveError: the old tables stay.
    """
    old = mover.store
    new = Store(old.driver, old.database + SUFFIX)
    await new.drop()
    await new.open()
    ledger_path = mover.ledger.path.with_name(mover.ledger.path.name + SUFFIX)
    _remove(ledger_path)
    ledger = Ledger(ledger_path)
    ledger.set_fact("store", new.identity)
    filling = mover.sibling(new, ledger)
    await filling.catch_up(progress)
    async with mover.paused():
        await filling.catch_up(progress)  # what came meanwhile
        await old.replace(new)
        ledger.close()
        mover.ledger.close()
        ledger_path.replace(mover.ledger.path)
        mover.ledger = Ledger(mover.ledger.path)
    log.info("the store was rebuilt: %d rows in %d batches", filling.state.rows, filling.state.batches)
    return filling.state


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
