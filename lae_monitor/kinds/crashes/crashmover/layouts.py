"""Where the crashes of older systems lie, as paths and keys. Pure.

Sources of the layouts: Socorro's file system storage, Antenna's file and object storage; see docs/crashmover.md.
"""

from datetime import UTC, datetime
from typing import Final

from lae_monitor.core.names import CrashId

MINIDUMP: Final = "upload_file_minidump"
HARD_DEPTH: Final = 4  # what the digit 0 stands for: ids that are older than the digit
DIGIT: Final = -7  # where it stands in an id


def depth_of(crash_id: CrashId) -> int:
    """How many radix folders the id's digit stands for.

    Collectors of the Socorro family write something else there, too: Antenna's 0 (accepted) leads four folders down, its 1
    (deferred) one. Readers of the tree go by this rule, whoever made the id.
    """
    return int(crash_id[DIGIT]) or HARD_DEPTH


def radix_of(crash_id: CrashId) -> list[str]:
    """The folders `aa`, `bb`, ... of the tree by name."""
    return [crash_id[2 * number : 2 * number + 2] for number in range(depth_of(crash_id))]


def slot_of(now: float, interval: int) -> str:
    """The folder `HH/MM_S` of the tree by date for what is stored at `now` (seconds, UTC).

    Args:
        interval: seconds of a slot.
    """
    moment = datetime.fromtimestamp(now, UTC)
    return f"{moment.hour:02d}/{moment.minute:02d}_{moment.second // interval:02d}"


def object_keys(crash_id: CrashId, names: list[str], prefix: str) -> dict[str, str]:
    """The v1 key of each dump by its name; `dump_names` and `raw_crash` are there too, the last one last."""
    front = f"{prefix.strip('/')}/v1" if prefix.strip("/") else "v1"
    keys = {"dump_names": f"{front}/dump_names/{crash_id}"}
    keys |= {name: f"{front}/{'dump' if name == MINIDUMP else name}/{crash_id}" for name in names}
    return keys | {"raw_crash": f"{front}/raw_crash/{crash_id.day}/{crash_id}"}
