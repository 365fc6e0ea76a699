"""How events leave the store: as rows of the API, each told when it was received, none larger than a limit."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from lae_monitor.core.rows import LEVELS
from lae_monitor.core.time import DAY, format_time, parse_time
from lae_monitor.query.planner import Plan, micros
from lae_monitor.store import Store
from lae_monitor.store.driver import Parameter

MAX_ROWS: Final = 10_000  # rows of one answer; further ones come page by page
MAX_TEXT: Final = 16_000  # characters of a text in a list; the whole is in the report
MAX_TEXTS: Final = 16_000_000  # characters of all texts in a list: the longer the list, the shorter its texts
MAX_VALUE: Final = 2_000  # characters of an attribute in a list; readers make them shorter than that

RANK: Final = f"indexOf({list(LEVELS)}, level)"  # 1 for debug up to 5 for critical
_COLUMNS: Final = (
    "kind, cluster, host, toUnixTimestamp64Micro(time) AS at, toUnixTimestamp64Micro(received) AS had, id, "
    "lower(hex(key)) AS row, level, title, substringUTF8(text, 1, {max_text:UInt32}) AS start, "
    "lengthUTF8(text) AS characters, `group`, "
    "mapApply((name, value) -> (name, if(lengthUTF8(value) > {max_value:UInt32}, "
    "concat(substringUTF8(value, 1, {max_value:UInt32}), '…'), value)), attrs) AS attributes, file, offset, length"
)
_KEY: Final = "(cluster, host, time, key)"
DOUBLED: Final = "(SELECT cluster, host, time, key FROM {lae}.doubled)"
_RECEIPTS: Final = """
SELECT wanted.place AS place, toUnixTimestamp64Micro(receipt.time) AS at
FROM (
  SELECT item.1 AS path, toUInt64(item.2) AS start, item.3 AS place
  FROM (
    SELECT arrayJoin(arrayZip({files:Array(String)}, {offsets:Array(String)}, arrayEnumerate({files:Array(String)}))) AS item
  )
) AS wanted
ASOF JOIN (
  SELECT file, offset, length, time FROM {lae}.receipts WHERE file IN {files:Array(String)} AND verdict = 'accepted'
) AS receipt ON wanted.path = receipt.file AND wanted.start >= receipt.offset
WHERE wanted.start < receipt.offset + greatest(receipt.length, 1)
"""


class EventRow(msgspec.Struct, kw_only=True):
    """An event as the API shows it; times are RFC 3339 with milliseconds. `received` is None where nobody knows."""

    kind: str
    cluster: str
    host: str
    time: str
    received: str | None
    id: str
    level: str
    title: str
    text: str
    group: str
    attrs: dict[str, str]


class Found(msgspec.Struct):
    """An event row with what is needed to go on after it, and to find its bytes."""

    row: EventRow
    at: int  # microseconds since the epoch
    key: str  # 32 hex digits
    file: str
    offset: int
    length: int

    @property
    def cursor(self) -> str:
        return f"{self.at}-{self.key}"


async def select(
    store: Store,
    where: str,
    parameters: Mapping[str, Parameter],
    limit: int,
    *,
    order: str = "time DESC, key DESC",
    seconds: float = 30.0,
    whole: bool = False,
) -> list[Found]:
    """At most `limit` events for which `where` holds, each once however often it was stored.

    Args:
        whole: texts and attributes uncut.

    Raises:
        StoreError: also when it took longer than `seconds`.
    """
    limit = min(limit, MAX_ROWS)
    max_text = 2**31 if whole else min(MAX_TEXT, MAX_TEXTS // max(limit, 1))
    sizes = {"max_text": max_text, "max_value": 2**31 if whole else MAX_VALUE, "limit": limit}
    rows = await store.query(_once(store, where, order), {**parameters, **sizes}, seconds=seconds)
    times = await _received(store, rows, seconds)
    return [_found(row, time) for row, time in zip(rows, times, strict=True)]


def _once(store: Store, where: str, order: str) -> str:
    """The query for the first events in `order`, each once; what may be stored twice is looked at by itself."""
    last = f"ORDER BY {order} LIMIT {{limit:UInt32}}"
    if store.events.doubled is None:
        return f"SELECT {_COLUMNS} FROM {{lae}}.events FINAL WHERE {where} {last}"
    if not store.events.doubled:
        return f"SELECT {_COLUMNS} FROM {{lae}}.events WHERE {where} {last}"
    columns = f"{_COLUMNS}, time, received, key"  # by which they may be ordered
    return (
        "SELECT * EXCEPT (time, received, key) FROM ("
        f"SELECT {columns} FROM {{lae}}.events WHERE ({where}) AND {_KEY} NOT IN {DOUBLED} {last} UNION ALL "
        f"SELECT {columns} FROM {{lae}}.events FINAL WHERE ({where}) AND {_KEY} IN {DOUBLED} {last}) {last}"
    )


async def count(store: Store, where: str, parameters: Mapping[str, Parameter], seconds: float) -> int:
    """How many events there are for which `where` holds.

    Raises:
        StoreError: also when it took longer than `seconds`.
    """
    sql = f"SELECT count() AS events FROM {{events}} WHERE {where}"
    if store.events.doubled:
        some = f"SELECT count() FROM {{lae}}.events %s WHERE ({where}) AND {_KEY} IN {DOUBLED}"
        sql = (
            f"SELECT (SELECT count() FROM {{lae}}.events WHERE {where}) - ({some % ''}) + ({some % 'FINAL'}) AS events"
        )
    return int((await store.query(sql, parameters, seconds=seconds))[0]["events"])


async def _received(store: Store, rows: Sequence[dict[str, Any]], seconds: float) -> list[int]:
    """When each row was received, in microseconds; 0 where neither it nor a receipt knows."""
    times = [int(row["had"]) for row in rows]
    unknown = [number for number, time in enumerate(times) if time == 0 and rows[number]["file"]]
    if not unknown:
        return times
    files = [rows[number]["file"] for number in unknown]
    offsets = [str(rows[number]["offset"]) for number in unknown]
    for receipt in await store.query(_RECEIPTS, {"files": files, "offsets": offsets}, seconds=seconds):
        times[unknown[receipt["place"] - 1]] = int(receipt["at"])
    return times


def _found(row: dict[str, Any], received: int) -> Found:
    text = row["start"]
    if row["characters"] > len(text):
        text += f"\n… {row['characters'] - len(text):,} more characters in the report"
    came = format_time(received / 1e6) if received else None
    more = {"time": format_time(row["at"] / 1e6), "received": came, "text": text, "attrs": row["attributes"]}
    return Found(
        msgspec.convert({**row, **more}, EventRow),
        int(row["at"]),
        row["row"],
        row["file"],
        int(row["offset"]),
        int(row["length"]),
    )


# What has come since a moment, in the order it came: what `tail` asks for, again and again.
#
# When an event came is said by the event itself or, for samples, by the receipt of the request that brought it. Receipts are
# moved by themselves, perhaps a little later than what they are about: a caller that follows asks from a few seconds back.
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
