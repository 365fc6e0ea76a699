"""What the store lost: rows that `moves` says were inserted and that are not there, and parts that cannot be read.

Merges remove rows that are equal by their sorting key, of one file or of several. So fewer rows than were inserted are only
a suspicion: `Store.absent` then compares the keys of the rows with those in the table, which no merge changes.
"""

from typing import Final, NamedTuple

from lae_monitor.core.rows import Span
from lae_monitor.store.driver import NO_PART, StoreError, is_environment
from lae_monitor.store.schema import Table
from lae_monitor.store.store import Store

SLICE: Final = 50_000  # files that are counted in one query
PATIENCE: Final = 3600.0  # seconds for a query beside the others

_EXPECTED: Final = (
    "SELECT source, source_at, max(source_end) AS end, argMax(parser, time) AS parser, argMax(rows, time) AS expected, "
    "toUInt64(0) AS stored FROM {lae}.moves WHERE %s GROUP BY source, source_at"
)


def _stored(table: Table) -> str:
    # Where the newest row of a key replaces others, the same row may have been written twice: by a page and by the mover.
    count = f"uniqExact({table.order}, time)" if table.engine.endswith("(time)") else "count()"
    return (
        f"SELECT source, source_at, toUInt64(0), toUInt64(0), toUInt64(0), {count} FROM {{lae}}.{table.name} WHERE %s "
        "GROUP BY source, source_at"
    )


def _counts(store: Store, condition: str) -> str:
    tables = [_stored(table) for table in store.tables.values() if "file" in table.columns]
    return " UNION ALL ".join([_EXPECTED, *tables]).replace("%s", condition)


_FEWER: Final = "HAVING sum(stored) < sum(expected)"


class Fewer(NamedTuple):
    """A file of which fewer rows are stored than were inserted."""

    path: str
    expected: int
    stored: int


class Suspect(NamedTuple):
    """The same of one of its spans; `parser` is the version of the reader."""

    span: Span
    parser: int
    missing: int


class Part(NamedTuple):
    """A part of a table that is of no use; `name` is the engine's."""

    table: str
    name: str
    reason: str


async def slices(store: Store) -> int:
    """In how many parts the files are to be counted, for bounded memory."""
    rows = await store.query("SELECT uniq(source) AS files FROM {lae}.moves", aside=True, seconds=PATIENCE)
    return 1 + int(rows[0]["files"]) // SLICE


async def fewer(store: Store, number: int, of: int) -> list[Fewer]:
    """The files of slice `number` of `of` with fewer rows than were inserted."""
    counts = _counts(store, f"cityHash64(source) % {of} = {number}")
    rows = await store.query(
        f"SELECT source, sum(expected) AS wanted, sum(stored) AS have FROM ({counts}) GROUP BY source {_FEWER}",
        aside=True, seconds=PATIENCE,
    )  # fmt: skip
    return [Fewer(row["source"], int(row["wanted"]), int(row["have"])) for row in rows]


async def suspects(store: Store, paths: list[str]) -> list[Suspect]:
    """The spans of the files that have fewer rows than were inserted."""
    rows = await store.query(
        "SELECT source, source_at, max(end) AS until, max(parser) AS version, sum(expected) - sum(stored) AS missing "
        f"FROM ({_counts(store, 'source IN {paths:Array(String)}')}) GROUP BY source, source_at {_FEWER}",
        {"paths": paths}, aside=True, seconds=PATIENCE,
    )  # fmt: skip
    return [
        Suspect(Span(row["source"], int(row["source_at"]), int(row["until"])), int(row["version"]), int(row["missing"]))
        for row in rows
    ]


async def detached(store: Store) -> list[Part]:
    """Parts that the engine set aside when it opened the store: it could not read them."""
    rows = await store.query(
        f"SELECT table, name, reason FROM system.detached_parts WHERE database = '{store.database}' AND reason != ''"
    )
    return [Part(row["table"], row["name"], row["reason"]) for row in rows]


async def broken(store: Store) -> list[Part]:
    """Parts whose files are not what was written, the newest first. Reads all of them."""
    rows = await store.query(
        f"SELECT table, name FROM system.parts WHERE active AND database = '{store.database}' "
        "ORDER BY modification_time DESC"
    )
    found = []
    for row in rows:
        part = Part(row["table"], row["name"], "")
        # Twice, for what was read wrong once may be read right.
        if (why := await _problem(store, part)) and (why := await _problem(store, part)):
            found.append(part._replace(reason=why))
    return found


async def _problem(store: Store, part: Part) -> str:
    """Why the part cannot be read; "" when it can, or was merged meanwhile."""
    try:
        rows = await store.driver.rows(
            f"CHECK TABLE {store.database}.{part.table} PART '{part.name}'", aside=True, seconds=PATIENCE
        )
    except StoreError as error:
        if error.is_damage:
            return str(error)
        if error.code == NO_PART:
            return ""
        raise
    why = " ".join(str(row["message"]) or "it says no more" for row in rows if not row["is_passed"])
    if is_environment(why):
        raise StoreError(why)
    return why


async def drop(store: Store, part: Part) -> None:
    """Removes a broken part, so that it ends no query, and its rows are missed."""
    store.driver.check_room()
    try:
        await store.driver.command(f"ALTER TABLE {store.database}.{part.table} DROP PART '{part.name}'")
    except StoreError as error:
        if error.code != NO_PART:
            raise


async def drop_detached(store: Store, part: Part) -> None:
    await store.driver.command(
        f"ALTER TABLE {store.database}.{part.table} DROP DETACHED PART '{part.name}' SETTINGS allow_drop_detached = 1"
    )
