"""What no reader understood is kept, with the reason beside it, and said on the timeline."""

from contextlib import suppress
from typing import Final

import msgspec

from lae_monitor.archive import Archive, ArchiveError, Exists, Journal
from lae_monitor.core.limits import MiB
from lae_monitor.core.rows import Span
from lae_monitor.core.time import format_time
from lae_monitor.mover.ledger import Quarantined
from lae_monitor.store import Store

FOLDER: Final = "quarantine"
OLDEST: Final = 0  # a reader's version below all: it is read again at the next start
MAX_COPY: Final = 1 * MiB  # the archive has the whole; this is for looking at


async def keep(
    archive: Archive, journal: Journal, key: str, span: Span, data: bytes, reason: str, now: float, cluster: str
) -> None:
    """Writes `quarantine/<kind>/<key>.json` (the reason) and `<key>.raw` (the bytes), and an alarm into the journal.

    Best effort: the ledger knows of it too, and the bytes are in the archive.
    """
    kind = span.path.partition("/")[0]
    note = {"path": span.path, "start": span.start, "end": span.end, "reason": reason, "time": format_time(now)}
    with suppress(ArchiveError):
        with suppress(Exists):
            await archive.store(f"{FOLDER}/{kind}/{key}.raw", [data[:MAX_COPY]])
        try:
            await archive.store(f"{FOLDER}/{kind}/{key}.json", [msgspec.json.format(msgspec.json.encode(note)), b"\n"])
        except Exists:
            return  # told already
        await journal.write(
            "alarm",
            rule="unreadable",
            cluster=cluster,
            host="",
            title=f"A piece of {kind} could not be read",
            text=f"{span.path}, bytes {span.start} to {span.end}: {reason}",
            level="error",
            quarantine=key,
            next=f"lae-monitor report retry {key}",
        )


async def recall(archive: Archive, store: Store) -> list[Quarantined]:
    """What is in quarantine, by the notes in the archive and the marks in the store: of a ledger that was lost. It is read
    again at the next occasion, for the reader's version is in neither.
    """
    found = []
    for folder in await archive.entries(FOLDER):
        for entry in await archive.entries(f"{FOLDER}/{folder.name}") if folder.folder else ():
            if entry.name.endswith(".json"):
                path = f"{FOLDER}/{folder.name}/{entry.name}"
                note = msgspec.json.decode(await archive.read(Span(path, 0, entry.size)), type=_Note)
                span = Span(note.path, note.start, note.end)
                marks = await store.query(
                    "SELECT rows FROM {lae}.moves WHERE source = {path:String} AND source_at = {start:UInt64} "
                    "ORDER BY time DESC LIMIT 1",
                    {"path": span.path, "start": span.start},
                )
                if marks == [{"rows": 0}]:
                    found.append(Quarantined(entry.name.removesuffix(".json"), span, OLDEST, note.reason))
    return found


class _Note(msgspec.Struct):
    path: str
    start: int
    end: int
    reason: str
