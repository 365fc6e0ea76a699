"""Reports refused or put into quarantine in the last day, counted by reason code; the fleet and host pages show them."""

from typing import Any, Final

import msgspec

from lae_monitor.core.reasons import REASONS
from lae_monitor.core.time import DAY, format_time
from lae_monitor.query.planner import LATEST, Plan, micros
from lae_monitor.store import Store
from lae_monitor.store.driver import Parameter

WITHIN: Final = DAY
MAX_REASONS: Final = 50  # lines; there are not many more codes

_REFUSED: Final = """
SELECT kind, verdict, reason, count() AS times, toUnixTimestamp64Micro(max(receipts.time)) AS last,
  argMax(peer, receipts.time) AS peer, argMax(host, receipts.time) AS on, argMax(detail, receipts.time) AS why
FROM {lae}.receipts FINAL
WHERE verdict != 'accepted' AND time >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') AND CONDITION
GROUP BY kind, verdict, reason ORDER BY last DESC LIMIT {limit:UInt32}
"""


class RefusedLately(msgspec.Struct, kw_only=True):
    """One reason: how often within WITHIN, and the last time, from whom, with what detail."""

    kind: str
    verdict: str
    reason: str
    meaning: str
    times: int
    last: str
    peer: str
    host: str
    detail: str


async def refused(store: Store, now: float, *, cluster: str = "", host: str = "") -> list[RefusedLately]:
    """The reasons for which reports were refused or put into quarantine, the newest first.

    Raises:
        StoreError
    """
    condition, place = Plan().at(cluster, host).where(0.0, LATEST)
    parameters: dict[str, Parameter] = {**place, "since": micros(now - WITHIN), "limit": MAX_REASONS}
    rows = await store.query(_REFUSED.replace("CONDITION", condition), parameters)
    return [_shown(row) for row in rows]


def _shown(row: dict[str, Any]) -> RefusedLately:
    known = REASONS.get(row["reason"])
    more = {"meaning": known.text if known else "", "host": row["on"], "detail": row["why"]}
    return msgspec.convert({**row, **more, "last": format_time(row["last"] / 1e6)}, RefusedLately)
