"""What only the table of events has beside its rows, to be read quickly: notes of rows that are stored more than once, sums,
and columns that are made of attributes as the kinds say.

It is made when a store is opened, not by a migration, which would keep an earlier release from opening the store. What
earlier releases wrote is completed by the checks of the mover, once.
"""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from lae_monitor.core.kind import Kind, Kinds, load
from lae_monitor.store.chdb_driver import ChdbDriver
from lae_monitor.store.driver import Batch
from lae_monitor.store.schema import DOUBLED, DOUBLED_TABLE, HEARD, KEEP_SUMS, stream
from lae_monitor.store.schema import Kind as Column

Query = Callable[..., Awaitable[list[dict[str, Any]]]]


def told_apart(kinds: Kinds) -> list[str]:
    """The kinds of events whose attributes say of which version they are, or which of them are the same."""
    return [kind.event for kind in kinds if kind.same or kind.version]


class Events:
    """
    Args:
        query: the store's.

    Attributes:
        doubled: how many rows may be stored more than once; None where that is not known yet.
        twin: SQL that is equal for events that are the same report, by the attributes that their kind names.
        release: SQL of the version that an event is of, "" for none, as its kind names it.
    """

    def __init__(self, driver: ChdbDriver, database: str, query: Query, kinds: Kinds) -> None:
        self._driver = driver
        self._database = database
        self._query = query
        self._noting = asyncio.Lock()  # a note and its rows, or notes that go: one at a time
        self.doubled: int | None = None
        made = _columns(kinds)
        self._made = dict(made.values())
        self.twin, self.release = (made[of][0] for of in ("twin", "release")) if made else ("hex(key)", "''")

    async def open(self) -> None:
        await self._complete()
        await self._open_doubled()

    @asynccontextmanager
    async def noted(self, columns: dict[str, list[Any]]) -> AsyncIterator[None]:
        """Within it the events `columns` may be inserted."""
        async with self._noting:
            await self._note_doubled(columns)
            yield

    async def _complete(self) -> None:
        """Parts without sums are read whole until `add_up()`, and columns that they have not are made when they are read."""
        rows = await self._query(
            f"SELECT create_table_query AS made FROM system.tables WHERE database = '{self._database}' AND name = 'events'"
        )
        made = rows[0]["made"]  # looked at first: a disk that is full must not keep a store from opening
        if " `form` " not in made:
            await self._driver.command(f"ALTER TABLE {self._database}.events ADD COLUMN form UInt8")
        name, query = HEARD
        if f"PROJECTION {name} " not in made:
            await self._driver.command(f"ALTER TABLE {self._database}.events MODIFY SETTING {', '.join(KEEP_SUMS)}")
            await self._driver.command(f"ALTER TABLE {self._database}.events ADD PROJECTION {name} ({query})")
        for column, sql in self._made.items():
            if f" `{column}` " not in made:
                await self._driver.command(f"ALTER TABLE {self._database}.events ADD COLUMN `{column}` {sql}")

    async def add_up(self) -> None:
        """Makes the sums and columns of the parts that an earlier release wrote before it knew them; once in a store's life.

        Raises:
            StoreError
        """
        for column in self._made:
            lacking = await self._query(
                "SELECT name FROM system.parts WHERE active AND database = {database:String} AND table = 'events' "
                "AND rows > 0 AND name NOT IN (SELECT name FROM system.parts_columns WHERE active AND "
                "database = {database:String} AND table = 'events' AND column = {column:String}) LIMIT 1",
                {"database": self._database, "column": column},
            )
            if lacking:
                self._driver.check_room()
                await self._driver.command(
                    f"ALTER TABLE {self._database}.events MATERIALIZE COLUMN `{column}` SETTINGS mutations_sync = 1"
                )
        missing = await self._query(
            f"SELECT 1 FROM system.parts WHERE active AND database = '{self._database}' AND table = 'events' "
            f"AND NOT has(projections, '{HEARD[0]}') LIMIT 1"
        )
        if missing:
            self._driver.check_room()
            await self._driver.command(
                f"ALTER TABLE {self._database}.events MATERIALIZE PROJECTION {HEARD[0]} SETTINGS mutations_sync = 1"
            )

    async def _open_doubled(self) -> None:
        await self._driver.command(f"CREATE TABLE IF NOT EXISTS {self._database}.doubled {DOUBLED_TABLE}")
        if await self._query("SELECT 1 FROM {lae}.events WHERE form = 0 LIMIT 1") == []:
            self.doubled = await self._count_doubled()

    async def learn_doubled(self) -> None:
        """Looks which events are stored more than once, for releases that did not note it; once in a store's life.

        Raises:
            StoreError: nothing is known yet.
        """
        self._driver.check_room()
        keys = ", ".join(DOUBLED)
        await self._driver.command(
            f"INSERT INTO {self._database}.doubled SELECT {keys} FROM {self._database}.events GROUP BY {keys} "
            "HAVING count() > 1 SETTINGS optimize_aggregation_in_order = 1"
        )
        await self._driver.command(
            f"ALTER TABLE {self._database}.events UPDATE form = 1 WHERE form = 0 SETTINGS mutations_sync = 1"
        )
        self.doubled = await self._count_doubled()

    async def forget_doubled(self) -> None:
        """Drops the notes of what is stored once by now: it was merged, removed, or the insert was a repetition.

        Raises:
            StoreError
        """
        keys = ", ".join(DOUBLED)
        events, doubled = f"{self._database}.events", f"{self._database}.doubled"
        async with self._noting:
            self._driver.check_room()
            await self._driver.command(
                f"DELETE FROM {doubled} WHERE ({keys}) NOT IN (SELECT {keys} FROM {events} WHERE ({keys}) IN "
                f"(SELECT {keys} FROM {doubled}) GROUP BY {keys} HAVING count() > 1) SETTINGS lightweight_deletes_sync = 2"
            )
            self.doubled = await self._count_doubled()

    async def _count_doubled(self) -> int:
        return int((await self._query("SELECT count() AS events FROM {lae}.doubled"))[0]["events"])

    async def _note_doubled(self, columns: dict[str, list[Any]]) -> None:
        """Notes which of the events to come are there already, or come twice."""
        batch = await arrow(DOUBLED, columns)
        keys = ", ".join(DOUBLED)
        rows = await self._query(
            "SELECT cluster, host, toUnixTimestamp64Micro(time) AS at, lower(hex(key)) AS row FROM {batch} "
            f"GROUP BY {keys} HAVING count() > 1 "
            f"OR ({keys}) IN (SELECT {keys} FROM {{lae}}.events WHERE ({keys}) IN (SELECT {keys} FROM {{batch}}))",
            seconds=300, batch=batch, inserting=True,
        )  # fmt: skip
        if not rows:
            return
        found: dict[str, list[Any]] = {
            "cluster": [row["cluster"] for row in rows],
            "host": [row["host"] for row in rows],
            "time": [(row["at"] + 0.5) / 1e6 for row in rows],  # of the same microsecond again
            "key": [bytes.fromhex(row["row"]) for row in rows],
        }
        await self._driver.insert(f"{self._database}.doubled", await arrow(DOUBLED, found), uuid.uuid4().hex)
        if self.doubled is not None:
            self.doubled += len(rows)


