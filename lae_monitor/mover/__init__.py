"""archive -> read -> store, exactly once.

The span that is about to be moved is written down before the insert; after a crash exactly that span is repeated, with the
same token, and the store drops what it has already had.

mover         batch by batch: read, write down, insert, confirm
sweep         finds files that no hint named
waiting       files with something new: fresh ones and the backlog
pieces        a file cut into spans; their rows, and their quarantine
ledger        SQLite: what was moved, and what is being moved
moved_files   files whose path in the archive changed
checking      compares the store with the ledger, and reads again what is missing
rebuild       fills new tables from the archive
retention     removes old reports, rows first; ages: how old a file is
status        for Prometheus, `store status` and the pages
"""

from lae_monitor.mover.mover import Mover

__all__ = ["Mover"]
