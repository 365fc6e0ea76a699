"""The tables that only beacons have."""

from beacons.rows import Berth, Cargo
from lae_monitor.store.schema import KEY, PLACE, SOURCE, TEXT, TIME, WORD, WORDS, Table

TABLES = (
    Table(
        Berth,
        {"cluster": WORD, "host": WORD, "time": TIME, "port": TEXT, **PLACE, **SOURCE},
        "cluster, host, time, port",
        is_heard=True,
    ),
    Table(
        Cargo,
        {"cluster": WORD, "host": WORD, "time": TIME, "key": KEY, "goods": WORDS, **PLACE, **SOURCE},
        "key",
        engine="ReplacingMergeTree(time)",
    ),
)