def _columns(kinds: Kinds) -> dict[str, tuple[str, str]]:
    """Name and definition of the columns. A part of the name is a hash of the definition: another one is another column."""
    if not told_apart(kinds):
        return {}
    twin = _choice({kind.event: _same(kind) for kind in kinds if kind.same}, "hex(key)")
    release = _choice({kind.event: ("true", load(kind.version)) for kind in kinds if kind.version}, "''")
    columns = {
        "twin": f"FixedString(16) MATERIALIZED substring(SHA256({twin}), 1, 16)",
        "release": f"LowCardinality(String) MATERIALIZED {release}",
    }
    return {of: (f"{of}_{hashlib.sha256(sql.encode()).hexdigest()[:8]}", sql) for of, sql in columns.items()}


def _choice(by_kind: Mapping[str, tuple[str, str]], otherwise: str) -> str:
    """By the kind of an event: where a condition holds, its expression."""
    pairs = "".join(f"kind = '{event}' AND {condition}, {sql}, " for event, (condition, sql) in by_kind.items())
    return f"multiIf({pairs}{otherwise})" if pairs else otherwise


def _same(kind: Kind) -> tuple[str, str]:
    first, *_ = attributes = [f"attrs['{name}']" for name in kind.same]
    joined = ", ' ', ".join([*attributes, "''"])
    return f"{first} != ''", f"concat({joined})"


async def arrow(kinds: Mapping[str, Column], columns: Mapping[str, list[Any]]) -> Batch:
    # In a thread: many rows take long, and hints would be lost meanwhile.
    arrow = await asyncio.to_thread(stream, kinds, columns)
    return Batch({name: kind.type for name, kind in kinds.items()}, arrow)
