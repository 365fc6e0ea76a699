"""Events as lines for a terminal."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from lae_monitor.terminal.lines import when
from lae_monitor.terminal.table import Cell, Column, Painted, table

_HOST: Final = Column(least=24)
_COLUMNS: Final = (Column(), Column(least=8), Column(least=8), _HOST, Column(spare=40), Column())


def event_lines(rows: Iterable[Mapping[str, Any]], *, with_host: bool = True) -> list[str]:
    """One for each: time, level, kind, host, title, id."""

    def cells(row: Mapping[str, Any]) -> list[Cell]:
        level = row["level"]
        host = [row["host"] or "-"] if with_host else []
        return [
            Painted(when(row["time"]), "debug"), Painted(level, level), row["kind"], *host,
            Painted(row["title"], level), Painted(row["id"], "debug"),
        ]  # fmt: skip

    return table([column for column in _COLUMNS if with_host or column is not _HOST], map(cells, rows))
