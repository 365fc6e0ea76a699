"""Where ships lay, and what they carried."""

from typing import ClassVar

import msgspec

from lae_monitor.core.rows import Row


class Berth(Row, kw_only=True):
    table: ClassVar[str] = "berths"
    cluster: str
    host: str
    time: float
    port: str


class Cargo(Row, kw_only=True):
    table: ClassVar[str] = "cargoes"
    cluster: str
    host: str
    time: float
    key: bytes  # of the beacon
    goods: list[str]


def cargo(entry):
    """The row of an entry of the journal."""
    return msgspec.convert({**entry, "key": bytes.fromhex(entry["key"]), "goods": entry["goods"].split(",")}, Cargo)
