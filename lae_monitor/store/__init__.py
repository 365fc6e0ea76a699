"""The searchable copy of what the archive holds: ClickHouse tables, embedded (chDB) or on a server.

Derived: delete it, and `lae-monitor store rebuild` makes it anew from the archive, with the same answers.
"""

from lae_monitor.store.driver import Driver, StoreError
from lae_monitor.store.store import DATABASE, Store

__all__ = ["DATABASE", "Driver", "Store", "StoreError"]
