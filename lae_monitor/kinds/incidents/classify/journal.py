"""What the journal says of categories that the lists do not have yet: a process was killed between writing the two.

Without it, rules that were changed and changed back around a kill could leave the store with answers that no list shows.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from lae_monitor.archive import Archive
from lae_monitor.core.limits import MiB
from lae_monitor.core.refusals import Refused
from lae_monitor.core.rows import Span
from lae_monitor.core.time import parse_time

FOLDER: Final = "journal"
WHAT: Final = "categories"
FILES: Final = 2  # the newest ones that are looked at: a kill may be at midnight
TAIL: Final = 8 * MiB  # bytes of each: lists are written within seconds
SAME: Final = 2e-6  # seconds: the journal has times with six digits

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Said(NamedTuple):
    """One answer in the journal."""

    cluster: str
    host: str
    name: str
    categories: list[str]
    time: float


async def said_since(archive: Archive, after: Mapping[str, float]) -> list[Said]:
    """The answers of this process that are newer than `after` says, by cluster; the oldest first."""
    found: list[Said] = []
    async for path, size in _newest(archive):
        data = await archive.read(Span(path, max(size - TAIL, 0), size))
        found += [said for said in _answers(data) if said.time > after.get(said.cluster, 0.0) + SAME]
    return sorted(found, key=lambda said: said.time)


async def _newest(archive: Archive) -> AsyncIterator[tuple[str, int]]:
    """The newest files of the journal that we wrote, and their sizes."""
    days = [FOLDER]
    for _ in range(3):  # year, month, day
        days = [
            f"{folder}/{entry.name}"
            for folder in days
            for entry in sorted(await archive.entries(folder), key=lambda entry: entry.name, reverse=True)
            if entry.folder and entry.name.isdigit()
        ][:FILES]
    for day in days:
        for entry in await archive.entries(day):
            if not entry.folder and entry.name.partition(".")[0] == archive.process and entry.name.endswith(".jsonl"):
                yield f"{day}/{entry.name}", entry.size


def _answers(data: bytes) -> Iterator[Said]:
    for line in data.split(b"\n"):
        if b'"categories"' not in line:
            continue
        try:
            entry = _decode(line)
            if entry["what"] == WHAT:
                categories = entry["categories"].split(",")
                yield Said(entry["cluster"], entry["host"], entry["id"], categories, parse_time(entry["time"]))
        except (msgspec.MsgspecError, LookupError, AttributeError, Refused):
            continue  # torn, or the middle of a line
