"""The tables. Their columns are the fields of their rows (a test compares them), plus where each row came from.

`source` and `source_at` say which span of which archive file a row was read from; by them rows are taken back when a span
is read anew.
"""

from collections.abc import Mapping
from itertools import accumulate
from typing import Any, ClassVar, Final, NamedTuple

import pyarrow as pa

from lae_monitor.core.kind import Kinds, load
from lae_monitor.core.rows import Decision, Event, Receipt, Row

MAX_TIME: Final = 4102444800.0  # 2100-01-01, in seconds


class Kind(NamedTuple):
    """How a column is kept: ClickHouse's type and codec, and Arrow's type for the batches."""

    sql: str
    arrow: pa.DataType

    @property
    def type(self) -> str:
        """The type without the codec."""
        return self.sql.partition(" CODEC(")[0]


WORD: Final = Kind("LowCardinality(String)", pa.string())  # few different values
TEXT: Final = Kind("String CODEC(ZSTD(3))", pa.string())
TIME: Final = Kind("DateTime64(6, 'UTC') CODEC(Delta, ZSTD)", pa.timestamp("us", "UTC"))
KEY: Final = Kind("FixedString(16)", pa.binary(16))
COUNT: Final = Kind("UInt64 CODEC(T64, LZ4)", pa.uint64())
WHOLE: Final = Kind("Int64 CODEC(T64, LZ4)", pa.int64())
NUMBER: Final = Kind("Float64 CODEC(ZSTD)", pa.float64())
FLAG: Final = Kind("Bool", pa.bool_())
SMALL: Final = Kind("UInt8", pa.uint8())
WORDS: Final = Kind("Array(LowCardinality(String))", pa.list_(pa.string()))
MAP: Final = Kind("Map(LowCardinality(String), String)", pa.map_(pa.string(), pa.string()))

PLACE: Final = {"file": TEXT, "offset": COUNT, "length": COUNT}
SOURCE: Final = {"source": TEXT, "source_at": COUNT}
FORM: Final = {"form": SMALL}  # what is known of a row: 1, whether it is stored twice (see `doubled`); 0, nothing


# The ledger says "moved" after a sync of its own: what it says must be true after a power cut too. Merges are synced, and
# what they merged stays until the result has surely reached the disk. The check of store/checks.py does not rely on it.
DURABLE: Final = (
    "fsync_after_insert = 1",
    "fsync_part_directory = 1",
    "old_parts_lifetime = 480",
    "min_rows_to_fsync_after_merge = 1",
    "min_compressed_bytes_to_fsync_after_merge = 1",
)


class Table(NamedTuple):
    """A table, its columns in order, its sorting key, and what is said beyond."""

    row: type[Row]
    columns: dict[str, Kind]
    order: str
    engine: str = "ReplacingMergeTree"
    extra: tuple[str, ...] = ()
    partition: str = "toYYYYMM(time)"
    granularity: int = 8192  # rows that the engine reads at least
    is_heard: bool = False  # whether hosts may be heard of by its rows alone
    settings: tuple[str, ...] = ()  # beyond those that all tables have

    @property
    def name(self) -> str:
        return self.row.table

    def create(self, database: str) -> str:
        columns = [f"{name} {kind.sql}" for name, kind in self.columns.items()]
        body = ",\n  ".join([*columns, *self.extra])
        return (
            f"CREATE TABLE IF NOT EXISTS {database}.{self.name} (\n  {body}\n) ENGINE = {self.engine} "
            f"PARTITION BY {self.partition} ORDER BY ({self.order}) "
            f"SETTINGS non_replicated_deduplication_window = 10000, index_granularity = {self.granularity}, "
            f"{', '.join((*DURABLE, *self.settings))}"
        )

    @property
    def identity(self) -> list[str]:
        """The columns by which rows are equal."""
        return self.order.split(", ")


# Parts are merged a column at a time, in small blocks: with 64 KiB of text a row, a merge of all columns at once takes three
# times the memory.
SMALL_MERGES: Final = (
    "merge_max_block_size = 256",
    "merge_max_block_size_bytes = 4194304",
    "vertical_merge_algorithm_min_rows_to_activate = 1",
    "vertical_merge_algorithm_min_columns_to_activate = 1",
)

# What the engine adds up for each part of `events`, so that a page of hosts costs the hosts and not their events. It is made
# of the rows themselves: deletes and merges keep it true, also those of an earlier release. Queries that ask for no more are
# answered from it, but not where rows have to be made one (FINAL).
HEARD: Final = (
    "heard",
    "SELECT cluster, host, kind, count(), max(received), max(time) GROUP BY cluster, host, kind",
)
KEEP_SUMS: Final = ("deduplicate_merge_projection_mode = 'rebuild'", "lightweight_mutation_projection_mode = 'rebuild'")

