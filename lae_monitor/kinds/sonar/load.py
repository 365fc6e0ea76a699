"""How busy a host was, from the samples of its processes.

A process reports the processor time it has used since it started; the load is what was added between two of its samples. Of
what was added over a time longer than a piece, only a piece's share counts. A counter that falls (a process of the group
ended) adds nothing.
"""

from typing import Final

import msgspec

from lae_monitor.query.hosts import Load, Node
from lae_monitor.query.planner import micros
from lae_monitor.query.timeline import MAX_BUCKETS
from lae_monitor.store import Store
from lae_monitor.store.driver import Parameter

_LOAD: Final = """
SELECT bucket, sum(used) / {seconds:Float64} AS cores, max(kib) AS resident_kib FROM (
  SELECT intDiv(toUnixTimestamp64Micro(time) - {since:Int64}, {bucket:Int64}) AS bucket, time,
    sum(greatest(cpu_time - earlier, 0) * least(1, {bucket:Int64} / greatest(at - before, 1))) AS used,
    sum(resident_kib) AS kib
  FROM (
    SELECT time, resident_kib, cpu_time, toUnixTimestamp64Micro(time) AS at,
      lagInFrame(cpu_time, 1, cpu_time) OVER process AS earlier, lagInFrame(at, 1, at) OVER process AS before
    FROM {lae}.samples FINAL
    WHERE cluster = {cluster:String} AND host = {host:String} AND NOT heartbeat
      AND time >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
    WINDOW process AS (
      PARTITION BY job, epoch, pid, user, cmd ORDER BY time ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
    )
  ) GROUP BY bucket, time
) GROUP BY bucket ORDER BY bucket LIMIT {limit:UInt32}
"""
_NODE: Final = """
SELECT description, cores, memory_kib, gpu_cards, gpumem_kib FROM {lae}.nodes FINAL
WHERE cluster = {cluster:String} AND host = {host:String} ORDER BY time DESC LIMIT 1
"""


async def node(store: Store, cluster: str, host: str) -> Node | None:
    """
    Raises:
        StoreError
    """
    rows = await store.query(_NODE, {"cluster": cluster, "host": host})
    return msgspec.convert(rows[0], Node) if rows else None


async def load(store: Store, cluster: str, host: str, since: float, until: float, bucket: float) -> Load | None:
    """The load from `since` to `until`, or None for a host without samples then.

    Raises:
        StoreError
    """
    bucket = max(bucket, (until - since) / MAX_BUCKETS)
    parameters: dict[str, Parameter] = {
        "cluster": cluster,
        "host": host,
        "since": micros(since),
        "until": micros(until),
        "bucket": int(bucket * 1e6),
        "seconds": bucket,
        "limit": MAX_BUCKETS + 1,
    }
    rows = await store.query(_LOAD, parameters)
    if not rows:
        return None
    pieces = int((until - since) / bucket) + 1
    cores: list[float | None] = [None] * pieces
    memory: list[int | None] = [None] * pieces
    for row in rows:
        cores[row["bucket"]] = round(row["cores"], 2)
        memory[row["bucket"]] = row["resident_kib"]
    return Load(since=since, bucket=bucket, cores=cores, resident_kib=memory)
