"""Rows that only this kind has: what processes used, and what nodes are made of. Their tables are in tables.py."""

from typing import ClassVar

from lae_monitor.core.rows import Row


class Sample(Row, kw_only=True):
    """What one process, or rolled-up group, of an HPC node used; units as Sonar sends them (docs/sonar.md)."""

    table: ClassVar[str] = "samples"
    cluster: str
    host: str
    time: float
    key: bytes
    user: str
    cmd: str
    version: str = ""
    job: int = 0  # 0: unknown; such processes are never merged
    epoch: int = 0  # seconds of boot time since 2020-01-01, 0 for batch jobs
    pid: int = 0  # 0: rolled up
    ppid: int = 0
    cores: int = 0
    cpu_avg: float = 0.0  # % of one core since the process started
    cpu_time: float = 0.0  # seconds, cumulative; can fall
    virtual_kib: int = 0
    resident_kib: int = 0
    gpus: str = ""  # "none", "unknown" or "0,1"
    gpu_util: float = 0.0  # %, summed over cards
    gpumem_util: float = 0.0  # %, summed over cards
    gpu_kib: int = 0
    gpu_fail: int = 0
    rolledup: int = 0  # other processes merged into this one
    threads: int = 0
    heartbeat: bool = False


class Node(Row, kw_only=True):
    """What a node says it is made of (Sonar sysinfo)."""

    table: ClassVar[str] = "nodes"
    cluster: str
    host: str
    time: float
    description: str = ""
    cores: int = 0
    memory_kib: int = 0
    gpu_cards: int = 0
    gpumem_kib: int = 0
    attrs: dict[str, str] = {}  # noqa: RUF012
