"""The searchable copy of what the archive holds: ClickHouse tables, embedded (chDB) or on a server.

Derived: delete it, and `lae-monitor store rebuild` makes it anew from the archive, with the same answers.

store         the tables, open: queries and inserts
schema        the tables of all kinds, and what a kind's own tables are made of
driver        what an engine offers, and its errors; chdb_driver: the embedded engine
checks        finds rows and parts that were lost
aside         sets aside what does not open
sqlite        opens the SQLite ledgers of all processes
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lae_monitor.store.driver import StoreError
    from lae_monitor.store.store import DATABASE, Store

__all__ = ["DATABASE", "Store", "StoreError"]


def __getattr__(name: str) -> Any:
    """Loaded when used: gatherers open their ledgers by this package, and need no Arrow for that."""
    if name not in __all__:
        raise AttributeError(name)
    module = "driver" if name == "StoreError" else "store"
    return getattr(import_module(f"lae_monitor.store.{module}"), name)
