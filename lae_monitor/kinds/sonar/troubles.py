"""Hosts with a GPU that has failed, by what Sonar says of it with each run."""

from typing import Final

from lae_monitor.alerts.alarm import Condition
from lae_monitor.core.time import HOUR, format_time
from lae_monitor.query.planner import micros
from lae_monitor.store import Store

WITHIN: Final = 2 * HOUR  # of the last runs; what was wrong with a host that is silent since is not known to be over

_NEWEST: Final = """
SELECT cluster, host, argMax(attrs['gpu_failed'], (time, key)) AS failed, max(toUnixTimestamp64Micro(time)) AS at
FROM {events} WHERE kind = 'sonar' AND time >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
  AND time <= fromUnixTimestamp64Micro({now:Int64}, 'UTC')
GROUP BY cluster, host
"""


async def troubles(store: Store, now: float) -> dict[str, Condition | str]:
    """
    Raises:
        StoreError
    """
    found: dict[str, Condition | str] = {}
    for row in await store.query(_NEWEST, {"since": micros(now - WITHIN), "now": micros(now)}):
        host, at = row["host"], row["at"] / 1e6
        about = f"{row['cluster']}/{host} gpu"
        found[about] = f"all its GPUs worked at {format_time(at, digits=0)}"
        if row["failed"] == "yes":
            found[about] = Condition(
                rule="host in trouble",
                about=about,
                cluster=row["cluster"],
                host=host,
                level="error",
                title=f"a GPU of {host} has failed",
                text=f"Sonar says so since {format_time(at, digits=0)} or before.\nSee: lae-monitor host show {host}",
                since=at,
            )
    return found
