"""docs/store.md has every table of the store with every column, in words, and none that does not exist."""

import re

from lae_monitor.kinds import KINDS
from lae_monitor.store.schema import tables_of


def documented(text, markdown):
    parts = re.split(r"^### `(\w+)`", text, flags=re.MULTILINE)
    return {
        name: [markdown.code(row[0]) for row in next(iter(markdown.tables(body)))]
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_every_table_with_every_column(page, markdown):
    assert documented(page("store.md"), markdown) == {
        name: list(table.columns) for name, table in tables_of(KINDS).items()
    }


def test_every_column_says_what_it_holds(page, markdown):
    silent = [row for table in markdown.tables(page("store.md")) for row in table if not row[-1]]
    assert silent == []
