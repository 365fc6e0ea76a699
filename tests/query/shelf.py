"""A real chDB store to put rows into, and rows that tests make."""

import asyncio
import threading
from collections.abc import Sequence
from itertools import count

from lae_monitor.core.limits import MiB
from lae_monitor.core.names import row_key
from lae_monitor.core.rows import Event, Receipt, Row
from lae_monitor.core.time import parse_time
from lae_monitor.kinds import KINDS
from lae_monitor.store import Store
from lae_monitor.store.chdb_driver import ChdbDriver

NOW = parse_time("2026-11-22T12:00:00Z")
_serial = count()


class Shelf:
    """The store, with a loop that runs beside the tests."""

    now = NOW

    def __init__(self, path) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        driver = ChdbDriver(path, memory=400 * MiB)
        self.store = self.run(Store(driver, kinds=KINDS).open())

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def put(self, *rows: Row) -> None:
        """Stores `rows`, as a batch a table."""
        tables: dict[str, list[Row]] = {}
        for row in rows:
            tables.setdefault(row.table, []).append(row)
        for table, kept in tables.items():
            places = [(row.file, row.offset) for row in kept]
            self.run(self.store.insert(table, kept, places, f"test-{next(_serial)}"))

    def close(self) -> None:
        self.run(self.store.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(30)
        self.loop.close()


def event(cluster: str, host: str = "ml6.hpc.uio.no", *, ago: float = 60.0, **fields) -> Event:
    number = next(_serial)
    time = fields.pop("time", NOW - ago)
    made = {
        "kind": "crash", "cluster": cluster, "host": host, "time": time, "received": time + 1, "id": f"id-{number}",
        "key": row_key("test", number), "level": "error", "title": f"title {number}",
    }  # fmt: skip
    return Event(**(made | fields))


def receipt(cluster: str, file: str, offset: int, length: int, time: float, **fields) -> Receipt:
    made = {
        "kind": "sonar", "cluster": cluster, "host": "", "time": time, "peer": "10.0.0.7", "verdict": "accepted",
        "file": file, "offset": offset, "length": length, "size": length,
    }  # fmt: skip
    return Receipt(**(made | fields))


def titles(rows: Sequence) -> list[str]:
    return [row.title for row in rows]
