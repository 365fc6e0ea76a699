"""What the store needs of an engine. One SQL dialect, ClickHouse's; a server is a second driver, not a rewrite."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

Parameter = str | int | float | Sequence[str]

MEMORY_LIMIT: Final = 241  # ClickHouse: the query, or the whole engine, would exceed its memory
TIMEOUT: Final = 159
NO_TABLE: Final = 60


class StoreError(Exception):
    """The engine refused or failed; `code` is ClickHouse's, 0 when it gave none."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code

    @property
    def transient(self) -> bool:
        """Whether the same statement may pass a little later."""
        return self.code in {MEMORY_LIMIT, TIMEOUT}


class Driver(Protocol):
    """An open engine. Every method raises StoreError."""

    async def command(self, sql: str, parameters: Mapping[str, Parameter] | None = None) -> None:
        """Runs a statement that answers nothing, in the order given."""

    async def rows(
        self, sql: str, parameters: Mapping[str, Parameter] | None = None, *, seconds: float = 30.0
    ) -> list[dict[str, Any]]:
        """The rows of a query, as dictionaries. `{name:Type}` in the SQL takes `parameters[name]`.

        Args:
            seconds: the engine stops the query after this long.
        """
        ...

    async def insert(self, table: str, columns: Mapping[str, str], arrow: bytes, token: str) -> None:
        """One Arrow stream of one batch into `table`, once: the same `token` again inserts nothing.

        Args:
            table: with its database.
            columns: the batch's columns, and the engine's types for them.
            arrow: the batch, as an Arrow IPC stream.
            token: what the batch is, for ever: the engine drops another batch with the same token without a word.
        """

    async def close(self) -> None: ...


def parameter_text(value: Parameter) -> str:
    """`value` as ClickHouse reads parameters: escaped as in TSV, arrays in brackets."""
    if isinstance(value, str):
        return _escape(value)
    if isinstance(value, Sequence):
        return "[" + ",".join("'" + _escape(item).replace("'", "\\'") + "'" for item in value) + "]"
    return str(value)


def _escape(text: str) -> str:
    return (
        text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r").replace("\0", "\\0")
    )
