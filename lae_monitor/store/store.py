"""The tables, open."""

import asyncio
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Final, NamedTuple

from lae_monitor.core.kind import Kinds
from lae_monitor.core.rows import Event, Row
from lae_monitor.core.time import Clock, wall_clock
from lae_monitor.store.chdb_driver import ChdbDriver
from lae_monitor.store.driver import DAMAGED_HELP, Batch, NewerStore, Parameter, StoreError
from lae_monitor.store.events import Events, arrow
from lae_monitor.store.schema import (
    DURABLE,
    FORM,
    SMALL_MERGES,
    SOURCE,
    TABLES,
    Table,
    tables_of,
)


class Step(NamedTuple):
    """A numbered change of the store. `statements(database)` are the SQL to run, once, in a store that has not had it.

    A step is never changed once it was released; a new one is added. The first makes the tables as `schema` says today, so
    that a new store needs no other; steps after it bring older stores to the same state.
    """

    version: int
    name: str
    statements: Callable[[str], list[str]]


def _create(database: str) -> list[str]:
    return [table.create(database) for table in TABLES.values()]


def _merge_in_small_blocks(database: str) -> list[str]:
    return [f"ALTER TABLE {database}.events MODIFY SETTING {', '.join(SMALL_MERGES)}"]


STEPS: Final = (
    Step(1, "tables", _create),
    Step(2, "categories of incidents", lambda _: []),  # a table of a kind is made whenever a store is opened
    Step(3, "events are merged in small blocks", _merge_in_small_blocks),
)


DATABASE: Final = "lae"
NO_KINDS: Final = Kinds()
DELETED_AT_ONCE: Final = 500  # spans or files in one delete
_AWAY: Final = {60, 81}  # ClickHouse: no such table, no such database

# Spans are moved in their order, so a gap means that one was taken back and never came again.
_MOVED_OF: Final = (
    "SELECT source, arrayFold((moved, span) -> if(span.1 <= moved, greatest(moved, span.2), moved), "
    "arraySort(groupArray((source_at, source_end))), toUInt64(0)) AS moved FROM {lae}.moves WHERE %s GROUP BY source"
)
_MOVED: Final = _MOVED_OF % "true"


