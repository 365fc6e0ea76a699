"""What no reader understood is kept, with the reason beside it, and said on the timeline."""

from contextlib import suppress
from typing import Final

import msgspec

from lae_monitor.archive import Archive, ArchiveError, Exists, Journal
from lae_monitor.core.limits import MiB
from lae_monitor.core.rows import Span
from lae_monitor.core.time import format_time

MAX_COPY: Final = 1 * MiB  # the archive has the whole; this is for looking at


async def keep(archive: Archive, journal: Journal, key: str, span: Span, data: bytes, reason: str, now: float) -> None:
    """Writes `quarantine/<kind>/<key>.json` (the reason) and `<key>.raw` (the bytes), and an alarm into the journal.

    Best effort: the ledger knows of it too, and the bytes are in the archive.
    """
    kind = span.path.partition("/")[0]
    note = {"path": span.path, "start": span.start, "end": span.end, "reason": reason, "time": format_time(now)}
    with suppress(ArchiveError):
        with suppress(Exists):
            await archive.store(f"quarantine/{kind}/{key}.raw", [data[:MAX_COPY]])
        try:
            await archive.store(
                f"quarantine/{kind}/{key}.json", [msgspec.json.format(msgspec.json.encode(note)), b"\n"]
            )
        except Exists:
            return  # told already
        parts = span.path.split("/")
        await journal.write(
            "alarm",
            rule="unreadable",
            cluster=parts[1] if kind in {"incidents", "sonar"} and len(parts) > 2 else "",
            host="",
            title=f"A piece of {kind} could not be read",
            text=f"{span.path}, bytes {span.start} to {span.end}: {reason}",
            level="error",
            quarantine=key,
            next=f"lae-monitor report retry {key}",
        )
