"""What has come since a moment, in the order it came: what `tail` asks for, again and again.

When an event came is said by the event itself or, for samples, by the receipt of the request that brought it. Receipts are
moved by themselves, perhaps a little later than what they are about: whoever follows asks from a few seconds back.
"""

from typing import Final

import msgspec

from lae_monitor.core.time import DAY, parse_time
from lae_monitor.query.events import MAX_ROWS, EventRow, Found, select
from lae_monitor.query.planner import Plan, micros
from lae_monitor.store import Store
from lae_monitor.store.driver import Parameter

MAX_FILES: Final = 1_000  # sample files that got something new; more are looked at when asked again
OLDEST_SAMPLE: Final = DAY  # samples that come later than this are found by search, not followed

_NEW: Final = """
SELECT file, toString(min(offset)) AS start FROM {lae}.receipts
WHERE time > fromUnixTimestamp64Micro({after:Int64}, 'UTC') AND verdict = 'accepted' AND file != ''
GROUP BY file ORDER BY min(time) LIMIT {limit:UInt32}
"""
_BY_RECEIPT: Final = (
    "received = fromUnixTimestamp64Micro(0, 'UTC') AND time > fromUnixTimestamp64Micro({oldest:Int64}, 'UTC') "
    "AND has({files:Array(String)}, file) "
    "AND offset >= toUInt64OrZero({starts:Array(String)}[indexOf({files:Array(String)}, file)])"
)


class Arrivals(msgspec.Struct, kw_only=True):
    """Events in the order they came; `complete` is false when there was no room for the last of them."""

    rows: list[EventRow]
    complete: bool


async def arrivals(store: Store, planned: Plan, after: float, limit: int) -> Arrivals:
    """The first `limit` events of `planned` that came after `after` (seconds since the epoch).

    Raises:
        StoreError
    """
    limit = min(max(limit, 1), MAX_ROWS - 1)
    where, parameters = planned.where(planned.since, planned.until)
    parameters["after"] = micros(after)
    known = "received > fromUnixTimestamp64Micro({after:Int64}, 'UTC')"
    found = await select(store, f"{where} AND {known}", parameters, limit + 1, order="received, key")
    new = await store.query(_NEW, {"after": parameters["after"], "limit": MAX_FILES})
    if new:
        files: dict[str, Parameter] = {
            "files": [row["file"] for row in new],
            "starts": [row["start"] for row in new],
            "oldest": micros(after - OLDEST_SAMPLE),
        }
        samples = await select(
            store, f"{where} AND {_BY_RECEIPT}", {**parameters, **files}, limit + 1, order="file, offset, key"
        )
        found += [hit for hit in samples if _came(hit) > after]
    found.sort(key=_came)
    return Arrivals(rows=[hit.row for hit in found[:limit]], complete=len(found) <= limit)


def _came(hit: Found) -> float:
    return parse_time(hit.row.received) if hit.row.received is not None else 0.0
