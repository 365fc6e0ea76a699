"""What was decided of a group holds, too, when a new version of its reader gives the group another name.

Readers say in an event's attribute `fingerprint.before` what former versions called its group, a line each. Where something
was decided of such a group, the one that its events are in now takes it over, until something is decided of that itself.
"""

from collections.abc import Iterable
from typing import Final

from lae_monitor.store import Store

BEFORE: Final = "fingerprint.before"
MAX_RENAMED: Final = 20_000  # pairs of a former group and one of today

_RENAMED: Final = """
SELECT former, present, count() AS events FROM (
  SELECT arrayJoin(splitByChar('\\n', attrs['fingerprint.before'])) AS was,
    lower(substring(hex(SHA256(concat(kind, char(0), was))), 1, {length:UInt8})) AS former,
    lower(substring(hex(SHA256(concat(kind, char(0), `group`))), 1, {length:UInt8})) AS present
  FROM {lae}.events WHERE kind = 'incident' AND attrs['fingerprint.before'] != ''
) WHERE former != present AND has({ids:Array(String)}, former)
GROUP BY former, present ORDER BY former, events DESC, present LIMIT {limit:UInt32}
"""


async def renamed(store: Store, ids: Iterable[str], length: int) -> dict[str, list[str]]:
    """Of the groups `ids`, those that have other ids now: which, the one with the most events first.

    Args:
        length: of an id, in hexadecimal digits.

    Raises:
        StoreError
    """
    wanted = sorted(ids)
    if not wanted:
        return {}
    found: dict[str, list[str]] = {}
    for row in await store.query(_RENAMED, {"ids": wanted, "length": length, "limit": MAX_RENAMED}):
        found.setdefault(row["former"], []).append(row["present"])
    return found
