"""The table that only this kind has: categories. The journal keeps them; see docs/classification.md."""

from typing import Any, ClassVar, Final

import msgspec

from lae_monitor.core.names import row_key
from lae_monitor.core.rows import Row
from lae_monitor.store.schema import KEY, PLACE, SOURCE, TEXT, TIME, WORD, WORDS, Table


class Categories(Row, kw_only=True):
    """What an incident was found to be: the newest answer of an incident's `key` holds."""

    table: ClassVar[str] = "categories"
    cluster: str
    host: str
    id: str  # the incident's name
    key: bytes  # that of its event
    time: float  # when it was classified
    categories: list[str]  # sorted; ["unknown"] when no rule and no classifier knew it
    rules: str  # which rules and classifiers said so


def categories(entry: dict[str, Any]) -> Categories:
    """The row of an entry of the journal, which has no key, and commas between the categories."""
    key = row_key("incident", entry["cluster"], entry["host"], entry["id"])
    return msgspec.convert({**entry, "key": key, "categories": entry["categories"].split(",")}, Categories)


TABLES: Final = (
    Table(
        Categories,
        {
            "cluster": WORD, "host": WORD, "id": TEXT, "key": KEY, "time": TIME, "categories": WORDS, "rules": WORD,
            **PLACE, **SOURCE,
        },
        "key",
        engine="ReplacingMergeTree(time)",
        partition="tuple()",
    ),
)  # fmt: skip
