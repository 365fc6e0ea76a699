"""The tables that only this kind has."""

from typing import Final

from lae_monitor.kinds.sonar.rows import Node, Sample
from lae_monitor.store.schema import FLAG, KEY, MAP, NUMBER, PLACE, SOURCE, TEXT, TIME, WHOLE, WORD, Table

TABLES: Final = (
    Table(
        Sample,
        {
            "cluster": WORD, "host": WORD, "time": TIME, "key": KEY, "user": WORD, "cmd": WORD, "version": WORD,
            "job": WHOLE, "epoch": WHOLE, "pid": WHOLE, "ppid": WHOLE, "cores": WHOLE, "cpu_avg": NUMBER,
            "cpu_time": NUMBER, "virtual_kib": WHOLE, "resident_kib": WHOLE, "gpus": WORD, "gpu_util": NUMBER,
            "gpumem_util": NUMBER, "gpu_kib": WHOLE, "gpu_fail": WHOLE, "rolledup": WHOLE, "threads": WHOLE,
            "heartbeat": FLAG, **PLACE, **SOURCE,
        },
        "cluster, host, time, job, pid, key",
    ),
    Table(
        Node,
        {
            "cluster": WORD, "host": WORD, "time": TIME, "description": TEXT, "cores": WHOLE, "memory_kib": WHOLE,
            "gpu_cards": WHOLE, "gpumem_kib": WHOLE, "attrs": MAP, **PLACE, **SOURCE,
        },
        "cluster, host, time",
        is_heard=True,
    ),
)  # fmt: skip
