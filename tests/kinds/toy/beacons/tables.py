"""A table that only beacons have."""

from beacons.rows import Berth
from lae_monitor.store.schema import PLACE, SOURCE, TEXT, TIME, WORD, Table

TABLES = (
    Table(
        Berth,
        {"cluster": WORD, "host": WORD, "time": TIME, "port": TEXT, **PLACE, **SOURCE},
        "cluster, host, time, port",
        is_heard=True,
    ),
)
