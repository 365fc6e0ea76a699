"""Where ships lay, a row each."""

from typing import ClassVar

from lae_monitor.core.rows import Row


class Berth(Row, kw_only=True):
    table: ClassVar[str] = "berths"
    cluster: str
    host: str
    time: float
    port: str
