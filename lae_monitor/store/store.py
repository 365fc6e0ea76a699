"""The tables, open."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from lae_monitor.core.rows import Row
from lae_monitor.core.time import Clock, wall_clock
from lae_monitor.store.driver import Driver, Parameter, StoreError
from lae_monitor.store.migrations import STEPS
from lae_monitor.store.schema import TABLES, stream

DATABASE: Final = "lae"


class Store:
    """One database of tables on an engine. `database` differs from DATABASE only while it is being rebuilt."""

    def __init__(self, driver: Driver, database: str = DATABASE, clock: Clock = wall_clock) -> None:
        self.driver = driver
        self.database = database
        self.identity = ""
        self._clock = clock

    async def open(self) -> "Store":
        """Makes what is missing and runs the migrations that this store has not had.

        Raises:
            StoreError: also when a newer release wrote the store.
        """
        await self.driver.command(f"CREATE DATABASE IF NOT EXISTS {self.database}")
        await self.driver.command(
            f"CREATE TABLE IF NOT EXISTS {self.database}.migrations "
            "(version UInt32, name String, time DateTime, identity String) ENGINE = MergeTree ORDER BY version"
        )
        done = {row["version"]: row for row in await self.driver.rows(f"SELECT * FROM {self.database}.migrations")}
        newest = STEPS[-1].version
        if done and max(done) > newest:
            raise StoreError(
                f"the store is of version {max(done)}, this release knows {newest}: install the newer release"
            )
        for step in STEPS:
            if step.version in done:
                continue
            identity = uuid.uuid4().hex if step.version == 1 else ""
            for statement in step.statements(self.database):
                await self.driver.command(statement)
            await self.driver.command(
                f"INSERT INTO {self.database}.migrations SELECT {step.version}, '{step.name}', now(), '{identity}'"
            )
        rows = await self.driver.rows(f"SELECT identity FROM {self.database}.migrations WHERE identity != ''")
        self.identity = rows[0]["identity"]
        return self

    async def insert(self, table: str, rows: Sequence[Row], spans: Sequence[tuple[str, int]], token: str) -> None:
        """`rows`, read from `spans` (path, start) each, into `table`; once for one `token`.

        Raises:
            StoreError: nothing was inserted.
            ValueError, TypeError, OverflowError: a row's value does not fit its column; nothing was inserted.
        """
        known = TABLES[table]
        columns: dict[str, list[Any]] = {
            name: [getattr(row, name) for row in rows] for name in known.columns if name not in {"source", "source_at"}
        }
        columns["source"] = [path for path, _ in spans]
        columns["source_at"] = [start for _, start in spans]
        await self.insert_columns(table, columns, token)

    async def insert_columns(self, table: str, columns: dict[str, list[Any]], token: str) -> None:
        known = TABLES[table]
        types = {name: kind.type for name, kind in known.columns.items()}
        await self.driver.insert(f"{self.database}.{table}", types, stream(known, columns), token)

    async def take_back(self, path: str, start: int, end: int | None = None) -> None:
        """Removes the rows that were read from `path` between `start` and `end` (to the file's end when None)."""
        condition = "source = {path:String} AND source_at >= {start:UInt64}"
        parameters: dict[str, Parameter] = {"path": path, "start": start}
        if end is not None:
            condition += " AND source_at < {end:UInt64}"
            parameters["end"] = end
        for table in TABLES:
            await self.driver.command(
                f"DELETE FROM {self.database}.{table} WHERE {condition} SETTINGS lightweight_deletes_sync=2", parameters
            )

    async def query(
        self, sql: str, parameters: Mapping[str, Parameter] | None = None, *, seconds: float = 30.0
    ) -> list[dict[str, Any]]:
        """The rows of `sql`, in which `{lae}` stands for the database.

        Raises:
            StoreError
        """
        return await self.driver.rows(sql.replace("{lae}", self.database), parameters, seconds=seconds)

    async def moved(self) -> dict[str, int]:
        """How far each archive file has been moved, by the marks that are written last."""
        rows = await self.query("SELECT source, max(source_end) AS moved FROM {lae}.moves GROUP BY source", seconds=300)
        return {row["source"]: row["moved"] for row in rows}

    async def unmarked(self) -> list[tuple[str, int]]:
        """Rows without the mark that follows them: (path, lowest start), left by a crash between the two inserts."""
        found: dict[str, int] = defaultdict(lambda: 2**63)
        for table in TABLES:
            if table == "moves":
                continue
            rows = await self.query(
                f"SELECT r.source AS source, min(r.source_at) AS start FROM {{lae}}.{table} AS r LEFT JOIN "
                "(SELECT source, max(source_end) AS moved FROM {lae}.moves GROUP BY source) AS m ON r.source = m.source "
                "WHERE r.source_at >= m.moved GROUP BY source",
                seconds=300,
            )
            for row in rows:
                found[row["source"]] = min(found[row["source"]], row["start"])
        return sorted(found.items())

    async def status(self) -> list[dict[str, Any]]:
        """Each table's rows, bytes on disk, parts, and newest time."""
        sizes = {
            row["table"]: row
            for row in await self.query(
                "SELECT table, sum(rows) AS rows, sum(bytes_on_disk) AS bytes, count() AS parts FROM system.parts "
                f"WHERE active AND database = '{self.database}' GROUP BY table"
            )
        }
        return [
            {"table": name, **{key: sizes.get(name, {}).get(key, 0) for key in ("rows", "bytes", "parts")}}
            for name in TABLES
        ]

    async def drop(self) -> None:
        await self.driver.command(f"DROP DATABASE IF EXISTS {self.database} SYNC")

    async def replace(self, other: "Store") -> None:
        """Takes `other`'s database as its own; what it had is gone. Queries see either one or the other."""
        retired = f"{self.database}_retired"
        await self.driver.command(f"DROP DATABASE IF EXISTS {retired} SYNC")
        await self.driver.command(f"RENAME DATABASE {self.database} TO {retired}")
        await self.driver.command(f"RENAME DATABASE {other.database} TO {self.database}")
        await self.driver.command(f"DROP DATABASE IF EXISTS {retired} SYNC")
        self.identity = other.identity

    async def close(self) -> None:
        await self.driver.close()


def by_table(rows: Iterable[tuple[Row, tuple[str, int]]]) -> dict[str, tuple[list[Row], list[tuple[str, int]]]]:
    """Rows and the spans they came from, by the table they belong to."""
    tables: dict[str, tuple[list[Row], list[tuple[str, int]]]] = {}
    for row, span in rows:
        kept, spans = tables.setdefault(row.table, ([], []))
        kept.append(row)
        spans.append(span)
    return tables