class Store:
    """One database of tables on an engine. `database` differs from DATABASE only while it is being rebuilt."""

    def __init__(
        self, driver: ChdbDriver, database: str = DATABASE, clock: Clock = wall_clock, kinds: Kinds = NO_KINDS
    ) -> None:
        self.driver = driver
        self.kinds = kinds  # what queries ask of them
        self.tables = tables_of(kinds)
        self.database = database
        self.identity = ""
        self.events = Events(driver, database, self.query, kinds)
        self._clock = clock
        self._replacing = asyncio.Lock()
        self.on_damage: Callable[[], None] = lambda: None  # called when a query meets a damaged part

    async def open(self) -> "Store":
        """Makes what is missing and runs the migrations that this store has not had.

        Raises:
            StoreError: also when a newer release wrote the store.
        """
        await self._end_replacing()
        await self.driver.command(f"CREATE DATABASE IF NOT EXISTS {self.database}")
        await self.driver.command(
            f"CREATE TABLE IF NOT EXISTS {self.database}.migrations "
            "(version UInt32, name String, time DateTime, identity String) ENGINE = MergeTree ORDER BY version "
            f"SETTINGS {', '.join(DURABLE)}"
        )
        done = {row["version"]: row for row in await self.driver.rows(f"SELECT * FROM {self.database}.migrations")}
        newest = STEPS[-1].version
        if done and max(done) > newest:
            raise NewerStore(
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
        for name in self.tables.keys() - TABLES.keys():  # of kinds, which may be new, or have new columns
            await self.driver.command(self.tables[name].create(self.database))
            there = await self.query(
                "SELECT name FROM system.columns WHERE database = {database:String} AND table = {table:String}",
                {"database": self.database, "table": name},
            )
            for column in self.tables[name].columns.keys() - {row["name"] for row in there}:
                sql = self.tables[name].columns[column].sql
                await self.driver.command(f"ALTER TABLE {self.database}.{name} ADD COLUMN `{column}` {sql}")
        await self._set_durable()
        await self.events.open()
        rows = await self.driver.rows(f"SELECT identity FROM {self.database}.migrations WHERE identity != ''")
        if not rows:
            raise StoreError("its table of migrations says nothing of its identity")
        self.identity = rows[0]["identity"]
        return self

    async def _set_durable(self) -> None:
        """Not a migration, which would keep an earlier release from opening the store."""
        for row in await self.driver.rows(
            f"SELECT name, engine_full FROM system.tables WHERE database = '{self.database}'"
        ):
            if missing := [setting for setting in DURABLE if setting not in row["engine_full"]]:
                await self.driver.command(
                    f"ALTER TABLE {self.database}.{row['name']} MODIFY SETTING {', '.join(missing)}"
                )

    async def insert(self, table: str, rows: Sequence[Row], spans: Sequence[tuple[str, int]], token: str) -> None:
        """`rows`, read from `spans` (path, start) each, into `table`; once for one `token`.

        Raises:
            StoreError: nothing was inserted.
            ValueError, TypeError, OverflowError: a row's value does not fit its column; nothing was inserted.
        """
        await self.insert_columns(table, _columns(self.tables[table], rows, spans), token)

    async def insert_columns(self, table: str, columns: dict[str, list[Any]], token: str) -> None:
        batch = await arrow(self.tables[table].columns, columns)
        async with self.events.noted(columns) if table == Event.table else nullcontext():
            await self.driver.insert(f"{self.database}.{table}", batch, token)

    async def absent(self, table: str, rows: Sequence[Row], spans: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
        """Which of `spans` gave a row that the table has not: none that is equal by its sorting key, and as new."""
        known = self.tables[table]
        batch = await arrow(known.columns, _columns(known, rows, spans))
        identity = ", ".join(known.identity)
        found = await self.query(
            f"SELECT DISTINCT b.source AS source, b.source_at AS start FROM {{batch}} AS b LEFT JOIN "
            f"(SELECT {identity}, count() AS rows, max(time) AS newest FROM {{lae}}.{table} "
            f"WHERE ({identity}) IN (SELECT {identity} FROM {{batch}}) GROUP BY {identity}) AS s USING ({identity}) "
            "WHERE s.rows = 0 OR s.newest < b.time",
            seconds=300, batch=batch, aside=True,
        )  # fmt: skip
        return {(row["source"], row["start"]) for row in found}

    async def take_back(self, spans: Iterable[tuple[str, int]]) -> None:
        """Removes the rows, and the marks, of the spans (path, start): many at once, as every delete costs the same."""
        keys = [f"{path}:{start}" for path, start in spans]
        await self._delete("concat(source, ':', toString(source_at)) IN {keys:Array(String)}", keys)

    async def forget(self, paths: Iterable[str]) -> None:
        """Removes all that was read from the files `paths`."""
        await self._delete("source IN {keys:Array(String)}", list(paths))

    async def _delete(self, condition: str, keys: list[str]) -> None:
        if keys:
            self.driver.check_room()
        for first in range(0, len(keys), DELETED_AT_ONCE):
            for table in self.tables:
                await self.driver.command(
                    f"DELETE FROM {self.database}.{table} WHERE {condition} SETTINGS lightweight_deletes_sync=2",
                    {"keys": keys[first : first + DELETED_AT_ONCE]},
                )

    async def query(
        self,
        sql: str,
        parameters: Mapping[str, Parameter] | None = None,
        *,
        seconds: float = 30.0,
        batch: Batch | None = None,
        aside: bool = False,
        inserting: bool = False,
    ) -> list[dict[str, Any]]:
        """The rows of `sql`, in which `{lae}` stands for the database, and `{events}` for the table with each event once.

        Raises:
            StoreError
        """
        sql = sql.replace("{events}", "{lae}.events" if self.events.doubled == 0 else "{lae}.events FINAL")
        sql = sql.replace("{lae}", self.database)
        try:
            return await self.driver.rows(
                sql, parameters, seconds=seconds, batch=batch, aside=aside, inserting=inserting
            )
        except StoreError as error:
            if error.is_damage:
                self.on_damage()
                raise StoreError(f"{DAMAGED_HELP}. ({error})", error.code) from error
            if error.code not in _AWAY:
                raise
        async with self._replacing:  # asked between the two renames, if the tables are there now
            return await self.driver.rows(
                sql, parameters, seconds=seconds, batch=batch, aside=aside, inserting=inserting
            )

    async def moved(self) -> dict[str, int]:
        """How far each archive file has been moved without a gap, by the marks that are written last."""
        rows = await self.query(_MOVED, seconds=300)
        return {row["source"]: row["moved"] for row in rows}

    async def moved_between(self, first: str, last: str) -> dict[str, int]:
        """The same of the files whose paths are from `first` to `last`, in the order of bytes."""
        sql = _MOVED_OF % "source >= {first:String} AND source <= {last:String}"
        rows = await self.query(sql, {"first": first, "last": last}, seconds=300, aside=True)
        return {row["source"]: row["moved"] for row in rows}

    async def marks(self, paths: list[str]) -> list[tuple[str, int, int]]:
        """The spans (path, start, end) of `paths` that were moved."""
        sql = "SELECT source, source_at, source_end FROM {lae}.moves WHERE source IN {paths:Array(String)}"
        rows = await self.query(sql, {"paths": paths}, aside=True)
        return [(row["source"], row["source_at"], row["source_end"]) for row in rows]

    async def starts(self, path: str) -> set[int]:
        """Where the spans of `path` begin that left rows or marks."""
        sql = " UNION DISTINCT ".join(
            f"SELECT source_at FROM {{lae}}.{table} WHERE source = {{path:String}}" for table in self.tables
        )
        return {row["source_at"] for row in await self.query(sql, {"path": path}, aside=True)}

    async def unmarked(self) -> list[tuple[str, int]]:
        """Spans (path, start) that lie beyond what `moved()` says and left rows, or marks, by a crash in between."""
        found: set[tuple[str, int]] = set()
        for table in self.tables:
            rows = await self.query(
                f"SELECT DISTINCT r.source AS source, r.source_at AS start FROM {{lae}}.{table} AS r "
                f"LEFT JOIN ({_MOVED}) AS m ON r.source = m.source WHERE r.source_at >= m.moved",
                seconds=300,
            )
            found.update((row["source"], row["start"]) for row in rows)
        return sorted(found)

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
            for name in self.tables
        ]

    async def drop(self) -> None:
        await self.driver.command(f"DROP DATABASE IF EXISTS {self.database} SYNC")

    async def replace(self, other: "Store") -> None:
        """Takes `other`'s database as its own; what it had is gone. Queries see either one or the other."""
        async with self._replacing:
            try:
                await self.driver.command(f"DROP DATABASE IF EXISTS {self._retired} SYNC")
                await self.driver.command(f"RENAME DATABASE {self.database} TO {self._retired}")
                await self.driver.command(f"RENAME DATABASE {other.database} TO {self.database}")
                self.identity, self.events.doubled = other.identity, other.events.doubled
            finally:
                await self._end_replacing()

    @property
    def _retired(self) -> str:
        return f"{self.database}_retired"

    async def _end_replacing(self) -> None:
        """Ends a replacement where it stopped: the old database has its name again, unless the new one has it."""
        rows = await self.driver.rows("SELECT name FROM system.databases")
        names = {row["name"] for row in rows}
        if self._retired not in names:
            return
        if self.database in names:
            await self.driver.command(f"DROP DATABASE {self._retired} SYNC")
        else:
            await self.driver.command(f"RENAME DATABASE {self._retired} TO {self.database}")

    async def close(self) -> None:
        await self.driver.close()


def _columns(table: Table, rows: Sequence[Row], spans: Sequence[tuple[str, int]]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        name: [getattr(row, name) for row in rows] for name in table.columns if name not in {*SOURCE, *FORM}
    }
    columns["source"] = [path for path, _ in spans]
    columns["source_at"] = [start for _, start in spans]
    columns["form"] = [1] * len(rows)
    return columns


def by_table(rows: Iterable[tuple[Row, tuple[str, int]]]) -> dict[str, tuple[list[Row], list[tuple[str, int]]]]:
    """Rows and the spans they came from, by the table they belong to."""
    tables: dict[str, tuple[list[Row], list[tuple[str, int]]]] = {}
    for row, span in rows:
        kept, spans = tables.setdefault(row.table, ([], []))
        kept.append(row)
        spans.append(span)
    return tables
