"""The store's history: each step runs once, in order, in a store that has not had it.

A step is never changed once it was released; a new one is added. The first makes the tables as `schema` says today, so that
a new store needs no other; steps after it bring older stores to the same state.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from lae_monitor.store.schema import SMALL_MERGES, TABLES


class Step(NamedTuple):
    """A numbered change. `statements(database)` are the SQL to run."""

    version: int
    name: str
    statements: Callable[[str], list[str]]


def _create(database: str) -> list[str]:
    return [table.create(database) for table in TABLES.values()]


def _create_categories(database: str) -> list[str]:
    return [TABLES["categories"].create(database)]


def _merge_in_small_blocks(database: str) -> list[str]:
    return [f"ALTER TABLE {database}.events MODIFY SETTING {', '.join(SMALL_MERGES)}"]


STEPS: Final = (
    Step(1, "tables", _create),
    Step(2, "categories of incidents", _create_categories),
    Step(3, "events are merged in small blocks", _merge_in_small_blocks),
)