# What words are searched in: lower case, so that searching needs no case; materialised by the engine.
_WORDS: Final = (
    "words String MATERIALIZED lowerUTF8(concat(title, '\\n', text, '\\n', id, '\\n', "
    "arrayStringConcat(mapValues(attrs), '\\n'))) CODEC(ZSTD(3))",
    "INDEX words_index words TYPE text(tokenizer = 'splitByNonAlpha')",
    "INDEX id_index id TYPE bloom_filter(0.01)",
)


class Move(Row, kw_only=True):
    """The mover's own marks: what has been moved, written after the rows themselves."""

    table: ClassVar[str] = "moves"


TABLES: Final = {  # of all stores; kinds have more
    table.name: table
    for table in (
        Table(
            Event,
            {
                "kind": WORD, "cluster": WORD, "host": WORD, "time": TIME, "received": TIME, "id": TEXT, "key": KEY,
                "level": WORD, "title": TEXT, "text": TEXT, "group": TEXT, "attrs": MAP, **PLACE, **SOURCE, **FORM,
            },
            "cluster, host, time, key",
            extra=(*_WORDS, f"PROJECTION {HEARD[0]} ({HEARD[1]})"),
            granularity=2048,  # a page shows few rows with much text each: half the time of a search, 1 % more disk
            settings=(*SMALL_MERGES, *KEEP_SUMS),
        ),
        Table(
            Receipt,
            {
                "kind": WORD, "cluster": WORD, "host": WORD, "time": TIME, "peer": WORD, "verdict": WORD,
                "reason": WORD, "detail": TEXT, "id": TEXT, "size": COUNT, **PLACE, **SOURCE,
            },
            "file, offset, kind, time, id, detail",
        ),
        Table(
            Decision,
            {"subject": WORD, "about": TEXT, "time": TIME, "value": TEXT, "by": TEXT, **PLACE, **SOURCE},
            "subject, about",
            engine="ReplacingMergeTree(time)",
            partition="tuple()",
        ),
        Table(
            Move,
            {
                "source": TEXT, "source_at": COUNT, "source_end": COUNT, "parser": COUNT, "rows": COUNT, "time": TIME,
            },
            "source, source_at",
        ),
    )
}  # fmt: skip


# Rows of events that may be stored more than once, by their sorting key. A query that counts or shows events need not make
# them one (FINAL: 3 to 50 times the cost) but where they are in here. Written before the rows themselves; a row that is in
# here and stored once costs a little, nothing else. Like the tables of kinds it is made when a store is opened, for a
# migration would keep an earlier release from opening the store.
DOUBLED: Final = {"cluster": WORD, "host": WORD, "time": TIME, "key": KEY}
DOUBLED_TABLE: Final = (
    f"(\n  {', '.join(f'{name} {kind.sql}' for name, kind in DOUBLED.items())}\n) ENGINE = ReplacingMergeTree "
    f"ORDER BY ({', '.join(DOUBLED)}) SETTINGS {', '.join(DURABLE)}"
)


def tables_of(kinds: Kinds) -> dict[str, Table]:
    """All tables of a store that keeps `kinds`, by name.

    Raises:
        ValueError: two have one name.
    """
    found = dict(TABLES)
    for table in (table for kind in kinds if kind.tables for table in load(kind.tables)):
        if table.name in found:
            raise ValueError(f"two tables are called {table.name}")
        found[table.name] = table
    return found


def stream(kinds: Mapping[str, Kind], columns: Mapping[str, list[Any]]) -> bytes:
    """One Arrow stream with one batch of `columns`, of the `kinds` that are named.

    Raises:
        ValueError, TypeError, OverflowError: a value does not fit its column.
    """
    arrays, fields = [], []
    for name, kind in kinds.items():
        arrays.append(_array(columns[name], kind))
        fields.append(pa.field(name, kind.arrow))
    batch = pa.record_batch(arrays, schema=pa.schema(fields))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _array(values: list[Any], kind: Kind) -> pa.Array:
    if kind is TIME:
        return pa.array([int(min(max(value, 0.0), MAX_TIME) * 1e6) for value in values], kind.arrow)
    if kind is MAP:
        ends = list(accumulate(map(len, values), initial=0))
        names = pa.array([_clean(name) for value in values for name in value], pa.string())
        texts = pa.array([_clean(text) for value in values for text in value.values()], pa.string())
        return pa.MapArray.from_arrays(ends, names, texts)
    if kind is WORDS:
        return pa.array([[_clean(word) for word in words] for words in values], kind.arrow)
    if kind in {WORD, TEXT}:
        return pa.array([_clean(value) for value in values], kind.arrow)
    return pa.array(values, kind.arrow)


def _clean(text: str) -> str:
    """`text` without lone surrogates, which UTF-8 cannot hold."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
